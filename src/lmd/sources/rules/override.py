"""The user's word against the rules: ``--kind GLOB=KIND``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from lmd.sources.reading import Reading
from lmd.sources.rules.module import Module

__all__ = ["KINDS", "overridden"]

KINDS = (
    "dense",
    "transposed_dense",
    "embedding",
    "kernel_matrix",
    "grouped_kernel_matrix",
    "transposed_kernel_matrix",
    "diagonal",
    "vector",
)
"""Words ``--kind GLOB=KIND`` takes."""


_DIMENSIONS = {
    "dense": (2, 3),
    "transposed_dense": (2,),
    "embedding": (2,),
    "kernel_matrix": (3, 4, 5),
    "grouped_kernel_matrix": (3, 4, 5),
    "transposed_kernel_matrix": (3, 4, 5),
    "diagonal": (1,),
    "vector": (1,),
}
_BY_NAME = ("query", "key", "value", "attention_output", "gate")
_WITH_NUMBER = ("grouped_kernel_matrix", "heads")


def overridden(
    readings: Sequence[Reading | None], modules: Sequence[Module], kinds: Mapping[str, str]
) -> list[Reading | None]:
    """Replace the readings of the modules and raw tensors that fit a glob.

    Raises:
        ValueError: an unknown kind, a glob that fits no module, or a kind that does not fit the shape.
    """
    result = list(readings)
    for glob, word in kinds.items():
        kind, number = _parsed(glob, word)
        if kind == "heads":
            _set_heads(result, modules, glob, number)
            continue
        hits = [i for i, m in enumerate(modules) if "weight" in m.shapes and _fits(glob, m.path, m.roles["weight"])]
        raw = [(i, role) for i, m in enumerate(modules) if "weight" not in m.shapes for role in _raw(m, glob)]
        if not hits and not raw:
            raise ValueError(f"--kind {glob}={word} fits no module; paths look like {_some(modules)}.")
        for i in hits:
            result[i] = _chosen(modules[i], readings[i], kind, number)
        for i, role in raw:
            result.append(_chosen(_alone(modules[i], role), None, kind, number))
            result[i] = _without(result[i], role)
    return result


def _parsed(glob: str, word: str) -> tuple[str, int]:
    kind, colon, number = word.partition(":")
    if kind in _BY_NAME:
        raise ValueError(
            f"--kind {glob}={word}: {kind!r} needs tensors named as torch names them (in_proj_weight, weight_ih_l0) "
            "and follows from them by itself; call the matrix 'dense', or give the module with --builder FILE.py:NAME."
        )
    if kind not in (*KINDS, "heads"):
        raise ValueError(f"--kind {glob}={word}: {kind!r} is no kind; choose one of {', '.join(KINDS)}, heads:NUMBER.")
    if (colon and kind not in _WITH_NUMBER) or ((colon or kind == "heads") and not (number.isdigit() and int(number))):
        raise ValueError(f"--kind {glob}={word}: a number goes with {' and '.join(_WITH_NUMBER)} only: heads:8.")
    return kind, int(number or 0)


def _fits(glob: str, *names: str) -> bool:
    return any(fnmatchcase(name, glob) for name in names)


def _set_heads(readings: list[Reading | None], modules: Sequence[Module], glob: str, heads: int) -> None:
    hits = [i for i, r in enumerate(readings) if r is not None and r.kind == "query" and _fits(glob, r.path)]
    around = {m.path.rpartition(".")[0] for m in modules}
    # projections by other names: the layers learn of the number when they look for heads
    if not hits and not any(_fits(glob, path) for path in around):
        raise ValueError(
            f"--kind {glob}=heads:{heads} fits no module that holds projections; paths look like "
            f"{', '.join(sorted(around)[:5])}."
        )
    for i in hits:
        reading = readings[i]
        assert reading is not None, "hits are readings"
        width = (reading.settings or {}).get("embed_dim", 0)
        if width % heads:
            raise ValueError(f"{reading.path!r} has width {width}, which {heads} heads do not divide.")
        settings = {**(reading.settings or {}), "heads": heads}
        readings[i] = replace(reading, settings=settings, reason=f"{heads} heads, chosen with --kind")


def _raw(module: Module, glob: str) -> list[str]:
    """Roles of a module's raw tensors that fit a glob."""
    return [role for role in module.trained if _fits(glob, module.roles[role])]


def _alone(module: Module, role: str) -> Module:
    """A raw tensor as a module of its own, named as the tensor."""
    name = module.roles[role]
    return Module(name, {"weight": name}, {"weight": module.shapes[role]})


def _without(reading: Reading | None, role: str) -> Reading | None:
    if reading is None or reading.kind != "raw":
        return reading
    roles = {r: name for r, name in reading.roles.items() if r != role}
    shapes = {r: shape for r, shape in reading.shapes.items() if r != role}
    return replace(reading, roles=roles, shapes=shapes) if roles else None


def _chosen(module: Module, reading: Reading | None, kind: str, number: int) -> Reading:
    shape = module.shapes["weight"]
    if len(shape) not in _DIMENSIONS[kind]:
        fitting = ", ".join(k for k in KINDS if len(shape) in _DIMENSIONS[k]) or "none"
        raise ValueError(f"{module.path!r} has a weight of shape {shape}, no {kind!r}; kinds for it: {fitting}.")
    settings: Mapping[str, int] | None = None
    if kind == "grouped_kernel_matrix":
        settings = {"groups": number or _groups(shape, reading)}
        if shape[0] % settings["groups"]:
            raise ValueError(f"{module.path!r} writes {shape[0]} channels, which {number} groups do not divide.")
    if kind == "transposed_kernel_matrix" and reading is not None and reading.kind == kind:
        settings = reading.settings
    return Reading(module.path, kind, module.roles, shape, "declared", (), settings, "chosen with --kind")


def _groups(shape: tuple[int, ...], reading: Reading | None) -> int:
    """Groups that the neighbours suggest; without them, as many as write as many channels as they read."""
    settings = (reading.settings or {}) if reading else {}
    inferred = settings.get("groups", 1) if reading and reading.kind == "grouped_kernel_matrix" else 1
    suggested = inferred if inferred > 1 else settings.get("or_groups", 0)
    return suggested or max(1, shape[0] // max(1, shape[1]))


def _some(modules: Sequence[Module]) -> str:
    return ", ".join(repr(m.path) for m in modules[:3]) or "none: the file holds no modules"
