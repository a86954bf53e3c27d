"""Activations with weights of their own."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, register
from lmd.sources.network import Network

__all__ = ["prelu"]


@register
def prelu(module: nn.PReLU, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``diag(weight)``, the slope of each channel where its input is negative; elsewhere it passes as it is."""
    loader = network.loader(join(path, "weight"))
    width = loader.shape[0]
    note = "slope on the negative side; the positive side passes as it is"
    if width == 1:
        note = f"one slope for all channels; {note}"
    yield LayerMatrix(path or "weight", "diagonal", (width, width), loader, groups=width, note=note)
