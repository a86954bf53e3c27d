"""How fast the states of a state space forget."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.findings.analysis import Finding, analysis
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.recurrence import RecurrentMatrix
from lmd.layers.states.diagonal_states import DiagonalStates

__all__ = ["Decay", "decay"]

_NO_BASELINE = "a diagonal map has no random-matrix baseline"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decay(Finding):
    """Rates of growth of the single states; negative ones fade."""

    slowest_rate: Measured = quantity(
        "max Re λ",
        unit="1/time",
        meaning="Growth rate of the state that fades last: 1/|rate| takes a factor e; of a map of one step ln|λ|",
        source="Golub & Van Loan 2013, 9.3.2",
    )
    fastest_rate: Measured = quantity(
        "min Re λ",
        unit="1/time",
        meaning="Growth rate of the state that fades first; of a map of one step ln|λ|",
        source="Golub & Van Loan 2013, 9.3.2",
    )
    rates: Float64[Tensor, "n 2"] = array(
        meaning="growth rate and frequency of each state, in the order stored; of a map of one step ln λ",
        shape="(n, 2)",
    )


@analysis
def decay(matrix: DiagonalStates) -> Decay:
    """Real and imaginary parts of the eigenvalues, which are the diagonal itself; of a step their logarithms."""
    values = matrix.eigenvalues()
    rates = values.log() if isinstance(matrix, RecurrentMatrix) else values
    rounding = torch.finfo(torch.float64).eps * values.abs().max().item()
    return Decay(
        layer=matrix.name,
        slowest_rate=_measured(rates.real.max().item(), rounding),
        fastest_rate=_measured(rates.real.min().item(), rounding),
        rates=torch.view_as_real(rates).contiguous(),
    )


def _measured(rate: float, rounding: float) -> Measured:
    if rate == -float("inf"):
        return Measured(None, reason="the state is forgotten at once")
    return Measured(rate, error=rounding, reason=_NO_BASELINE)
