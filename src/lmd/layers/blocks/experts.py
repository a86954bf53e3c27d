"""Mixtures of experts: each expert's own maps, their mean, and how far each is from it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from lmd.layers.bias import wished_bias
from lmd.layers.blocks.expert_rows import (
    ExpertLayout,
    ExpertMaps,
    expert_biases,
    expert_maps,
    expert_rows,
    pooled_rows,
)
from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.registry import claims, join, own_shapes
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["expert_list", "expert_stacks", "expert_weights", "router", "routing_layer"]

_FUSED = ("gate_up_proj",)
_STACKS = ("gate_up_proj", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3", "wi", "wi_0", "wi_1", "wo")
_INWARDS = ("down_proj", "w2", "wo")
"""By convention the one that comes back to the width of the network."""
_WIDTHS = ("hidden_size", "hidden_dim", "d_model", "dim", "n_embd")

_ROUTER = "router: one row of scores for each expert"

Shapes = Mapping[str, tuple[int, ...]]


def _stacks(module: nn.Module) -> Shapes:
    return {name: shape for name, shape in own_shapes(module).items() if name in _STACKS and len(shape) == 3}


def _holds_stacks(module: nn.Module) -> bool:
    """A module that owns 3-D ``gate_up_proj``, ``up_proj``, ``w1`` … with a ``down_proj``, ``w2`` or ``wo``."""
    found = _stacks(module)
    return len(found) >= 2 and any(name in _INWARDS for name in found) and len({s[0] for s in found.values()}) == 1


@claims(_holds_stacks)
def expert_stacks(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Each expert's slice of the stacks, gate and up apart; the mean expert and each deviation from it as views.

    Stacks are stored ``(experts, out, in)`` or ``(experts, in, out)``: a fused gate and up has twice the width that
    comes down again, which tells; otherwise the width of the network does.
    """
    layout = _layout(module, network)
    for name, shape in _stacks(module).items():
        loader = network.loader(join(path, name))
        bias = _bias(name, join(path, ""), network)
        halves = ("gate", "up") if name in _FUSED else ("",)
        for half, words in enumerate(halves):
            which = half if words else None
            maps = expert_maps(loader, layout, which, expert_biases(bias, layout, which))
            named = [join(join(path, name), f"{e}.{words}".rstrip(".")) for e in range(shape[0])]
            yield from expert_rows(named, maps, layout if words else replace(layout, note=""))
            if network.wishes.parts:
                mean = join(join(path, name), f"mean.{words}".rstrip("."))
                yield from pooled_rows(mean, named, maps, layout)


def _bias(name: str, prefix: str, network: Network) -> Loader | None:
    """``down_proj_bias`` for ``down_proj``, ``b1`` for ``w1``."""
    named = (f"{name}_bias", f"{name}_b", re.sub("^w", "b", name))
    return next(
        (found for word in named[: 2 + (named[2] != name)] if (found := wished_bias(network, prefix + word))), None
    )


def _layout(module: nn.Module, network: Network) -> ExpertLayout:
    found = _stacks(module)
    inwards = next(found[name] for name in found if name in _INWARDS)
    own = own_shapes(module)
    fused = next((found[name] for name in _FUSED if name in found), None)
    if fused is not None:
        transposed = fused[2] == 2 * inwards[1] and fused[1] == inwards[2]
        told = getattr(module, "is_concatenated", None)
        # transformers says so itself
        transposed = getattr(module, "is_transposed", transposed)
        interleaved = not told if told is not None else transposed and f"{_FUSED[0]}_bias" in own
        text = "gate and up alternate" if interleaved else "gate first, then up"
        return ExpertLayout("declared" if told is not None else "siblings", transposed, interleaved, text)
    width = next((w for key in _WIDTHS if isinstance(w := _setting(module, network, key), int)), None)
    if width in inwards[1:] and inwards[1] != inwards[2]:
        return ExpertLayout("siblings", inwards[2] == width)
    return ExpertLayout("guess")


def _setting(module: nn.Module, network: Network, key: str) -> Any:
    config = network.facts.get("config")
    return getattr(module, key, config.get(key) if isinstance(config, Mapping) else None)


