"""Stacks of matrices whose shape is that of a kernel: of experts, of types of edges, of steps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from lmd.sources.reading import Reading
from lmd.sources.rules.module import Module

__all__ = ["stacks_among_kernels"]

_GROUPED = "grouped_kernel_matrix"
_BESIDE = re.compile(r"^(root|loop_weight|(w_)?comp|coeffs?)$")
"""What a relational graph convolution owns beside its stack."""
_ROUTER = re.compile(r"(^|\.)(router|gate|gating|switch|wg)[^.]*(\.[^.]*)?$")


def stacks_among_kernels(modules: Sequence[Module], readings: Sequence[Reading | None]) -> list[Reading | None]:
    """What stands beside a router, a cell of its width or relations is a stack of matrices and no kernel."""
    by_path = {module.path: module for module in modules}
    experts = _stacks_of_experts(modules)
    return [
        _raw(m)
        if r is not None and r.kind.endswith("kernel_matrix") and (m.path in experts or _is_of_messages(m, by_path))
        else _perhaps_depthwise(r)
        for m, r in zip(modules, readings, strict=True)
    ]


def _routers(modules: Sequence[Module]) -> dict[str, set[tuple[int, int]]]:
    """Path of a block to the shapes of its routers."""
    found: dict[str, set[tuple[int, int]]] = {}
    for module in modules:
        for role, shape in module.shapes.items():
            match = _ROUTER.search(module.path if role == "weight" else f"{module.path}.{role}")
            if len(shape) == 2 and match and shape[0] != shape[1]:
                name = match.string[: match.start()]
                found.setdefault(name, set()).update({(shape[0], shape[1]), (shape[1], shape[0])})
    return found


def _stacks_of_experts(modules: Sequence[Module]) -> set[str]:
    """Paths of modules with one stack each, two or more of them beside a router of as many outputs."""
    routers = _routers(modules)
    found: dict[tuple[str, int, int], set[str]] = {}
    for module in modules:
        weight = module.shapes.get("weight", ())
        if len(weight) != 3 or "conv" in module.path:
            continue
        for block in {module.parent, module.parent.rpartition(".")[0]}:
            for count, width in routers.get(block, ()):
                if weight[0] == count and width in weight[1:]:
                    found.setdefault((block, count, width), set()).add(module.path)
    return {path for paths in found.values() if len(paths) > 1 for path in paths}


def _is_of_messages(module: Module, by_path: Mapping[str, Module]) -> bool:
    weight = module.shapes["weight"]
    if len(weight) in (3, 4) and any(_BESIDE.search(role) and len(s) == 2 for role, s in module.shapes.items()):
        return True
    cell = by_path.get(f"{module.path}.rnn")
    square = len(weight) == 3 and weight[1] == weight[2]
    return square and cell is not None and cell.shapes.get("weight_ih") == (3 * weight[1], weight[1])


def _perhaps_depthwise(reading: Reading | None) -> Reading | None:
    """A kernel that reads one channel may as well read each of several by itself; the first layer of grey pictures."""
    if reading is None or reading.kind != "kernel_matrix" or len(reading.shape) < 3:
        return reading
    outputs, inputs, *kernel = reading.shape
    if inputs != 1 or outputs == 1 or prod(kernel) == 1 or _GROUPED in reading.alternatives:
        return reading
    return replace(reading, alternatives=(*reading.alternatives, _GROUPED))


def _raw(module: Module) -> Reading:
    roles = {role: name for role, name in module.roles.items() if len(module.shapes[role]) > 1}
    return Reading(module.path, "raw", roles, confidence="guess", shapes=module.trained)
