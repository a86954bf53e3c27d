"""Which singular directions survive the rounding of the weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import no_baseline, refuse_without_directions, spectrum_of
from lmd.findings.quantity import Measured, array, quantity
from lmd.findings.stored_noise import noise_of_rounding
from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.chance.gaussian_draw import gaussian_draw
from lmd.linalg.rounding.entry_noise import DirectionNoise, even_noise
from lmd.linalg.rounding.turned_directions import Turned, turned_directions

__all__ = ["DEGREES", "LEVEL", "Identifiability", "Rounding", "identifiability", "mixed_spans"]

DEGREES = 5.0
LEVEL = 5e-3
_SOURCE = "Stewart & Sun 1990, V.2; Stewart 1990; Satterthwaite 1946"
_MAY_GO_ON = "neighbours beyond the directions kept may belong to the last block"
_PRODUCT = "no baseline: noise in the factors of a random product is not even"


@dataclass(frozen=True, slots=True)
class Rounding:
    """The type whose rounding is asked about: one of ``lmd.linalg.rounding.steps``, or ``stored``."""

    name: str = "stored"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identifiability(Finding):
    """Directions that mean something each, and blocks of those that rounding mixes."""

    stable_directions: Measured = quantity(
        "#{θ ≤ 5°}",
        unit="directions",
        meaning="Directions kept that rounding turns by at most 5 degrees, on both sides: each can be named",
        source=_SOURCE,
    )
    direction_blocks: Measured = quantity(
        "#blocks",
        unit="blocks",
        meaning="Blocks that the directions kept fall into: neighbours that rounding mixes count as one",
        source=_SOURCE,
    )
    largest_block: Measured = quantity(
        "max |block|",
        unit="directions",
        meaning="Directions in the largest block: of them only the space that they span means something",
        source=_SOURCE,
    )
    turned_by: Measured = quantity(
        "θ",
        unit="degrees",
        meaning="Angle, root mean square, by which rounding turns each direction kept, the larger of both sides",
        source=_SOURCE,
    )
    angle_out: Float64[Tensor, " rank"] = array(
        meaning="angle by which rounding turns each output direction, degrees", shape="(rank,)"
    )
    angle_in: Float64[Tensor, " rank"] = array(
        meaning="angle by which rounding turns each input direction, degrees", shape="(rank,)"
    )
    stable: Int64[Tensor, " rank"] = array(meaning="1 for directions that can be named, else 0", shape="(rank,)")
    blocks: Int64[Tensor, " rank"] = array(meaning="number of the block of each direction, from 0", shape="(rank,)")


@analysis
def identifiability(factors: Factors, layer: LayerMatrix, rounding: Rounding) -> Identifiability:
    """First-order angles under independent rounding errors of the stored or a chosen type, and what mixes.

    The baseline is a random matrix of the same shape and size under even noise of the same size.
    """
    values, _ = spectrum_of(factors)
    refuse_without_directions(factors)
    noise = noise_of_rounding(layer, factors, rounding.name)
    found = turned_directions(values, factors.shape, noise, degrees=DEGREES, level=LEVEL)
    random, why = _baseline(factors, noise)
    sides = torch.maximum(found.left, found.right)
    # a block that reaches the last direction kept may reach further
    open_ended = factors.rank < len(values) and not bool(found.stable[-1])
    reason = "; ".join(word for word in (_MAY_GO_ON * open_ended, why) if word)
    return Identifiability(
        layer=factors.layer,
        stable_directions=_number(found, random, _stable, why),
        direction_blocks=_number(found, random, _blocks, why),
        largest_block=_number(found, random, _largest, reason),
        turned_by=Measured(
            tuple(sides.tolist()),
            None if random is None else tuple(torch.maximum(random.left, random.right).tolist()),
            None,
            "estimate",
            why,
        ),
        angle_out=found.left,
        angle_in=found.right,
        stable=found.stable.long(),
        blocks=found.blocks,
    )


def mixed_spans(found: Identifiability) -> list[list[int]]:
    """First and last direction, counted from 1, of every block that is no stable direction."""
    spans: dict[int, list[int]] = {}
    for place, (block, stable) in enumerate(zip(found.blocks.tolist(), found.stable.tolist(), strict=True), 1):
        if not stable:
            spans.setdefault(block, [place, place])[1] = place
    return list(spans.values())


def _baseline(factors: Factors, noise: DirectionNoise) -> tuple[Turned | None, str]:
    why = _PRODUCT if factors.inner else no_baseline(factors)
    if why:
        return None, why
    values = gaussian_draw(factors.shape, factors.frobenius_norm)
    even = even_noise(factors.shape, noise.total, factors.rank)
    return turned_directions(values, factors.shape, even, degrees=DEGREES, level=LEVEL), ""


def _number(found: Turned, random: Turned | None, count: Callable[[Turned], int], reason: str) -> Measured:
    return Measured(count(found), None if random is None else count(random), None, "estimate", reason)


def _stable(turned: Turned) -> int:
    return int(turned.stable.sum())


def _blocks(turned: Turned) -> int:
    return int(turned.blocks[-1]) + 1


def _largest(turned: Turned) -> int:
    return int(turned.blocks.bincount().max())
