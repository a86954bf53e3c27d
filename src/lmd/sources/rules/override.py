"""The user's word against the rules: ``--kind GLOB=KIND``."""

from collections.abc import Mapping, Sequence
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
    "dense": (2,),
    "transposed_dense": (2,),
    "embedding": (2,),
    "kernel_matrix": (3, 4, 5),
    "grouped_kernel_matrix": (3, 4, 5),
    "transposed_kernel_matrix": (3, 4, 5),
    "diagonal": (1,),
    "vector": (1,),
}


def overridden(
    readings: Sequence[Reading | None], modules: Sequence[Module], kinds: Mapping[str, str]
) -> list[Reading | None]:
    """Replace the readings of the modules that fit a glob.

    Raises:
        ValueError: an unknown kind, a glob that fits no module, or a kind that does not fit the shape.
    """
    result = list(readings)
    for glob, kind in kinds.items():
        if kind not in KINDS:
            raise ValueError(f"--kind {glob}={kind}: {kind!r} is no kind; choose one of {', '.join(KINDS)}.")
        hits = [
            i
            for i, m in enumerate(modules)
            if "weight" in m.shapes and (fnmatchcase(m.path, glob) or fnmatchcase(m.roles["weight"], glob))
        ]
        if not hits:
            raise ValueError(f"--kind {glob}={kind} fits no module; paths look like {_some(modules)}.")
        for i in hits:
            result[i] = _chosen(modules[i], readings[i], kind)
    return result


def _chosen(module: Module, reading: Reading | None, kind: str) -> Reading:
    shape = module.shapes["weight"]
    if len(shape) not in _DIMENSIONS[kind]:
        fitting = ", ".join(k for k in KINDS if len(shape) in _DIMENSIONS[k]) or "none"
        raise ValueError(f"{module.path!r} has a weight of shape {shape}, no {kind!r}; kinds for it: {fitting}.")
    settings: Mapping[str, int] | None = None
    if kind == "grouped_kernel_matrix":
        inferred = (reading.settings or {}).get("groups", 0) if reading else 0
        # grouped layers write as many channels as they read, unless the neighbours told otherwise
        settings = {"groups": inferred or max(1, shape[0] // max(1, shape[1]))}
    return Reading(module.path, kind, module.roles, shape, "declared", (), settings, "chosen with --kind")


def _some(modules: Sequence[Module]) -> str:
    return ", ".join(repr(m.path) for m in modules[:3]) or "none: the file holds no modules"
