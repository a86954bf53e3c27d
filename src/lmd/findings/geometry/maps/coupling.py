"""Whether a layer reads what the layer before it writes."""

from dataclasses import dataclass
from math import pi, sqrt

from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import refuse_without_directions
from lmd.findings.quantity import Measured, quantity
from lmd.linalg.scaled_norm import scaled_norm

__all__ = ["Coupling", "Upstream", "coupling"]

_DIRECTIONS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """The leading triples of the layer whose outputs this one is taken to read.

    Attributes:
        factors: of that layer.
        assumption: why it is taken to be that one.
        mixed: of that layer and this one, those whose first direction rounding mixes with others.
    """

    factors: Factors
    assumption: str
    mixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coupling(Finding):
    """Output directions of one layer against the input directions of the next."""

    coupling: Measured = quantity(
        "‖S′V′ᵀUS‖_F/(‖S′‖‖S‖)",
        unit="1",
        meaning="How far the directions kept of this layer read what those of the layer before write",
        source="Elhage et al. 2021; Merullo et al. 2024",
    )
    coupling_top: Measured = quantity(
        "|v′₁ᵀu₁|",
        unit="1",
        meaning="Cosine between what this layer reads most and what the layer before writes most",
        source="Merullo et al. 2024",
    )
    coupling_overlap: Measured = quantity(
        "‖V′_kᵀU_k‖²_F/k",
        unit="1",
        meaning="Share of the k leading input directions that lies within the k leading outputs of the layer before, "
        "k at most 8",
        source="Björck & Golub 1973",
    )


@analysis
def coupling(factors: Factors, before: Upstream) -> Coupling:
    """Cosines between the directions a layer reads and those the layer before writes, weighted by singular values.

    The baseline turns one of the two layers at random: the mean square of a cosine is then ``1/n``.
    """
    U, S, n = before.factors.U, before.factors.S, factors.shape[1]
    V, T = factors.Vh.T, factors.S
    if len(U) != n:
        raise InapplicableError(f"the layer before has {len(U)} outputs, this one {n} inputs")
    refuse_without_directions(before.factors, factors)
    said = f"{before.factors.layer} is taken to come before: {before.assumption}"
    cosines = V.T @ U
    k = min(_DIRECTIONS, *cosines.shape)
    return Coupling(
        layer=factors.layer,
        coupling=_weighted(cosines, T, S, n, said),
        coupling_top=_top(cosines, n, before.mixed, said),
        coupling_overlap=Measured(cosines[:k, :k].square().sum().item() / k, k / n, None, "estimate", said),
    )


def _top(cosines: Tensor, n: int, mixed: tuple[str, ...], said: str) -> Measured:
    baseline = sqrt(2 / (pi * n))
    if mixed:
        lone = f"the first direction of {' and of '.join(mixed)} is no direction of its own: rounding turns it"
        return Measured(None, baseline, reason=f"{lone}; {said}")
    return Measured(cosines[0, 0].abs().item(), baseline, None, "estimate", said)


def _weighted(cosines: Tensor, T: Tensor, S: Tensor, n: int, said: str) -> Measured:
    sizes = scaled_norm(T).item(), scaled_norm(S).item()
    value = ((T / sizes[0])[:, None] * cosines * (S / sizes[1])).norm().item()
    return Measured(value, sqrt(1 / n), None, "estimate", said)
