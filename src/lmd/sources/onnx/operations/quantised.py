"""Operations on whole numbers that stand for real ones: ``real = scale (code - zero point)``."""

from typing import Any

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation
from lmd.sources.onnx.operations.elementwise import dtype_of
from lmd.sources.onnx.operations.windows import convolved

__all__ = ["unpacked"]


def _along(part: Tensor, x: Tensor, axis: int, block: int = 0) -> Tensor:
    """A scale or a zero point, one for each entry of an axis, for each block along it, or for all."""
    if block:
        return part.repeat_interleave(block, dim=axis).narrow(axis, 0, x.shape[axis])
    if part.numel() == 1:
        return part.reshape(())
    along = axis % x.ndim
    return part.reshape(*[1] * along, -1, *[1] * (x.ndim - along - 1))


@operation("onnx.DequantizeLinear")
def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """The real numbers."""
    codes = x.to(torch.int64) if not x.is_floating_point() else x.to(torch.float32)
    if zero is not None:
        codes = codes - _along(zero.to(codes.dtype), x, axis, block_size)
    made = codes.to(scale.dtype) * _along(scale, x, axis, block_size)
    return made.to(dtype_of(output_dtype)) if output_dtype else made


@operation("onnx.FromBits")
def from_bits(
    codes: Tensor, scale: Tensor, zero: Tensor | None = None, *, shape: tuple[int, int], bits: int, block: int
) -> Tensor:
    """The real numbers of codes that share bytes, the lowest bits first, with a scale for each block of a row."""
    rows, columns = shape
    scale = scale.reshape(rows, -1)
    middle = torch.full_like(scale, 1 << (bits - 1))
    if zero is not None:
        packed = not zero.is_floating_point()
        middle = unpacked(zero.reshape(rows, -1), bits)[:, : scale.shape[1]] if packed else zero.reshape(rows, -1)
    middle, steps = (part.to(scale.dtype).repeat_interleave(block, 1)[:, :columns] for part in (middle, scale))
    return (unpacked(codes.reshape(rows, -1), bits)[:, :columns].to(scale.dtype) - middle) * steps


def unpacked(codes: Tensor, bits: int) -> Tensor:
    """Codes that share the bytes of the last axis, the lowest bits first."""
    return (codes[..., None].to(torch.int16) >> torch.arange(0, 8, bits)).flatten(-2) & ((1 << bits) - 1)


def _quantized(x: Tensor, scale: Tensor, zero: Tensor | None, axis: int, dtype: torch.dtype) -> Tensor:
    limits = torch.iinfo(dtype)
    codes = torch.round(x / _along(scale, x, axis))
    if zero is not None:
        codes = codes + _along(zero.to(codes.dtype), x, axis)
    return codes.clamp(limits.min, limits.max).to(dtype)


@operation("onnx.QuantizeLinear")
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    output_dtype: int = 0,
    block_size: int = 0,
    precision: int = 0,
) -> Tensor:
    """The nearest codes, the even one of two.

    Raises:
        ValueError: blocks, or codes of 8-bit real numbers, are asked for.
    """
    dtype = zero.dtype if zero is not None else dtype_of(output_dtype) if output_dtype else torch.uint8
    if block_size or dtype.is_floating_point:
        raise ValueError("QuantizeLinear in blocks or to 8-bit real numbers is not run.")
    return _quantized(x, scale, zero, axis, dtype)


@operation("onnx.DynamicQuantizeLinear")
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of 8 bits whose scale and zero point the input itself tells."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = torch.where(high > low, (high - low) / 255, torch.ones_like(high))
    zero = torch.round((-low / scale).clamp(0, 255)).to(torch.uint8)
    return _quantized(x, scale, zero, 0, torch.uint8), scale, zero


def _shifted(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    # in double precision sums of products of whole numbers are exact
    codes = x.to(torch.float64)
    return codes if zero is None else codes - _along(zero.to(torch.float64), x, axis)


@operation("onnx.MatMulInteger")
def matmul_integer(a: Tensor, b: Tensor, zero_a: Tensor | None = None, zero_b: Tensor | None = None) -> Tensor:
    """Of whole numbers."""
    return (_shifted(a, zero_a, a.ndim - 2) @ _shifted(b, zero_b, b.ndim - 1)).to(torch.int32)


@operation("onnx.ConvInteger")
def conv_integer(
    x: Tensor, weight: Tensor, zero_x: Tensor | None = None, zero_w: Tensor | None = None, **settings: Any
) -> Tensor:
    """Of whole numbers."""
    return convolved(_shifted(x, zero_x, 1), _shifted(weight, zero_w, 0), **settings).to(torch.int32)


def _requantized(total: Tensor, factor: Tensor, axis: int, zero: Tensor) -> Tensor:
    limits = torch.iinfo(zero.dtype)
    # as the usual kernels do: sums of whole numbers times one number of single precision
    codes = torch.round(total.to(torch.float32) * _along(factor, total, axis)) + zero.to(torch.float32)
    return codes.clamp(limits.min, limits.max).to(zero.dtype)


@operation("onnx.QLinearMatMul")
def qlinear_matmul(*given: Tensor) -> Tensor:
    """Of codes, to codes."""
    a, scale_a, zero_a, b, scale_b, zero_b, scale, zero = given
    total = _shifted(a, zero_a, a.ndim - 2) @ _shifted(b, zero_b, b.ndim - 1)
    return _requantized(total, scale_a * scale_b / scale, total.ndim - 1, zero)


@operation("onnx.QLinearConv")
def qlinear_conv(*given: Tensor, **settings: Any) -> Tensor:
    """Of codes, to codes."""
    x, scale_x, zero_x, weight, scale_w, zero_w, scale, zero, *bias = given
    shift = bias[0].to(torch.float64) if bias else None
    total = convolved(_shifted(x, zero_x, 1), _shifted(weight, zero_w, 0), shift, **settings)
    return _requantized(total, scale_x * scale_w / scale, 1, zero)


@operation("onnx.com.microsoft.QGemm")
def qgemm(*given: Tensor | None, alpha: float = 1.0, transA: int = 0, transB: int = 0) -> Tensor:
    """Of codes, to codes, or to real numbers where no scale of the output is told."""
    a, scale_a, zero_a, b, scale_b, zero_b, shift, scale, zero = (*given, *[None] * 9)[:9]
    assert a is not None
    assert b is not None
    left, right = _shifted(a, zero_a, a.ndim - 2), _shifted(b, zero_b, 0 if transB else 1)
    total = (left.T if transA else left) @ (right.T if transB else right)
    total = total if shift is None else total + shift
    assert scale_a is not None
    assert scale_b is not None
    if scale is None or zero is None:
        return alpha * total.to(torch.float32) * _along(scale_a * scale_b, total, 1)
    return _requantized(total, alpha * scale_a * scale_b / scale, 1, zero)
