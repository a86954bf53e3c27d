"""Units of a layer that are the same up to a factor on the data."""

from dataclasses import dataclass

import torch

from lmd.activations.observing.moments import Moments
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, quantity

__all__ = ["Duplicates", "duplicates"]

_EQUAL = 1e-6
"""Of 1 minus the cosine: what float32 leaves of sums of a few hundred terms."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Duplicates(Finding):
    """Units that say what an earlier one says, and units that say nothing."""

    duplicate_units: Measured = quantity(
        "#{j: ∃ i<j, y_j = a y_i, a > 0}",
        unit="units",
        meaning="Units whose output is a positive multiple of an earlier unit's on all examples",
        source="Srinivas & Babu 2015",
    )
    constant_units: Measured = quantity(
        "#{j: Var y_j = 0}",
        unit="units",
        meaning="Units whose output does not vary over the examples",
        source="Srinivas & Babu 2015",
    )


@analysis
def duplicates(moments: Moments) -> Duplicates:
    """Cosines between the units' outputs, the bias included; of a random matrix no two units agree."""
    if moments.vectors < 2:
        raise InapplicableError("one vector tells no two units apart")
    second = moments.output_second
    lengths = second.diagonal().clamp_min(0.0).sqrt()
    alive = lengths > 0
    scaled = second / (lengths[:, None] * lengths[None, :]).clamp_min(torch.finfo(torch.float64).tiny)
    same = (scaled > 1 - _EQUAL) & alive[:, None] & alive[None, :]
    constant = second.diagonal() - moments.output_mean.square() <= _EQUAL * second.diagonal()
    # constants are all multiples of each other, and are counted as what they are
    same &= ~constant[:, None] & ~constant[None, :]
    copies = int(same.tril(-1).any(dim=1).sum())
    direction = "exact" if moments.exact else "upper"
    return Duplicates(
        layer=moments.layer,
        duplicate_units=Measured(copies, 0, 0.0, direction),
        constant_units=Measured(int(constant.sum()), 0, 0.0, direction),
    )
