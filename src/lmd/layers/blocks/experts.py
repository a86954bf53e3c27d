"""Mixtures of experts: each expert's own maps, their mean, and how far each is from it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from lmd.layers.convolutions.pooled import Pooled, as_computed
from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.registry import claims, join, own_shapes
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.reading import Confidence

__all__ = ["expert_list", "expert_stacks", "expert_weights", "router", "routing_layer"]

_FUSED = ("gate_up_proj",)
_STACKS = ("gate_up_proj", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3", "wi", "wi_0", "wi_1", "wo")
_INWARDS = ("down_proj", "w2", "wo")
"""By convention the one that comes back to the width of the network."""
_MOST_DEVIATIONS = 16
"""Each deviation reads the whole stack once more."""
_WIDTHS = ("hidden_size", "hidden_dim", "d_model", "dim", "n_embd")

_ROUTER = "router: one row of scores for each expert"

Shapes = Mapping[str, tuple[int, ...]]


def _stacks(module: nn.Module) -> Shapes:
    return {name: shape for name, shape in own_shapes(module).items() if name in _STACKS and len(shape) == 3}


def _holds_stacks(module: nn.Module) -> bool:
    """A module that owns 3-D ``gate_up_proj``, ``up_proj``, ``w1`` … with a ``down_proj``, ``w2`` or ``wo``."""
    found = _stacks(module)
    return len(found) >= 2 and any(name in _INWARDS for name in found) and len({s[0] for s in found.values()}) == 1


@dataclass(frozen=True, slots=True)
class _Layout:
    confidence: Confidence
    transposed: bool = False
    interleaved: bool = False
    note: str = ""


@claims(_holds_stacks)
def expert_stacks(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Each expert's slice of the stacks, gate and up apart; the mean expert and each deviation from it as views.

    Stacks are stored ``(experts, out, in)`` or ``(experts, in, out)``: a fused gate and up has twice the width that
    comes down again, which tells; otherwise the width of the network does.
    """
    layout = _layout(module, network)
    for name, shape in _stacks(module).items():
        loader = network.loader(join(path, name))
        halves = ("gate", "up") if name in _FUSED else ("",)
        for half, words in enumerate(halves):
            parts, form = _parts(loader, layout, half if len(halves) > 1 else None)
            rows, columns = shape[1:][::-1] if layout.transposed else shape[1:]
            size = (rows // len(halves), columns)
            named = [join(join(path, name), f"{e}.{words}".rstrip(".")) for e in range(shape[0])]
            yield from _experts(named, parts, form, size, layout if words else replace(layout, note=""))
            if network.wishes.parts:
                mean = join(join(path, name), f"mean.{words}".rstrip("."))
                yield from _pooled(mean, named, parts, form, size)


def _layout(module: nn.Module, network: Network) -> _Layout:
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
        return _Layout("declared" if told is not None else "siblings", transposed, interleaved, text)
    width = next((w for key in _WIDTHS if isinstance(w := _setting(module, network, key), int)), None)
    if width in inwards[1:] and inwards[1] != inwards[2]:
        return _Layout("siblings", inwards[2] == width)
    return _Layout("guess")


def _setting(module: nn.Module, network: Network, key: str) -> Any:
    config = network.facts.get("config")
    return getattr(module, key, config.get(key) if isinstance(config, Mapping) else None)


def _parts(loader: Loader, layout: _Layout, half: int | None) -> tuple[list[Loader], Callable[[Tensor], Tensor]]:
    """One loader for each expert, which reads no other one, and the form that makes its matrix."""
    each = [loader.narrow(0, e, 1) for e in range(loader.shape[0])]
    if half is not None and not layout.interleaved:
        axis = 2 if layout.transposed else 1
        size = loader.shape[axis] // 2
        each = [part.narrow(axis, half * size, size) for part in each]
        half = None
    return each, partial(_matrix, transposed=layout.transposed, half=half)


def _matrix(stack: Tensor, *, transposed: bool, half: int | None) -> Tensor:
    matrix = stack[0].T if transposed else stack[0]
    return matrix if half is None else matrix[half::2]


def _experts(
    names: list[str], parts: list[Loader], form: Callable[[Tensor], Tensor], size: tuple[int, int], layout: _Layout
) -> Iterator[LayerMatrix]:
    stored = "(experts, in, out)" if layout.transposed else "(experts, out, in)"
    others = () if layout.confidence != "guess" else ("transposed",)
    for name, part in zip(names, parts, strict=True):
        note = "; ".join(text for text in (f"stored {stored}", layout.note) if text)
        yield LayerMatrix(
            name, "expert", size, part, form, confidence=layout.confidence, alternatives=others, note=note
        )


def _pooled(
    mean: str, names: list[str], parts: list[Loader], form: Callable[[Tensor], Tensor], size: tuple[int, int]
) -> Iterator[LayerMatrix]:
    pooled = Pooled(tuple(parts), form, size)
    note = f"mean of {len(parts)} experts"
    if len(parts) > _MOST_DEVIATIONS:
        note = f"{note}; no deviations from it beyond {_MOST_DEVIATIONS} experts: each would read all of them"
    yield LayerMatrix(mean, "expert", size, pooled, as_computed, view_of=names[0], note=note)
    for index, name in enumerate(names if len(parts) <= _MOST_DEVIATIONS else ()):
        loader = Pooled(tuple(parts), form, size, index)
        note = f"the expert minus the mean of {len(parts)}"
        yield LayerMatrix(f"{name}.deviation", "expert", size, loader, as_computed, view_of=name, note=note)


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
    layout = _Layout("siblings" if told else "guess", told and pair == loader.shape[1:])
    parts, form = _parts(loader, layout, None)
    rows, columns = loader.shape[1:][::-1] if layout.transposed else loader.shape[1:]
    names = [join(path, str(e)) for e in range(loader.shape[0])]
    yield from _experts(names, parts, form, (rows, columns), layout)
    if network.wishes.parts:
        yield from _pooled(join(path, "mean"), names, parts, form, (rows, columns))


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
        for name, part in zip(names, parts, strict=True):
            yield LayerMatrix(name, "expert", size, part, note="a module for each expert")
        if network.wishes.parts:
            yield from _pooled(join(join(path, "mean"), child).rstrip("."), names, parts, as_stored, size)


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
    yield LayerMatrix(path or "weight", "dense", shape, loader, note=_ROUTER)


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
    yield LayerMatrix(name, "dense", (loader.shape[0], loader.shape[1]), loader, note=_ROUTER)
