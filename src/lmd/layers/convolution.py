"""Convolutions as kernel matrices: the map from one patch of the input to one position of the output."""

from collections.abc import Iterator
from functools import partial
from math import prod

from torch import Tensor
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, register
from lmd.sources.network import Network

__all__ = ["convolution", "transposed_convolution"]


def _kernel_blocks(weight: Tensor, *, groups: int) -> Tensor:
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _transposed_kernel_blocks(weight: Tensor, *, groups: int) -> Tensor:
    # spreading a kernel over the output is reading the zero-stuffed input through the flipped kernel
    blocks = weight.flip(tuple(range(2, weight.ndim))).unflatten(0, (groups, weight.shape[0] // groups))
    return blocks.transpose(1, 2).reshape(groups, weight.shape[1], -1)


@register
def convolution(module: _ConvNd, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in * k)``, columns ordered as ``torch.nn.functional.unfold`` orders patches.

    A grouped kernel is block-diagonal: each group of outputs reads its own inputs only. Stride and dilation choose the
    patches and leave the kernel matrix as it is.
    """
    groups, size = module.groups, prod(module.kernel_size)
    shape = (module.out_channels, module.in_channels * size)
    form = partial(_kernel_blocks, groups=groups)
    yield LayerMatrix(
        path or "weight", "kernel_matrix", shape, network.loader(join(path, "weight")), form, groups, note=_note(module)
    )


@register
def transposed_convolution(module: _ConvTransposeNd, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in * k)`` on patches of the zero-stuffed input, the kernel flipped as the transposition asks."""
    groups, size = module.groups, prod(module.kernel_size)
    shape = (module.out_channels, module.in_channels * size)
    form = partial(_transposed_kernel_blocks, groups=groups)
    note = f"transposed; {_note(module)}"
    loader = network.loader(join(path, "weight"))
    yield LayerMatrix(path or "weight", "kernel_matrix", shape, loader, form, groups, note=note)


def _note(module: _ConvNd) -> str:
    size = " x ".join(map(str, module.kernel_size))
    groups = f", {module.groups} groups" if module.groups > 1 else ""
    return f"kernel {size}{groups}; one patch to one position, not the operator on a whole input"
