"""Stacks of experts under any name, known by the router that stands beside them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from lmd.layers.bias import wished_bias
from lmd.layers.blocks.expert_rows import ExpertLayout, expert_biases, expert_maps, expert_rows, pooled_rows
from lmd.layers.layer_matrix import LayerMatrix, as_stored, transposed
from lmd.layers.registry import claims, join, own_shapes
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.reading import Confidence
from lmd.sources.skeleton import is_stored_transposed

__all__ = ["routed_experts"]

_ROUTER = re.compile(r"router|gate$|gating|gate_weight|switch|^wg$|^w_gate$|^w_g$", re.IGNORECASE)
_TOLD = ("gate_up_proj",)
"""Stacks whose own names tell how they are stored."""
_INTO = re.compile(r"(^|_|\.)(in|up|gate|wi|w_?1|w_?3|fc_?1|c_fc|expand|hidden|gate_up|up_gate|h)(_|\.|\d|proj|$)")
_BACK = re.compile(r"(^|_|\.)(out|down|wo|w_?2|fc_?2|c_proj|contract|output|o)(_|\.|proj|$)")

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Routed:
    """Stacks of one block by place below it, its router, and the width that the router reads."""

    stacks: Mapping[str, Shape]
    router: str
    width: int
    flipped: bool
    sure: bool


def _stacks(module: nn.Module) -> dict[str, Shape]:
    """3-D parameters of the module and of the children around which torch puts no layer."""
    found = {name: shape for name, shape in own_shapes(module).items() if len(shape) == 3}
    for child_name, child in module.named_children():
        if type(child).__module__.startswith("torch.nn.modules") and type(child) is not nn.Module:
            continue
        own = {name: shape for name, shape in own_shapes(child).items() if len(shape) == 3}
        found.update({f"{child_name}.{name}": shape for name, shape in own.items()})
    return {name: shape for name, shape in found.items() if shape[0] > 1 and "bias" not in name}


def _routers(module: nn.Module) -> Iterator[tuple[str, Shape, bool]]:
    """Place of each router's weight, its shape, and whether it is certain to lie ``(experts, in)``."""
    for name, shape in own_shapes(module).items():
        if len(shape) == 2 and _ROUTER.search(name):
            yield name, shape, False
    for name, child in module.named_children():
        if _ROUTER.search(name):
            # a router may wrap its map
            for below, inner in child.named_modules():
                own = own_shapes(inner).get("weight", ())
                if len(own) == 2 and not is_stored_transposed(inner):
                    yield join(join(name, below).rstrip("."), "weight"), own, isinstance(inner, nn.Linear)


def _routed(module: nn.Module) -> _Routed | None:
    stacks = _stacks(module)
    if len(stacks) < 2 or any(name.rpartition(".")[2] in _TOLD for name in stacks):
        return None
    for router, shape, certain in _routers(module):
        for axis in (0,) if certain else (0, 1):
            count, width = shape[axis], shape[1 - axis]
            among = {name: s for name, s in stacks.items() if s[0] == count and width in s[1:]}
            inside = {_other(s, width) for s in among.values()}
            # of one width, or twice as wide where gate and up are one
            if len(among) >= 2 and max(inside, default=0) <= 2 * min(inside, default=0):
                return _Routed(among, router, width, axis == 1, certain or shape[0] != shape[1])
    return None


def _is_routed(module: nn.Module) -> bool:
    """A module with 3-D stacks of any name (``w_in`` and ``w_out``) and a ``router`` or ``gate`` of as many outputs."""
    return _routed(module) is not None


