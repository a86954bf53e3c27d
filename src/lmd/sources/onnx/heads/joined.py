"""Attention layers of a plan: projections under one module, with names that tell them, and its number of heads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lmd.sources.graph.step import Step
from lmd.sources.onnx.heads.pattern import Pattern, patterns
from lmd.sources.onnx.heads.torch_attention import cut_attention, fused_attention, with_attention
from lmd.sources.onnx.plan.naming import scope_of
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["Joined", "joined"]

_GENERIC = re.compile(
    r"(Attention|MatMul|Gemm|Einsum|Linear|Add|linear|addmm|mm|matmul|val|node|in_proj)(_[A-Za-z]*_?\d+|_?\d*)",
    re.ASCII,
)


_POSITIONS = "the turning of queries and keys by their positions"


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Layers and steps of a graph whose attention layers are told.

    Attributes:
        layers: by their paths.
        steps: in order.
        heads: path of a module to what it says of its heads.
    """

    layers: dict[str, Found]
    steps: list[Step]
    heads: dict[str, dict[str, object]]

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Give layers other paths."""
        if not renamed:
            return
        layers = {renamed.get(path, path): found for path, found in self.layers.items()}
        self.layers.clear()
        self.layers.update(layers)
        self.steps[:] = [replace(step, module=renamed.get(step.module, step.module)) for step in self.steps]


def joined(layers: Mapping[str, Found], steps: list[Step], view: View, held: Mapping[str, str]) -> Joined:
    """Put the projections of each attention under one module, and count its heads."""
    found = Joined(dict(layers), list(steps), {})
    kinds = {path: layer.kind for path, layer in layers.items()}
    renamed: dict[str, str] = {}
    for one in patterns(steps, kinds, view.constants, held):
        now = replace(one, **{role: renamed.get(getattr(one, role), getattr(one, role)) for role in _ROLES})
        renamed.update(_join(now, found, view))
    return found


_PARTS = ("query", "key", "value")
_ROLES = (*_PARTS, "output")


def _join(one: Pattern, found: Joined, view: View) -> dict[str, str]:
    """Look at one attention; which layers have another path now."""
    parts = dict.fromkeys((one.query, one.key, one.value))
    if not any(parts):
        _join_cut(one, found, view)
    if not all(path in found.layers and found.layers[path].kind == "dense" for path in parts):
        return {}
    shared = [one.query, one.key, one.value].count(one.query)
    width = found.layers[one.query].roles["weight"].shape[0] // shared
    told = found.layers[one.query].settings.get("heads", 0)
    heads = one.cut.heads(width) if one.cut else int(str(told))
    whole = fused_attention(one.query, found.layers, heads) if shared == len(_PARTS) else None
    if whole is not None:
        _replace(one.query, whole, found)
        return {}
    path = _around(one) or (_home(one) if shared == len(_PARTS) else "")
    renamed = _renamed(path, one, found.layers)
    found.rename(renamed)
    if heads:
        # a list of four alike, of which the module around it knows the heads
        found.heads[path.removesuffix(".linears")] = {
            "num_heads": heads,
            **({"between_products": _POSITIONS} if one.turned else {}),
        }
    return renamed


def _join_cut(one: Pattern, found: Joined, view: View) -> None:
    path = scope_of(one.name)
    output = found.layers.get(f"{path}.out_proj")
    width = output.roles["weight"].shape[0] if output is not None and output.kind == "dense" else 0
    heads = one.cut.heads(width) if one.cut else 0
    whole = cut_attention(path, found.layers, view.constants, heads)
    if whole is not None:
        found.layers[path] = whole


def _replace(path: str, whole: Found, found: Joined) -> None:
    """Torch's own layer in the place of its fused projection, which is a step that takes its weights."""
    around = path.rpartition(".")[0]
    layers = {around if name == path else name: whole if name == path else one for name, one in found.layers.items()}
    found.layers.clear()
    found.layers.update(layers)
    found.steps[:] = [with_attention(s, around, whole) if s.module == path else s for s in found.steps]


def _around(one: Pattern) -> str:
    """The module of an attention: the one that all its projections are in, or the one its softmax is in."""
    paths = [path.split(".") for path in dict.fromkeys((one.query, one.key, one.value))]
    parents = {".".join(path[:-1]) for path in paths}
    scope = scope_of(one.name)
    if scope and all(path[: len(scope.split("."))] == scope.split(".") for path in paths):
        inside = all(len(path) > len(scope.split(".")) for path in paths)
        return parents.pop() if len(parents) == 1 and inside else scope
    return parents.pop() if len(parents) == 1 else _shared(paths)


def _home(one: Pattern) -> str:
    """The module of one projection of all three that no module is around: that of the layer behind it, or a new one."""
    parent, _, last = one.output.rpartition(".")
    return parent if last in ("out_proj", "o_proj", "c_proj", "proj") else one.query


def _shared(paths: list[list[str]]) -> str:
    """The path that all have in common."""
    kept = 0
    while all(len(path) > kept for path in paths) and len({path[kept] for path in paths}) == 1:
        kept += 1
    return ".".join(paths[0][:kept])


def _renamed(path: str, one: Pattern, layers: Mapping[str, Found]) -> dict[str, str]:
    """Names that tell query, key and value, where those of the file do not."""
    names: dict[str, str] = {}
    for letter, part in (("q", one.query), ("k", one.key), ("v", one.value)):
        names[part] = names.get(part, "") + letter
    if not any(part == path or _GENERIC.fullmatch(part.rpartition(".")[2]) for part in names):
        return {}
    start = f"{path}." if path else ""
    wanted = {part: f"{start}{letters}_proj" for part, letters in names.items()}
    output = layers.get(one.output)
    unnamed = one.output == path or _GENERIC.fullmatch(one.output.rpartition(".")[2])
    if output is not None and output.kind == "dense" and one.output not in names and unnamed:
        wanted[one.output] = f"{start}out_proj"
    free = all(new not in layers or new in wanted for new in wanted.values())
    return {old: new for old, new in wanted.items() if old != new} if free else {}
