"""Recurrent layers, gate by gate."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import join, register
from lmd.sources.network import Network

__all__ = ["recurrent_cell", "recurrent_layer"]

_GATES = {"RNN": ("",), "GRU": ("r", "z", "n"), "LSTM": ("i", "f", "g", "o")}
"""In torch's order; a plain recurrent layer has one map and no gate letter."""


@register
def recurrent_layer(module: nn.RNNBase, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Input and hidden maps ``(hidden, in)`` of each layer, direction and gate; the projection ``(proj, hidden)``."""
    gates = _GATES[module.mode.partition("_")[0]]
    for layer in range(module.num_layers):
        for suffix, direction in (("", ""), ("_reverse", "reverse"))[: 1 + module.bidirectional]:
            place = join(join(path, f"l{layer}"), direction).rstrip(".")
            for part, stored in (("input", "ih"), ("hidden", "hh")):
                tensor = join(path, f"weight_{stored}_l{layer}{suffix}")
                yield from _gates(join(place, part), tensor, gates, network)
            if module.proj_size:
                loader = network.loader(join(path, f"weight_hr_l{layer}{suffix}"))
                yield LayerMatrix(join(place, "projection"), "dense", (loader.shape[0], loader.shape[1]), loader)


@register
def recurrent_cell(module: nn.RNNCellBase, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Input and hidden maps ``(hidden, in)`` of each gate."""
    rows = network.loader(join(path, "weight_hh")).shape[0]
    gates = {1: _GATES["RNN"], 3: _GATES["GRU"], 4: _GATES["LSTM"]}[rows // module.hidden_size]
    for part, stored in (("input", "ih"), ("hidden", "hh")):
        yield from _gates(join(path, part), join(path, f"weight_{stored}"), gates, network)


def _gates(name: str, tensor: str, gates: tuple[str, ...], network: Network) -> Iterator[LayerMatrix]:
    loader = network.loader(tensor)
    height, width = loader.shape[0] // len(gates), loader.shape[1]
    for index, gate in enumerate(gates):
        part = loader.narrow(0, index * height, height)
        yield LayerMatrix(join(name, gate).rstrip("."), "gate", (height, width), part)
