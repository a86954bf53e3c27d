"""Operations on each entry by itself: arithmetic, comparisons, activations, types."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation
from lmd.sources.onnx.file.tensors import DTYPES

__all__ = ["dtype_of", "together"]


def together(*tensors: Tensor) -> list[Tensor]:
    """Tensors where the first that has no numbers is: settings lie on the CPU, a trial run on the meta device."""
    device = next((tensor.device for tensor in tensors if tensor.is_meta), tensors[0].device)
    return [tensor.to(device) for tensor in tensors]


def dtype_of(number: int) -> torch.dtype:
    """Torch's type for ONNX's number of it.

    Raises:
        ValueError: torch has none.
    """
    found = getattr(torch, DTYPES.get(number, ""), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"type {number} ({DTYPES.get(number, 'unknown')}) is none of torch's.")
    return found


def _unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    def apply(x: Tensor) -> Tensor:
        return function(x)

    operation(f"onnx.{name}")(apply)


_AS_TORCH = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log"),
    *("Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Sinh", "Sqrt", "Tan", "Tanh"),
)
"""Those that torch has under the same name."""
_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: getattr(torch, name.lower()) for name in _AS_TORCH},
    "Identity": lambda x: x,
    "IsNaN": torch.isnan,
    "Not": torch.logical_not,
    "BitwiseNot": torch.bitwise_not,
    "Sign": torch.sign,
    "Softplus": lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device)),
    "Softsign": functional.softsign,
    "HardSwish": functional.hardswish,
    "Mish": functional.mish,
}
for _name, _function in _UNARY.items():
    _unary(_name, _function)


def _shaped(a: Tensor, b: Tensor, axis: int | None) -> Tensor:
    """The second operand as the first versions of the standard lay it along the first, from ``axis`` on."""
    if axis is None:
        return b
    start = axis % max(a.ndim, 1)
    return b.reshape(*b.shape, *[1] * (a.ndim - start - b.ndim))


_WIDE = frozenset((torch.uint16, torch.uint32, torch.uint64))
"""Types that torch stores and does not compute with."""


def _binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    def apply(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0) -> Tensor:
        a, b = together(a, b)
        if a.dtype not in _WIDE:
            return function(a, _shaped(a, b, axis))
        made = function(a.to(torch.int64), _shaped(a, b, axis).to(torch.int64))
        return made if made.dtype is torch.bool else made.to(a.dtype)

    operation(f"onnx.{name}")(apply)


def _divided(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _divided,
    "Pow": lambda a, b: torch.pow(a, b).to(a.dtype),
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}
for _name, _function in _BINARY.items():
    _binary(_name, _function)


@operation("onnx.Mod")
def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """The remainder, with the sign of the divisor, or of the dividend where ``fmod`` asks for C's."""
    a, b = together(a, b)
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@operation("onnx.BitShift")
def bit_shift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    """To the left or to the right."""
    wide = a.to(torch.int64), b.to(torch.int64)
    moved = torch.bitwise_left_shift(*wide) if direction == "LEFT" else torch.bitwise_right_shift(*wide)
    return moved.to(a.dtype)


def _several(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    def apply(*tensors: Tensor) -> Tensor:
        dtype = tensors[0].dtype
        given = [t.to(torch.int64) for t in tensors] if dtype in _WIDE else tensors
        return reduce(function, together(*given)).to(dtype)

    operation(f"onnx.{name}")(apply)


for _name, _function in {"Max": torch.maximum, "Min": torch.minimum, "Sum": torch.add}.items():
    _several(_name, _function)


@operation("onnx.Mean")
def mean(*tensors: Tensor) -> Tensor:
    """Of several tensors, entry by entry."""
    return reduce(torch.add, together(*tensors)) / len(tensors)


@operation("onnx.Where")
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One or the other."""
    condition, a, b = together(condition, a, b)
    return torch.where(condition, a, b)


@operation("onnx.Cast")
def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """To another type."""
    return x.to(dtype_of(to))


@operation("onnx.CastLike")
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """To the type of another tensor."""
    return x.to(like.dtype)


@operation("onnx.IsInf")
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Infinite, of one sign or the other."""
    return (torch.isposinf(x) & bool(detect_positive)) | (torch.isneginf(x) & bool(detect_negative))


@operation("onnx.Clip")
def clip(
    x: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    *,
    min: float | None = None,
    max: float | None = None,
) -> Tensor:
    """Between two bounds, given as settings before version 11 and as inputs since."""
    if min is not None:
        x = x.clamp(min=min)
    if max is not None:
        x = x.clamp(max=max)
    if low is not None:
        x = torch.maximum(*together(x, low.to(x.dtype)))
    return x if high is None else torch.minimum(*together(x, high.to(x.dtype)))


@operation("onnx.Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Exponential below 0."""
    return functional.elu(x, alpha)


@operation("onnx.Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Exponential below 0, smooth for every ``alpha``."""
    return functional.celu(x, alpha)


@operation("onnx.Selu")
def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    """A scaled ELU."""
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


@operation("onnx.LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """A slope below 0."""
    return functional.leaky_relu(x, alpha)


@operation("onnx.PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """A slope below 0 for each entry, spread over the others."""
    return torch.where(x < 0, x * slope, x)


@operation("onnx.ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """0 up to ``alpha``."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


@operation("onnx.HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """Linear between 0 and 1."""
    return (alpha * x + beta).clamp(0, 1)


@operation("onnx.Gelu", "onnx.com.microsoft.Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """``x`` times the normal distribution's share below it, or its approximation by ``tanh``."""
    return functional.gelu(x, approximate=approximate)


@operation("onnx.com.microsoft.FastGelu")
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The approximation by ``tanh``, of a sum."""
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


@operation("onnx.com.microsoft.BiasGelu")
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Of a sum."""
    return functional.gelu(x + bias)


@operation("onnx.com.microsoft.QuickGelu")
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """``x sigmoid(alpha x)``."""
    return x * torch.sigmoid(alpha * x)


@operation("onnx.Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x sigmoid(alpha x)``."""
    return x * torch.sigmoid(alpha * x)


@operation("onnx.Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Towards 0 by ``bias``, and 0 within ``lambd``."""
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


@operation("onnx.Dropout")
def dropout(x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None, **settings: Any) -> Any:
    """Nothing is dropped: a file is run in evaluation mode.

    Raises:
        ValueError: the file asks for training mode.
    """
    if training is not None and bool(training):
        raise ValueError("a Dropout in training mode draws random numbers; export the model in evaluation mode.")
    return x, torch.ones_like(x, dtype=torch.bool)


@operation("onnx.Scaled")
def scaled(x: Tensor, *, factor: float) -> Tensor:
    """Times a number that is a setting of a layer."""
    return factor * x


@operation("onnx.Einsum")
def einsum(*tensors: Tensor, equation: str) -> Tensor:
    """Sums of products, written as letters."""
    return torch.einsum(equation.replace(" ", ""), *together(*tensors))


@operation("onnx.Det")
def det(x: Tensor) -> Tensor:
    """Of the last two axes."""
    return torch.linalg.det(x)
