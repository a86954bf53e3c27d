"""Convolutions: one patch to one position, whole inputs of one size, and periodic ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

from torch import Tensor
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from lmd.layers.bias import wished_bias
from lmd.layers.convolutions.convolution_maps import ConvolutionOperator, ConvolutionSymbol, geometry_of
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, own_forward, register
from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.symbol import block_cost
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.reading import Confidence

__all__ = ["convolution", "transposed_convolution"]

_FREQUENCIES = {1: 64, 2: 16, 3: 8}
"""Along each axis, by their number."""
_FEWEST = 4
_MOST_SIZES = 8
"""Of inputs of one convolution that have a row each."""
_LINEAR = "patches do not overlap: a Linear on each of them, the operator has its singular values once per patch"
_UNTOLD = "the size of the input is not known"
_ASSUMED = "stride, dilation and padding are in no checkpoint: stride 1 and dilation 1 were assumed"
_UNREAL = "no operator and no symbol: its weights are complex"
_SYMBOL_BUDGET = 4e10
"""Multiplications that the values of a symbol may take: some seconds of one core."""


Sizes = tuple[tuple[int, ...], ...]


def _kernel_blocks(weight: Tensor, *, groups: int) -> Tensor:
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _transposed_kernel_blocks(weight: Tensor, *, groups: int) -> Tensor:
    # spreading a kernel over the output is reading the zero-stuffed input through the flipped kernel
    blocks = weight.flip(tuple(range(2, weight.ndim))).unflatten(0, (groups, weight.shape[0] // groups))
    return blocks.transpose(1, 2).reshape(groups, weight.shape[1], -1)


@register
def convolution(module: _ConvNd, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in * k)``, columns ordered as ``torch.nn.functional.unfold`` orders patches; operator and symbol.

    A grouped kernel is block-diagonal: each group of outputs reads its own inputs only. Stride and dilation choose the
    patches and leave the kernel matrix as it is. The operator is given where the size of the input is known, the symbol
    always, both only where they are another map than the kernel matrix.
    """
    yield from _rows(module, path, network, partial(_kernel_blocks, groups=module.groups))