def _is_a_stack(module: nn.Module) -> bool:
    """A module whose weight is a stack of ``num_experts`` matrices."""
    shape = own_shapes(module).get("weight", ())
    return len(shape) == 3 and getattr(module, "num_experts", None) == shape[0]


@claims(_is_a_stack)
def expert_weights(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Each expert's slice of the stack; the mean expert and each deviation from it as views."""
    loader = network.loader(join(path, "weight"))
    pair = (getattr(module, "input_size", None), getattr(module, "output_size", None))
    told = pair in (loader.shape[1:], loader.shape[1:][::-1]) and pair[0] != pair[1]
    layout = ExpertLayout("siblings" if told else "guess", told and pair == loader.shape[1:])
    names = [join(path, str(e)) for e in range(loader.shape[0])]
    maps = expert_maps(loader, layout, biases=expert_biases(wished_bias(network, join(path, "bias")), layout))
    yield from expert_rows(names, maps, layout)
    if network.wishes.parts:
        yield from pooled_rows(join(path, "mean"), names, maps, layout)


def _alike(module: nn.Module) -> bool:
    """A list of modules with the same dense children, whose name ends in ``experts``."""
    children = dict(module.named_children())
    # a sequence is a chain, and a bare file has numbered children in plain modules
    if (
        len(children) < 2
        or isinstance(module, nn.Sequential)
        or list(children) != [str(e) for e in range(len(children))]
    ):
        return False
    first, *others = (_dense_children(child) for child in children.values())
    return bool(first) and all(other == first for other in others)


def _dense_children(module: nn.Module) -> dict[str, tuple[int, int]]:
    # a weight that is computed from others is left to the kind of its own module
    children = ((name, own_shapes(child)) for name, child in module.named_modules() if isinstance(child, nn.Linear))
    return {name: (own["weight"][0], own["weight"][1]) for name, own in children if "weight" in own}


@claims(_alike)
def expert_list(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Each expert's dense layers, and as views the mean expert and each deviation from it."""
    if not path.rpartition(".")[2].endswith("experts"):
        return
    experts = list(module.children())
    for child, size in _dense_children(experts[0]).items():
        names = [join(join(path, str(e)), child).rstrip(".") for e in range(len(experts))]
        parts = [network.loader(join(name, "weight")) for name in names]
        biases = [bias for name in names if (bias := wished_bias(network, join(name, "bias"))) is not None]
        maps = ExpertMaps(parts, as_stored, size, biases if len(biases) == len(parts) else None)
        yield from (
            replace(row, note="a module for each expert") for row in expert_rows(names, maps, ExpertLayout("declared"))
        )
        if network.wishes.parts:
            mean = join(join(path, "mean"), child).rstrip(".")
            yield from pooled_rows(mean, names, maps, ExpertLayout("declared"))


def _chooses(module: nn.Module) -> bool:
    """A module with a 2-D weight and ``num_experts`` of its own, or whose class is named a router."""
    named = "router" in type(module).__name__.lower()
    sized = hasattr(module, "num_experts") and not isinstance(module, nn.Linear | nn.Embedding)
    return len(own_shapes(module).get("weight", ())) == 2 and (named or sized)


@claims(_chooses)
def router(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(experts, in)``: the scores by which experts are chosen."""
    loader = network.loader(join(path, "weight"))
    shape = (loader.shape[0], loader.shape[1])
    bias = wished_bias(network, join(path, "bias"))
    yield LayerMatrix(path or "weight", "dense", shape, loader, note=_ROUTER, bias=bias)


def _routing_child(module: nn.Module) -> str:
    children = dict(module.named_children())
    named = (name for name in ("gate", "router") if type(children.get(name)) is nn.Linear)
    return next((n for n in named if "experts" in children), "")


def _routes(module: nn.Module) -> bool:
    """A module with a child ``experts`` and a Linear named ``gate`` or ``router``."""
    return bool(_routing_child(module))


@claims(_routes)
def routing_layer(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(experts, in)``: the dense layer whose outputs are the scores by which experts are chosen."""
    name = join(path, _routing_child(module))
    loader = network.loader(f"{name}.weight")
    bias = wished_bias(network, f"{name}.bias")
    yield LayerMatrix(name, "dense", (loader.shape[0], loader.shape[1]), loader, note=_ROUTER, bias=bias)
