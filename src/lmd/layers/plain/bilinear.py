"""Bilinear layers: a map of pairs, and what it is to each side alone."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from lmd.layers.bias import wished_bias
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, register
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["bilinear"]

_MOST_SLICES = 256
"""Forms of single outputs: each is a row of its own, and cheap; a page of more is no help."""


def _unfolded(weight: Tensor) -> Tensor:
    return weight.flatten(1)


def _of_one_side(weight: Tensor, *, side: int) -> Tensor:
    return weight.movedim(side, -1).flatten(0, 1)


def _slice(weight: Tensor) -> Tensor:
    return weight[0]


@register
def bilinear(module: nn.Bilinear, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in1 * in2)``, the map of ``x1 ⊗ x2``; as views both other unfoldings and the form of each output.

    ``left`` ``(out * in2, in1)`` and ``right`` ``(out * in1, in2)`` are the maps of one side alone; the form of output
    ``k`` is ``A (in1, in2)`` with ``y_k = x1^T A x2``.
    """
    loader = network.loader(join(path, "weight"))
    out, in1, in2 = loader.shape
    name = path or "weight"
    note = "unfolded: the map from all products of an entry of the first and one of the second input"
    left = out - _MOST_SLICES
    if left > 0 and network.wishes.parts:
        note = (
            f"{note}; the forms of the last {left} outputs are left out: row k of this matrix, as {in1} x {in2}, is "
            f"the form of output k"
        )
    bias = wished_bias(network, join(path, "bias"))
    yield LayerMatrix(name, "dense", (out, in1 * in2), loader, _unfolded, note=note, bias=bias)
    if network.wishes.parts:
        yield from _views(name, join(path, ""), loader)


def _views(whole: str, prefix: str, loader: Loader) -> Iterator[LayerMatrix]:
    out, in1, in2 = loader.shape
    for side, word, shape in ((1, "left", (out * in2, in1)), (2, "right", (out * in1, in2))):
        form = partial(_of_one_side, side=side)
        note = f"what the {'first' if side == 1 else 'second'} input alone goes through"
        yield LayerMatrix(f"{prefix}{word}", "dense", shape, loader, form, view_of=whole, note=note)
    for k in range(min(out, _MOST_SLICES)):
        part = loader.narrow(0, k, 1)
        note = "form of one output: x1 on its rows, x2 on its columns"
        yield LayerMatrix(f"{prefix}{k}", "dense", (in1, in2), part, _slice, view_of=whole, note=note)
