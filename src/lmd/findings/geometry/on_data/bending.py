"""How the network as a whole folds its inputs, and how far it moves neighbours apart."""

from dataclasses import dataclass

from lmd.activations.observing.whole import Pairs, WholeNetwork
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.geometry.on_data.folding import folds
from lmd.findings.quantity import Measured, quantity

__all__ = ["Bending", "Expansion", "bending", "expansion"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bending(Finding):
    """Linear pieces of the network that the data meet, and folds between neighbours."""

    network_pieces: Measured = quantity(
        "#{patterns}",
        unit="pieces",
        meaning="Different patterns of all open gates that the examples meet: linear pieces of the network they lie in",
        source="Montúfar et al. 2014; Raghu et al. 2017",
    )
    network_near_folds: Measured = quantity(
        "E #{changes on [x, nn(x)]}",
        unit="gates",
        meaning="Gates that change along the segment between an example and its nearest neighbour",
        source="Raghu et al. 2017; Hanin & Rolnick 2019",
    )
    network_near_folds_share: Measured = quantity(
        "E #{changes near}/E #{changes far}",
        unit="1",
        meaning="The same as a share of what changes between two examples drawn at random",
        source="Raghu et al. 2017",
    )
    fold_density: Measured = quantity(
        "E #{changes near}/E ‖x − nn(x)‖",
        unit="gates/input",
        meaning="Gates that change for each unit of length on the way to the nearest neighbour",
        source="Hanin & Rolnick 2019",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expansion(Finding):
    """The range in which the network stretches the distances between neighbours."""

    largest_expansion: Measured = quantity(
        "max ‖Δf‖/‖Δx‖",
        unit="output/input",
        meaning="The most that the distance of two neighbours grows: the Lipschitz constant is at least this",
        source="Bourgain 1985; GSVT 2026 (arXiv 2605.06938)",
    )
    smallest_expansion: Measured = quantity(
        "min ‖Δf‖/‖Δx‖",
        unit="output/input",
        meaning="The least: if the network can be inverted at all, then with a constant of at least 1 over this",
        source="Bourgain 1985; GSVT 2026 (arXiv 2605.06938)",
    )
    expansion_range: Measured = quantity(
        "max/min ‖Δf‖/‖Δx‖",
        unit="1",
        meaning="Ratio of the two: 1 where distances are kept but for a factor",
        source="Bourgain 1985",
    )


@analysis
def bending(whole: WholeNetwork) -> Bending:
    """Patterns against one for each example; changes between neighbours against random pairs."""
    if not whole.gates:
        raise InapplicableError("no nonlinearity stands right behind a layer that is called")
    near, far = whole.near, whole.far
    head, share = folds(None if near is None else near.whole, None if far is None else far.whole)
    pieces = Measured(whole.patterns, whole.examples, 0.0)
    if whole.patterns is None:
        pieces = Measured(None, reason="examples cannot be told apart behind every layer")
    density = Measured(None, reason=head.reason)
    if near is not None and far is not None and head.value is not None:
        values = [one.whole.mean().item() / one.lengths.mean().item() for one in (near, far)]
        spread = near.whole.std().item() / len(near.whole) ** 0.5 / near.lengths.mean().item()
        density = Measured(values[0], values[1], spread, "estimate", head.reason)
    return Bending(
        layer="", network_pieces=pieces, network_near_folds=head, network_near_folds_share=share, fold_density=density
    )


@analysis
def expansion(whole: WholeNetwork) -> Expansion:
    """Over pairs of nearest neighbours, beside as many pairs drawn at random."""
    if whole.near_pairs is None or whole.far_pairs is None or not len(whole.far_pairs.inputs):
        raise InapplicableError(whole.reasons.get("pairs", "no two examples differ"))
    (most, least), (far_most, far_least) = _range(whole.near_pairs), _range(whole.far_pairs)
    ratio = Measured(None, reason="two neighbours have the same outputs")
    if least > 0:
        ratio = Measured(most / least, far_most / far_least if far_least else None, None, "lower")
        if not far_least:
            ratio = Measured(most / least, None, None, "lower", "two examples drawn at random have the same outputs")
    return Expansion(
        layer="",
        largest_expansion=Measured(most, far_most, None, "lower"),
        smallest_expansion=Measured(least, far_least, None, "upper"),
        expansion_range=ratio,
    )


def _range(pairs: Pairs) -> tuple[float, float]:
    ratios = pairs.outputs / pairs.inputs
    return ratios.max().item(), ratios.min().item()
