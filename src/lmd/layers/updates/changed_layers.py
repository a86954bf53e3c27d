"""What an adapter can change: one layer, a packed projection, or one matrix of a stack of experts."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, matrices_of, own_shapes
from lmd.sources.network import Network

__all__ = ["changed_experts", "changed_layer"]


def changed_layer(module: nn.Module, path: str, network: Network) -> LayerMatrix | None:
    """The first whole map of a module; the packed projection of an attention as the one matrix that it is.

    Raises:
        KeyError: the source lacks a tensor of it.
    """
    packed = own_shapes(module).get("in_proj_weight", ())
    if len(packed) == 2:
        loader = network.loader(join(path, "in_proj_weight"))
        return LayerMatrix(path, "dense", (packed[0], packed[1]), loader, note="queries, keys and values together")
    return next((row for row in matrices_of(module, path, network) if row.view_of is None), None)


def changed_experts(module: nn.Module, path: str, network: Network, expert: int) -> Iterator[LayerMatrix]:
    """One expert's matrix of each stack that a module owns, in each way its axes can be meant."""
    told = getattr(module, "is_transposed", None)
    for name, shape in own_shapes(module).items():
        if len(shape) != 3 or expert >= shape[0] or join(path, name) not in network.loaders:
            continue
        loader = network.loader(join(path, name)).narrow(0, expert, 1)
        for transposed in (False, True) if told is None else (bool(told),):
            size = (shape[2], shape[1]) if transposed else (shape[1], shape[2])
            form = partial(_slice, transposed=transposed)
            yield LayerMatrix(f"{join(path, name)}.{expert}", "expert", size, loader, form)


def _slice(stack: Tensor, *, transposed: bool) -> Tensor:
    return stack[0].T if transposed else stack[0]
