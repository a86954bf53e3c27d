"""Multi-head attention: its four projections, and each head's share of them."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, register
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["multihead_attention"]


@register
def multihead_attention(module: nn.MultiheadAttention, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key, value ``(embed, in)`` and output ``(embed, embed)``, then each head as a view of them.

    A head reads with its rows of query, key and value and writes with its columns of the output.
    """
    width = module.embed_dim
    heads = module.num_heads
    for index, kind in enumerate(("query", "key", "value")):
        packed = network.loaders.get(join(path, "in_proj_weight"))
        if packed is not None:
            loader = packed.narrow(0, index * width, width)
        else:
            loader = network.loader(join(path, f"{kind[0]}_proj_weight"))
        yield from _with_heads(join(path, kind), kind, loader, 0, heads)
    output = network.loader(join(path, "out_proj.weight"))
    yield from _with_heads(join(path, "output"), "attention_output", output, 1, heads)


def _with_heads(name: str, kind: str, loader: Loader, axis: int, heads: int) -> Iterator[LayerMatrix]:
    rows, columns = loader.shape
    yield LayerMatrix(name, kind, (rows, columns), loader)
    if heads == 1:
        return
    size = loader.shape[axis] // heads
    for head in range(heads):
        part = loader.narrow(axis, head * size, size)
        rows, columns = part.shape
        yield LayerMatrix(f"{name}.{head}", kind, (rows, columns), part, view_of=name)
