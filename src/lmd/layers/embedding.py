"""Look-up tables."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix, transposed
from lmd.layers.registry import join, register
from lmd.sources.network import Network

__all__ = ["embedding"]


@register
def embedding(module: nn.Embedding, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The map ``(dim, entries)`` from one-hot entries to their vectors: the transpose of the table."""
    loader = network.loader(join(path, "weight"))
    entries, width = loader.shape
    note = "columns are the entries' vectors"
    yield LayerMatrix(path or "weight", "embedding", (width, entries), loader, transposed, note=note)
