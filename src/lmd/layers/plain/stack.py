"""Several matrices in one tensor, each a map of its own."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, register
from lmd.sources.network import Network
from lmd.sources.skeleton import StackedLinear

__all__ = ["stacked_maps"]


def _matrix(stack: Tensor, *, transposed: bool) -> Tensor:
    return stack[0].T if transposed else stack[0]


@register
def stacked_maps(module: StackedLinear, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in)`` for each of the matrices that a graph multiplies with at once."""
    loader = network.loader(join(path, "weight"))
    count, *size = loader.shape
    shape = (size[1], size[0]) if module.transposed else (size[0], size[1])
    note = f"one of {count} matrices in one tensor{', stored (in, out)' if module.transposed else ''}"
    form = partial(_matrix, transposed=module.transposed)
    for place in range(count):
        yield LayerMatrix(join(path, str(place)), "dense", shape, loader.narrow(0, place, 1), form, note=note)
