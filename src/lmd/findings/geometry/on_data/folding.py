"""How often a layer folds the space of its inputs where the data lie."""

from dataclasses import dataclass
from math import expm1, log1p

from torch import Tensor

from lmd.activations.observing.gates import Gates
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, quantity

__all__ = ["Folding", "folding"]

_NO_SEGMENTS = "no segments between examples: the inputs are whole numbers, or all examples are the same"
_LOWER = "counted between nine points of each segment: changes there and back between two of them are missed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Folding(Finding):
    """Linear pieces that the data meet, and folds between neighbours."""

    pieces: Measured = quantity(
        "#{patterns}",
        unit="pieces",
        meaning="Different patterns of open gates that the examples meet: linear pieces of the layer they lie in",
        source="Montúfar et al. 2014; Raghu et al. 2017",
    )
    near_folds: Measured = quantity(
        "E #{changes on [x, nn(x)]}",
        unit="gates",
        meaning="Gates that change along the straight segment between an example and its nearest neighbour",
        source="Raghu et al. 2017; Hanin & Rolnick 2019",
    )
    near_folds_share: Measured = quantity(
        "E #{changes near}/E #{changes far}",
        unit="1",
        meaning="The same as a share of what changes between two examples drawn at random",
        source="Raghu et al. 2017",
    )


@analysis
def folding(gates: Gates) -> Folding:
    """Patterns against gates that open independently, as often; changes between neighbours against random pairs."""
    near, share = folds(gates.near, gates.far)
    if gates.patterns is None:
        pieces = Measured(None, reason="examples cannot be told apart behind this layer")
    else:
        pieces = Measured(gates.patterns, _independent(gates), 0.0)
    return Folding(layer=gates.layer, pieces=pieces, near_folds=near, near_folds_share=share)


def folds(near: Tensor | None, far: Tensor | None) -> tuple[Measured, Measured]:
    """Mean changes between neighbours beside those between random pairs, and their ratio beside 1."""
    if near is None or far is None or len(near) < 2 or len(far) < 2:
        return Measured(None, reason=_NO_SEGMENTS), Measured(None, reason=_NO_SEGMENTS)
    a, b = near.mean().item(), far.mean().item()
    # standard errors over segments
    da, db = (t.std().item() / len(t) ** 0.5 for t in (near, far))
    head = Measured(a, b, da, "estimate", _LOWER)
    if b == 0:
        return head, Measured(None, 1.0, reason="no gate changes between examples drawn at random either")
    ratio = a / b
    error = ratio * ((da / a) ** 2 + (db / b) ** 2) ** 0.5 if a else da / b
    return head, Measured(ratio, 1.0, error, "estimate", _LOWER)


def _independent(gates: Gates) -> float:
    """Patterns that n examples are expected to meet if each gate opens by itself, as often as its unit does."""
    n, p = gates.examples, gates.open_share.clamp(0.0, 1.0)
    if n < 1:
        raise InapplicableError("no examples")
    # two examples agree with this probability; the pieces are then as good as 1/c equal ones
    log_c = gates.positions * (p.square() + (1 - p).square()).log().sum().item()
    c = 2.718281828459045 ** max(log_c, -700.0)
    return float(n) if c < 1e-12 else 1.0 if c >= 1 else -expm1(n * log1p(-c)) / c
