"""Which units carry the singular directions."""

from dataclasses import dataclass

from jaxtyping import Float64, Int64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import refuse_without_directions
from lmd.findings.quantity import Measured, array, quantity
from lmd.linalg.maps.localised import (
    inverse_participation,
    leading_units,
    random_participation,
    random_participation_limit,
)

__all__ = ["Localisation", "localisation"]

_UNITS = 5
_SOURCE = "Bell & Dean 1970; baseline Porter & Thomas 1956"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Localisation(Finding):
    """Inverse participation ratios of the directions that were kept."""

    participation_out: Measured = quantity(
        "Σu⁴",
        unit="1",
        meaning="Inverse participation of each output direction kept: 1 on one unit, 1/m on m units evenly",
        source=_SOURCE,
    )
    participation_in: Measured = quantity(
        "Σv⁴",
        unit="1",
        meaning="Inverse participation of each input direction kept: 1 on one unit, 1/m on m units evenly",
        source=_SOURCE,
    )
    localised_out: Measured = quantity(
        "#{Σu⁴ > chance}",
        unit="directions",
        meaning="Output directions kept that lie on fewer units than a random direction, by five standard deviations",
        source=_SOURCE,
    )
    localised_in: Measured = quantity(
        "#{Σv⁴ > chance}",
        unit="directions",
        meaning="Input directions kept that lie on fewer units than a random direction, by five standard deviations",
        source=_SOURCE,
    )
    units_out: Int64[Tensor, "rank outputs"] = array(
        meaning="units that carry most of each output direction, the largest first", shape="(rank, 5)"
    )
    entries_out: Float64[Tensor, "rank outputs"] = array(meaning="their entries", shape="(rank, 5)")
    units_in: Int64[Tensor, "rank inputs"] = array(
        meaning="units that carry most of each input direction, the largest first", shape="(rank, 5)"
    )
    entries_in: Float64[Tensor, "rank inputs"] = array(meaning="their entries", shape="(rank, 5)")


@analysis
def localisation(factors: Factors) -> Localisation:
    """How many units carry each singular direction that was kept, against random directions of the same length."""
    refuse_without_directions(factors)
    units_out, entries_out = leading_units(factors.U, _UNITS)
    units_in, entries_in = leading_units(factors.Vh.T, _UNITS)
    return Localisation(
        layer=factors.layer,
        participation_out=_curve(factors.U),
        participation_in=_curve(factors.Vh.T),
        localised_out=_localised(factors.U),
        localised_in=_localised(factors.Vh.T),
        units_out=units_out,
        entries_out=entries_out,
        units_in=units_in,
        entries_in=entries_in,
    )


def _curve(vectors: Tensor) -> Measured:
    # close singular values let rounding mix the vectors: no error bound holds for each of them
    found = inverse_participation(vectors).tolist()
    return Measured(tuple(found), (random_participation(len(vectors)),) * len(found), None, "estimate")


def _localised(vectors: Tensor) -> Measured:
    limit = random_participation_limit(len(vectors))
    return Measured(int((inverse_participation(vectors) > limit).sum()), 0, None, "estimate")