@claims(_is_routed)
def routed_experts(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Each expert's slice of the stacks, the mean and the deviations as views, and the router ``(experts, in)``.

    Which axis of a stack is the input is known by the width that the router reads and by the stack's name: one that
    leads into the expert reads this width, one that leads out of it gives it. Otherwise it is a guess.
    """
    found = _routed(module)
    assert found is not None
    yield _router_row(found, path, network)
    hidden = _hidden(found)
    for name, shape in found.stacks.items():
        layout = _layout(name, shape, found)
        loader, stored = network.loader(join(path, name)), _bias(name, path, network)
        bias = stored if network.wishes.fold_bias else None
        outputs = shape[1 if not layout.transposed else 2]
        inward = shape[2 if not layout.transposed else 1] == found.width and not _BACK.search(name)
        fused = inward and hidden is not None and outputs == 2 * hidden
        for half in range(2) if fused else (None,):
            maps = expert_maps(loader, layout, half, expert_biases(bias, layout, half))
            word = "" if half is None else ("gate", "up")[half]
            names = [join(join(path, name), f"{e}.{word}".rstrip(".")) for e in range(shape[0])]
            told = layout if half is None else _half(layout, half)
            yield from expert_rows(names, maps, told)
            if network.wishes.parts:
                yield from pooled_rows(join(join(path, name), f"mean.{word}".rstrip(".")), names, maps, told)
        if stored is not None and bias is None and len(stored.shape) == 2:
            note = "biases: columns are the experts'"
            yield LayerMatrix(
                stored.tensors[0], "embedding", (stored.shape[1], stored.shape[0]), stored, transposed, note=note
            )


def _router_row(found: _Routed, path: str, network: Network) -> LayerMatrix:
    name = join(path, found.router)
    loader = network.loader(name)
    shape = loader.shape[::-1] if found.flipped else loader.shape
    sure: Confidence = "siblings" if found.sure else "guess"
    note = f"router: one row of scores for each expert{'; stored (in, experts)' if found.flipped else ''}"
    return LayerMatrix(
        name.removesuffix(".weight"),
        "dense",
        (shape[0], shape[1]),
        loader,
        transposed if found.flipped else as_stored,
        confidence=sure,
        note=note,
        bias=wished_bias(network, f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None,
    )


def _hidden(found: _Routed) -> int | None:
    """The width inside an expert that the way back reads."""
    back = (shape for name, shape in found.stacks.items() if _BACK.search(name) and not _INTO.search(name))
    sizes = {_other(shape, found.width) for shape in back}
    return sizes.pop() if len(sizes) == 1 else None


def _other(shape: Shape, width: int) -> int:
    return shape[2] if shape[1] == width else shape[1]


def _layout(name: str, shape: Shape, found: _Routed) -> ExpertLayout:
    into, back = bool(_INTO.search(name)), bool(_BACK.search(name))
    told = into != back and shape[1] != shape[2]
    first = next(iter(found.stacks)) == name
    leads_in = into if into != back else first
    # (experts, in, out): the width is read on the way in and given on the way out
    turned = (shape[1] == found.width) == leads_in if shape[1] != shape[2] else False
    if told:
        return ExpertLayout("siblings", turned, note="the width that the router reads tells its input")
    why = "square" if shape[1] == shape[2] else "its name does not tell whether it leads in or out"
    return ExpertLayout("guess", turned, note=f"{why}: which axis is the input is a guess")


def _half(layout: ExpertLayout, half: int) -> ExpertLayout:
    note = f"{('first', 'second')[half]} half of gate and up; which is the gate is a guess"
    others = ("gate and up the other way round", *(layout.others if layout.confidence == "guess" else ()))
    return ExpertLayout("guess", layout.transposed, layout.interleaved, f"{layout.note}; {note}", others)


def _bias(name: str, path: str, network: Network) -> Loader | None:
    """``w_in_bias`` or ``b_in`` for ``w_in``, ``w1.bias`` for ``w1.weight``."""
    owner, _, last = name.rpartition(".")
    words = [f"{last}_bias", f"{last}_b", *([re.sub("^w", "b", last)] if last.startswith("w") else [])]
    if last == "weight":
        words = ["bias"]
    names = (join(path, join(owner, word)) for word in words)
    return next((network.loaders[word] for word in names if word in network.loaders), None)
