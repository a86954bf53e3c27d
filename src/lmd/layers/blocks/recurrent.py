"""Recurrent layers, gate by gate."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.bias import wished_bias
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix, RecurrentProduct
from lmd.layers.registry import join, register
from lmd.layers.thin_product import stacked
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["recurrent_cell", "recurrent_layer"]

_GATES = {"RNN": ("",), "GRU": ("r", "z", "n"), "LSTM": ("i", "f", "g", "o")}
"""In torch's order; a plain recurrent layer has one map and no gate letter."""


@register
def recurrent_layer(module: nn.RNNBase, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Input and hidden maps of each layer, direction and gate; the projection; its product with each hidden map.

    The hidden maps ``(hidden, hidden)`` have eigenvalues. With a projection they are ``(hidden, proj)`` and have none;
    the product with the projection, from the cell's output to the next step's gate, has.
    """
    gates = _GATES[module.mode.partition("_")[0]]
    for layer in range(module.num_layers):
        for suffix, direction in (("", ""), ("_reverse", "reverse"))[: 1 + module.bidirectional]:
            place = join(join(path, f"l{layer}"), direction).rstrip(".")
            inputs, hidden = (network.loader(join(path, f"weight_{s}_l{layer}{suffix}")) for s in ("ih", "hh"))
            biases = [wished_bias(network, join(path, f"bias_{s}_l{layer}{suffix}")) for s in ("ih", "hh")]
            yield from _gates(join(place, "input"), inputs, biases[0], gates, recurrent=False)
            yield from _gates(join(place, "hidden"), hidden, biases[1], gates, recurrent=not module.proj_size)
            if module.proj_size:
                down = network.loader(join(path, f"weight_hr_l{layer}{suffix}"))
                yield LayerMatrix(join(place, "projection"), "dense", (down.shape[0], down.shape[1]), down)
                if network.wishes.parts:
                    yield from _products(place, hidden, down, gates)


@register
def recurrent_cell(module: nn.RNNCellBase, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Input maps ``(hidden, in)`` and hidden maps ``(hidden, hidden)`` of each gate."""
    rows = network.loader(join(path, "weight_hh")).shape[0]
    gates = {1: _GATES["RNN"], 3: _GATES["GRU"], 4: _GATES["LSTM"]}[rows // module.hidden_size]
    for part, stored in (("input", "ih"), ("hidden", "hh")):
        loader = network.loader(join(path, f"weight_{stored}"))
        bias = wished_bias(network, join(path, f"bias_{stored}"))
        yield from _gates(join(path, part), loader, bias, gates, recurrent=part == "hidden")


def _gates(
    name: str, loader: Loader, bias: Loader | None, gates: tuple[str, ...], *, recurrent: bool
) -> Iterator[LayerMatrix]:
    form = RecurrentMatrix if recurrent else LayerMatrix
    biases = [None] * len(gates) if bias is None else [part for _, part in _cut(bias, gates)]
    for (gate, part), shift in zip(_cut(loader, gates), biases, strict=True):
        yield form(join(name, gate).rstrip("."), "gate", (part.shape[0], part.shape[1]), part, bias=shift)


def _products(place: str, hidden: Loader, down: Loader, gates: tuple[str, ...]) -> Iterator[LayerMatrix]:
    size, inner = down.shape[1], down.shape[0]
    for gate, part in _cut(hidden, gates):
        thin = Combined(stacked, (part, down), (2 * size, inner))
        yield RecurrentProduct(
            join(join(place, "recurrent"), gate).rstrip("."),
            "gate",
            (size, size),
            thin,
            view_of=join(join(place, "hidden"), gate).rstrip("."),
            note="hidden map times projection: from the cell's output to the next step",
            inner=inner,
        )


def _cut(loader: Loader, gates: tuple[str, ...]) -> Iterator[tuple[str, Loader]]:
    height = loader.shape[0] // len(gates)
    for index, gate in enumerate(gates):
        yield gate, loader.narrow(0, index * height, height)
