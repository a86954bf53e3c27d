"""Products of matrices that are both computed, and normalisations whose gains are."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation
from lmd.sources.onnx.operations.elementwise import together

__all__: list[str] = []


@operation("onnx.MatMul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Of the last two axes."""
    return torch.matmul(*together(a, b))


@operation("onnx.Affine")
def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``W x + b``, with the weights of a layer."""
    return functional.linear(x, weight, bias)


@operation("onnx.Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 1,
) -> Tensor:
    """``alpha A B + beta C``."""
    made = (a.T if transA else a) @ (b.T if transB else b)
    made = made * alpha if alpha != 1.0 else made
    return made if c is None else made + (c * beta if beta != 1.0 else c)


@operation("onnx.com.microsoft.FusedMatMul")
def fused_matmul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Tensor:
    """``alpha A B``; where asked for, the first axis is put behind the other axes of the batch before."""
    a, b = (x.movedim(0, -2) if moved else x for x, moved in ((a, transBatchA), (b, transBatchB)))
    return alpha * ((a.mT if transA else a) @ (b.mT if transB else b))


def _channels(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))


@operation("onnx.BatchNormalization")
def batch_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5, **settings: Any
) -> Tensor:
    """Evaluation mode.

    Raises:
        ValueError: the file asks for training mode.
    """
    if settings.get("training_mode"):
        raise ValueError("a BatchNormalization in training mode depends on the batch; export in evaluation mode.")
    gain = scale / torch.sqrt(var + epsilon)
    return (x - _channels(mean, x)) * _channels(gain, x) + _channels(bias, x)


@operation("onnx.InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Each channel of each example by itself."""
    return functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


@operation("onnx.LayerNormalization")
def layer_normalization(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Over the last axes; mean and reciprocal deviation beside."""
    axes = [*range(axis % x.ndim, x.ndim)]
    mean = x.mean(axes, keepdim=True)
    inverse = 1.0 / torch.sqrt((x - mean).square().mean(axes, keepdim=True) + epsilon)
    made = (x - mean) * inverse * scale
    return made if bias is None else made + bias, mean, inverse


@operation("onnx.RMSNormalization", "onnx.SimplifiedLayerNormalization")
def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Over the last axes, without a mean."""
    axes = [*range(axis % x.ndim, x.ndim)]
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon) * scale


@operation("onnx.com.microsoft.SkipLayerNormalization")
def skip_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> Tensor:
    """Of a sum."""
    total = x + skip if bias is None else x + skip + bias
    return functional.layer_norm(total, total.shape[-1:], gamma, beta, epsilon)


@operation("onnx.GroupNormalization")
def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """With a gain for each channel."""
    return functional.group_norm(x, num_groups, scale, bias, epsilon)


@operation("onnx.GroupNormalization@old")
def group_normalization_by_group(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """With a gain for each group, as before version 21."""
    size = x.shape[1] // num_groups
    return functional.group_norm(x, num_groups, scale.repeat_interleave(size), bias.repeat_interleave(size), epsilon)