@register
def transposed_convolution(module: _ConvTransposeNd, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in * k)`` on patches of the zero-stuffed input, the kernel flipped as the transposition asks."""
    yield from _rows(module, path, network, partial(_transposed_kernel_blocks, groups=module.groups))


def _rows(module: _ConvNd, path: str, network: Network, form: Any) -> Iterator[LayerMatrix]:
    loader, geometry = network.loader(join(path, "weight")), geometry_of(module)
    unreal = any(parameter.is_complex() for parameter in module.parameters())
    sizes, own = network.input_sizes.get(path, ()), own_forward(module)
    coarse, whole = _frequencies(geometry), [_padded(geometry, path, network, size) for size in sizes]
    alone = all(map(_is_linear_on_patches, whole or [geometry]))
    about = _LINEAR if alone else _note_of_parts(sizes, coarse, network.unsized.get(path, _UNTOLD))
    about = _UNREAL if unreal else about
    notes = [*_notes(geometry), own or about]
    assumed = _ASSUMED if path in network.readings else ""
    notes.append(assumed)
    shape = (module.out_channels, module.in_channels * prod(geometry.kernel_size))
    sure: Confidence = "guess" if own else "declared"
    note = "; ".join(filter(None, notes))
    name, groups = path or "weight", module.groups
    bias = wished_bias(network, join(path, "bias"))
    kernel = LayerMatrix(name, "kernel_matrix", shape, loader, form, groups, confidence=sure, note=note, bias=bias)
    yield kernel
    if network.wishes.parts and not own and not unreal and not alone:
        views: list[LayerMatrix] = [*_operators(kernel.name, path, loader, whole, sizes)]
        if coarse is not None:
            views.append(_symbol(kernel.name, path, loader, geometry, coarse))
        yield from (replace(view, note=f"{view.note}; {assumed}") if assumed else view for view in views)


def _operators(
    kernel: str, path: str, loader: Loader, whole: Sequence[Convolution], sizes: Sizes
) -> Iterator[ConvolutionOperator]:
    """One for each size, the first under the name of the operator, the others with their size behind it."""
    for index, (geometry, size) in enumerate(zip(whole[:_MOST_SIZES], sizes, strict=False)):
        name = join(path, "operator")
        yield ConvolutionOperator(
            name if index == 0 else f"{name}.{'x'.join(map(str, size))}",
            "conv_operator",
            geometry.shape(size),
            loader,
            view_of=kernel,
            note=f"on inputs of {_sizes(size)}{_which(index, sizes)}, {_padding(geometry)}",
            geometry=geometry,
            size=size,
        )


def _padded(geometry: Convolution, path: str, network: Network, size: tuple[int, ...]) -> Convolution:
    """On inputs of this size, with the padding that a graph has in a step of its own."""
    graph = network.skeleton
    padding = graph.paddings.get(path) if isinstance(graph, GraphModule) else None
    if padding is None:
        return geometry
    more = padding.pads(size, geometry.output_size(size) if geometry.transposed else size)
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(geometry.pads, more, strict=True))
    return replace(geometry, pads=pads)


def _which(index: int, sizes: Sizes) -> str:
    if len(sizes) == 1:
        return ""
    others = ", ".join(_sizes(size) for i, size in enumerate(sizes) if i != index)
    left = f"; of {len(sizes)} sizes the first {_MOST_SIZES} have rows" if len(sizes) > _MOST_SIZES else ""
    return f" ({'the first call; ' if index == 0 else ''}it is called on {others} too{left})"


def _symbol(
    kernel: str, path: str, loader: Loader, geometry: Convolution, coarse: tuple[int, ...]
) -> ConvolutionSymbol:
    torus = tuple(n * s for n, s in zip(coarse, geometry.stride, strict=True))
    periodic, entering = _periodic(geometry), coarse if geometry.transposed else torus
    return ConvolutionSymbol(
        join(path, "symbol"),
        "conv_symbol",
        periodic.shape(entering),
        loader,
        view_of=kernel,
        note=f"on a torus of {_sizes(torus)}: {_sizes(coarse)} frequencies",
        geometry=periodic,
        size=entering,
        coarse=coarse,
    )


def _periodic(geometry: Convolution) -> Convolution:
    """The same on a torus: as many outputs as the stride leaves, in the same places."""
    pads = tuple(
        (before, e - s - before)
        for (before, _), e, s in zip(geometry.pads, geometry.extent, geometry.stride, strict=True)
    )
    return replace(geometry, pads=pads, mode="circular", output_padding=())


def _is_linear_on_patches(geometry: Convolution) -> bool:
    """Whether patches neither overlap nor reach over the edge, so that the map is the kernel matrix on each of them."""
    alone = all(s >= e for s, e in zip(geometry.stride, geometry.extent, strict=True))
    inside = not any(n for pair in geometry.pads for n in pair)
    return alone and inside and (not geometry.transposed or _is_pointwise(geometry))


def _is_pointwise(geometry: Convolution) -> bool:
    return prod(geometry.kernel_size) == 1


def _frequencies(geometry: Convolution) -> tuple[int, ...] | None:
    """Frequencies along each axis that the budget allows and the kernel needs; None if it allows too few."""
    count = _FREQUENCIES[geometry.dimensions]
    while count < 2 * max(geometry.kernel_size):
        count *= 2
    while count >= _FEWEST:
        coarse = tuple(max(1, count // s) for s in geometry.stride)
        if prod(coarse) / 2 * block_cost(geometry) <= _SYMBOL_BUDGET:
            return coarse
        count //= 2
    return None


def _notes(geometry: Convolution) -> Iterator[str]:
    groups = f", {geometry.groups} groups" if geometry.groups > 1 else ""
    if geometry.transposed:
        yield "transposed"
    yield f"kernel {_sizes(geometry.kernel_size)}{groups}; one patch to one position, not the operator on a whole input"


def _note_of_parts(sizes: Sizes, coarse: tuple[int, ...] | None, unsized: str) -> str:
    said = [] if coarse is not None else ["its symbol would take too long"]
    if not sizes:
        said.append(f"no operator: {unsized}")
    return "; ".join(said)


def _sizes(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))


def _padding(geometry: Convolution) -> str:
    if not any(n for pair in geometry.pads for n in pair):
        return "without padding"
    sides = ", ".join(str(a) if a == b else f"{a} and {b}" for a, b in geometry.pads)
    return f"padding {sides} ({geometry.mode})"
