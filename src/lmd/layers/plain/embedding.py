"""Look-up tables."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix, transposed
from lmd.layers.registry import join, register
from lmd.sources.network import Network

__all__ = ["embedding", "embedding_bag"]


@register
def embedding(module: nn.Embedding, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The map ``(dim, entries)`` from one-hot entries to their vectors: the transpose of the table."""
    loader = network.loader(join(path, "weight"))
    entries, width = loader.shape
    note = "columns are the entries' vectors"
    yield LayerMatrix(path or "weight", "embedding", (width, entries), loader, transposed, note=note)


@register
def embedding_bag(module: nn.EmbeddingBag, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The map ``(dim, entries)`` from counts of entries to the sum of their vectors."""
    loader = network.loader(join(path, "weight"))
    entries, width = loader.shape
    note = f"columns are the entries' vectors; a bag gives their {module.mode}"
    yield LayerMatrix(path or "weight", "embedding", (width, entries), loader, transposed, note=note)
