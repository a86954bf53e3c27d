"""Gated feed-forward blocks whose gate and up maps are stored in one matrix."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from lmd.layers.bias import wished_bias
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join, own_forward
from lmd.sources.network import Network
from lmd.sources.reading import Confidence

__all__ = ["gated_feed_forward"]

_GATE_FIRST = {
    "gate_up_proj": "down_proj",
    "Wi": "Wo",
    "w12": "w3",
    "dense_h_to_4h": "dense_4h_to_h",
    "weights_in": "weights_out",
    "linear_fc1": "linear_fc2",
}
"""The fused layer, and the one that comes down again, where the first half goes through the activation."""
_EITHER = {"fc1": "fc2"}
"""The same, where libraries differ in which half it is."""
_UNIT = re.compile(r"glu", re.IGNORECASE)
_OTHER = re.compile(r"enc|dec|mu$|mean|var|sigma|prior|post|latent|head", re.IGNORECASE)
"""Names of pairs that halve their width for another reason: mean and variance of a latent variable."""


@dataclass(frozen=True, slots=True)
class _Fused:
    """A fused layer: where it is, which half is the gate, and how that is known."""

    place: str
    gate: int
    confidence: Confidence = "declared"
    reason: str = ""


def _fused(module: nn.Module) -> _Fused | None:
    children = dict(module.named_children())
    ways = (_by_name, _in_timm, _wrapped, _before_a_unit, _by_shape)
    ways = (_before_a_unit,) if _is_plain_sequence(module) else ways
    return next((found for way in ways if (found := way(module, children)) is not None), None)


def _is_plain_sequence(module: nn.Module) -> bool:
    """Whether layers of torch's own stand one behind the other: there only ``nn.GLU`` multiplies halves."""
    own = all(type(child).__module__.startswith("torch.") for child in module.children())
    return isinstance(module, nn.Sequential) and own and not own_forward(module)


def _halves(first: nn.Module | None, second: nn.Module | None) -> bool:
    """Whether two dense layers follow each other with half of the first one's outputs between them."""
    if not isinstance(first, nn.Linear) or not isinstance(second, nn.Linear):
        return False
    return first.out_features == 2 * second.in_features


def _by_name(module: nn.Module, children: Mapping[str, nn.Module]) -> _Fused | None:
    names = _GATE_FIRST.items()
    place = next((up for up, down in names if _halves(children.get(up), children.get(down))), None)
    return None if place is None else _Fused(place, 0)


def _in_timm(module: nn.Module, children: Mapping[str, nn.Module]) -> _Fused | None:
    for up, down in _EITHER.items():
        if _halves(children.get(up), children.get(down)):
            last = getattr(module, "gate_last", None)
            if isinstance(last, bool):
                return _Fused(up, int(last), reason="its gate_last says so")
            return _Fused(up, 0, "guess")
    return None


def _wrapped(module: nn.Module, children: Mapping[str, nn.Module]) -> _Fused | None:
    """A gated unit with a dense layer of its own, named so by its class, or ``net.0.proj`` as in diffusers."""
    for prefix, listed in (
        ("", children),
        ("net", dict(children["net"].named_children()) if "net" in children else {}),
    ):
        for place, (name, unit) in enumerate(listed.items()):
            inner = dict(unit.named_children())
            if len(inner) != 1 or not isinstance(proj := next(iter(inner.values())), nn.Linear):
                continue
            later = list(listed.values())[place + 1 :]
            down = next((child for child in later if isinstance(child, nn.Linear)), None)
            known = prefix == "net" and name == "0" and next(iter(inner)) == "proj"
            if _halves(proj, down) and (known or _UNIT.search(type(unit).__name__)):
                sure: Confidence = "siblings" if known else "guess"
                reason = "a gated unit of this layout passes the first half and gates with the second"
                return _Fused(join(join(prefix, name), next(iter(inner))), 1, sure, reason)
    return None


def _before_a_unit(module: nn.Module, children: Mapping[str, nn.Module]) -> _Fused | None:
    """A dense layer right before ``nn.GLU`` in a sequence."""
    if not isinstance(module, nn.Sequential):
        return None
    pairs = zip(children.items(), list(children.values())[1:], strict=False)
    for (name, layer), unit in pairs:
        even = isinstance(layer, nn.Linear) and layer.out_features % 2 == 0
        if even and isinstance(unit, nn.GLU) and unit.dim == -1:
            return _Fused(name, 1, reason="GLU passes the first half and gates with the second")
    return None


def _by_shape(module: nn.Module, children: Mapping[str, nn.Module]) -> _Fused | None:
    """Two dense layers of any name: out twice as wide as what is read again, and back to the width they came from."""
    layers = [(name, child) for name, child in children.items() if isinstance(child, nn.Linear)]
    if len(layers) != 2 or any(_OTHER.search(name) for name, _ in layers):
        return None
    # a file keeps no order
    for (name, first), (_, second) in (layers, layers[::-1]):
        if first.in_features == second.out_features < first.out_features and _halves(first, second):
            return _Fused(name, 0, "guess")
    return None


def _is_fused(module: nn.Module) -> bool:
    """A module with a dense layer twice as wide as the next one reads: ``gate_up_proj``, ``w12``, ``net.0.proj``."""
    return _fused(module) is not None


@claims(_is_fused)
def gated_feed_forward(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Gate and up, each ``(hidden, in)``: the gate goes through the activation and multiplies what up gives.

    Which half is the gate is known by the names that libraries give these layers; else the first is taken, as a guess.
    Where the three maps are layers of their own (SwiGLU in Llama) they are dense layers like others.
    """
    found = _fused(module)
    assert found is not None
    name = join(path, found.place)
    loader, bias = network.loader(f"{name}.weight"), wished_bias(network, f"{name}.bias")
    size = loader.shape[0] // 2
    others = ("gate and up the other way round", "dense") if found.confidence == "guess" else ()
    for half in range(2):
        part = loader.narrow(0, half * size, size)
        word = "gate" if half == found.gate else "up"
        note = f"{'first' if half == 0 else 'second'} half of a fused gate and up"
        yield LayerMatrix(
            f"{name}.{word}",
            "dense",
            (size, loader.shape[1]),
            part,
            confidence=found.confidence,
            alternatives=others,
            note="; ".join(filter(None, (note, found.reason))),
            bias=None if bias is None else bias.narrow(0, half * size, size),
        )
