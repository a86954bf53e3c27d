"""Gated feed-forward blocks whose gate and up maps are stored in one matrix."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join
from lmd.sources.network import Network

__all__ = ["gated_feed_forward"]

_PAIRS = {"gate_up_proj": "down_proj", "Wi": "Wo", "w12": "w3", "dense_h_to_4h": "dense_4h_to_h", "fc1": "fc2"}
"""The fused layer, and the one that comes down again."""


def _fused(module: nn.Module) -> str:
    children = dict(module.named_children())
    for up, down in _PAIRS.items():
        first, second = children.get(up), children.get(down)
        if type(first) is nn.Linear and type(second) is nn.Linear and first.out_features == 2 * second.in_features:
            return up
    return ""


def _is_fused(module: nn.Module) -> bool:
    """A module with Linear children such as ``gate_up_proj`` and ``down_proj``, the first twice as wide."""
    return bool(_fused(module))


@claims(_is_fused)
def gated_feed_forward(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Gate and up, each ``(hidden, in)``: the first half goes through the activation and multiplies the second.

    Where the three maps are layers of their own (SwiGLU in Llama) they are dense layers like others.
    """
    name = join(path, _fused(module))
    loader = network.loader(f"{name}.weight")
    size = loader.shape[0] // 2
    for half, word in enumerate(("gate", "up")):
        part = loader.narrow(0, half * size, size)
        note = f"{'first' if half == 0 else 'second'} half of a fused gate and up"
        yield LayerMatrix(f"{name}.{word}", "dense", (size, loader.shape[1]), part, note=note)
