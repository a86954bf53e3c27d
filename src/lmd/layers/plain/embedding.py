"""Look-up tables."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import Form, LayerMatrix, transposed
from lmd.layers.registry import join, register
from lmd.sources.network import Network

__all__ = ["embedding", "embedding_bag"]


@dataclass(frozen=True, slots=True)
class _LookUp:
    """From a stored table to the vectors that a look-up gives, as columns.

    Attributes:
        max_norm: longer vectors are shortened to it.
        norm_type: of that norm.
        left_out: the entry that adds nothing.
    """

    max_norm: float | None
    norm_type: float
    left_out: int | None

    def __call__(self, table: Tensor) -> Tensor:
        vectors = table.double()
        if self.max_norm is not None:
            lengths = torch.linalg.vector_norm(vectors, ord=self.norm_type, dim=1, keepdim=True)
            # torch's own guard against a length of zero
            vectors = torch.where(lengths > self.max_norm, vectors * (self.max_norm / (lengths + 1e-7)), vectors)
        if self.left_out is not None:
            vectors = vectors.index_fill(0, torch.tensor(self.left_out), 0.0)
        return vectors.T


def _table(module: nn.Embedding | nn.EmbeddingBag, path: str, network: Network, note: str) -> LayerMatrix:
    loader = network.loader(join(path, "weight"))
    entries, width = loader.shape
    padding, longest = module.padding_idx, module.max_norm
    bag = isinstance(module, nn.EmbeddingBag)
    notes = [note]
    form: Form = transposed
    if padding is not None:
        notes.append(f"entry {padding} is padding: {'a bag leaves it out' if bag else 'its vector is not trained'}")
    if longest is not None:
        notes.append(f"vectors longer than max_norm {longest:g} as a look-up shortens them")
    if longest is not None or (bag and padding is not None):
        form = _LookUp(longest, module.norm_type, padding if bag else None)
    return LayerMatrix(path or "weight", "embedding", (width, entries), loader, form, note="; ".join(notes))


@register
def embedding(module: nn.Embedding, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The map ``(dim, entries)`` from one-hot entries to their vectors: the transpose of the table."""
    yield _table(module, path, network, "columns are the entries' vectors")


@register
def embedding_bag(module: nn.EmbeddingBag, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The map ``(dim, entries)`` from counts of entries to the sum of their vectors."""
    yield _table(module, path, network, f"columns are the entries' vectors; a bag gives their {module.mode}")
