"""How much a convolution stretches a whole input: its norm between two bounds."""

from dataclasses import dataclass
from math import sqrt

from lmd.factors.convolutions import operator_bound, scaled_kernel
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import leading_value
from lmd.findings.quantity import Measured, quantity
from lmd.layers.convolutions.convolution_maps import ConvolutionOperator
from lmd.linalg.convolutions.convolution_bound import random_kernel_norm

__all__ = ["OperatorNorm", "operator_norm"]

_ALLOWANCE = 16 * 2.0**-53
_METHODS = {
    "torus": "bound over the frequencies of a torus that holds the operator",
    "grid": "bound over a grid of frequencies, times what the symbol can rise between them",
    "borders": "bound over the frequencies of a torus that holds the padded input, and of what its borders repeat",
    "matrix": "the largest singular value of the whole matrix and its rounding",
    "patches": "bound by the kernel matrix and the number of patches that share an input; closer ones take too long",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OperatorNorm(Finding):
    """The norm of a convolution on inputs of the size the network gives it."""

    operator_norm_lower: Measured = quantity(
        "‖A v‖",
        unit="output/input",
        meaning="Stretching of the most stretched input that was found: the operator norm is at least this",
        source="Golub, Luk & Overton 1981",
    )
    operator_norm_upper: Measured = quantity(
        "max ‖B(f)‖",
        unit="output/input",
        meaning="Largest stretching on a larger, periodic input that holds this one: the operator norm is at most this",
        source="Sedghi, Gupta & Long 2019; Yi 2020",
    )
    operator_norm_ratio: Measured = quantity(
        "upper/lower",
        unit="1",
        meaning="Width of the bracket: 1 would be a norm known exactly",
        source="Golub & Van Loan 2013, 2.3",
    )


@analysis
def operator_norm(layer: ConvolutionOperator, factors: Factors) -> OperatorNorm:
    """Bracket the operator norm: by a singular vector from below, by a circular convolution from above.

    The baseline is the end of the spectrum of a large convolution with a Gaussian kernel of the same Frobenius norm,
    whose symbol is flat.
    """
    kernel, scale = scaled_kernel(layer)
    found, upper, method = leading_value(factors), factors.norm_bound, factors.norm_method
    if upper is None:
        upper, method = operator_bound(layer)
    # U, S and Vh carry rounding, which could lift the value over the norm
    rounding = factors.orthogonality_defect + _ALLOWANCE * sqrt(max(layer.shape))
    lower = found / (1 + rounding) - _ALLOWANCE * found
    random = random_kernel_norm(layer.geometry, kernel.norm().item()) / scale
    ratio = upper / lower if lower > 0 else None
    return OperatorNorm(
        layer=factors.layer,
        operator_norm_lower=Measured(lower, random, None, "lower"),
        operator_norm_upper=Measured(upper, random, None, "upper", _METHODS[method]),
        operator_norm_ratio=Measured(ratio, None, None, "upper", _ratio_reason(ratio)),
    )


def _ratio_reason(ratio: float | None) -> str:
    return "a bracket of one map needs no random one" if ratio is not None else "undefined for the zero map"
