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
    shape = (module.embedding_dim, module.num_embeddings)
    loader = network.loader(join(path, "weight"))
    yield LayerMatrix(path or "weight", "embedding", shape, loader, transposed, note="columns are the entries' vectors")
