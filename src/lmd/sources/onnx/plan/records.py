"""Every tensor of the file as a record, under the name of the layer it belongs to. Needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from lmd.sources.onnx.file.model import Constant, GraphProto
from lmd.sources.onnx.finders.quantised import step_of
from lmd.sources.onnx.plan.expressions import Expression, leaves, main_leaf
from lmd.sources.onnx.plan.flattened import all_constants
from lmd.sources.onnx.plan.naming import dotted
from lmd.sources.onnx.plan.plan import Layer, Plan
from lmd.sources.reading import Reading, Role, TensorRecord

__all__ = ["Naming", "named", "readings_of", "steps_of_codes"]

_KINDS = {
    "dense": "dense",
    "conv": "kernel_matrix",
    "conv_transposed": "transposed_kernel_matrix",
    "embedding": "embedding",
    "recurrent": "gate",
}
"""Of a module to the word for its matrix; the others are diagonal."""
_STATISTICS = frozenset(("running_mean", "running_var"))
_A_BIAS = "a bias: it shifts, it is no linear map"
_REAL = ("float16", "bfloat16", "float32", "float64")


@dataclass(slots=True)
class Naming:
    """What the tensors of a file are called.

    Attributes:
        records: one for each, in the order of the file, tied ones behind their first.
        constants: the tensors themselves, by their name in the file.
        names: of a tensor in the file to that of its record.
        raw: tensors that no layer has and that are parameters: name in the file to name of the record.
    """

    records: list[TensorRecord] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)


def named(graph: GraphProto, plan: Plan) -> Naming:
    """Name every tensor: those of layers by path and role, the others as in the file."""
    inside = {constant.name: where for constant, where in all_constants(graph)}
    constants = {constant.name: constant for constant, _ in all_constants(graph)}
    naming = Naming(constants=constants)
    chosen: dict[str, tuple[str, Role, str]] = {}
    tied: dict[str, list[TensorRecord]] = {}
    for layer in plan.layers:
        for role, expression in layer.found.roles.items():
            _claim(layer, role, expression, chosen, tied)
    taken = {name for name, _, _ in chosen.values()}
    for name, constant in constants.items():
        if name not in chosen:
            role, reason = _of_no_layer(constant, inside[name])
            chosen[name] = (_free(dotted(name) or "tensor", taken), role, reason)
            if role == "parameter" and not reason:
                naming.raw[name] = chosen[name][0]
        record_name, role, reason = chosen[name]
        file_name = name if name != record_name else ""
        record = TensorRecord(record_name, constant.shape, constant.dtype, role, reason or constant.reason, file_name)
        naming.names[name] = record_name
        naming.records += [record, *tied.get(name, ())]
    return naming


def _claim(
    layer: Layer,
    role: str,
    expression: Expression,
    chosen: dict[str, tuple[str, Role, str]],
    tied: dict[str, list[TensorRecord]],
) -> None:
    main, name = main_leaf(expression), f"{layer.path}.{role}"
    if main is None:
        return
    codes = step_of(expression) is not None
    for index, constant in enumerate(sorted(leaves(expression), key=lambda c: c is not main)):
        if constant.name in chosen:
            first = chosen[constant.name]
            if constant is main and first[1] == "parameter":
                reason = f"same tensor as {first[0]}"
                tied.setdefault(constant.name, []).append(
                    TensorRecord(name, constant.shape, constant.dtype, "tied", reason, tied_to=first[0])
                )
            continue
        if constant is main:
            chosen[constant.name] = (name, *_role(layer, role))
        elif codes or constant.dtype not in _REAL:
            chosen[constant.name] = (f"{name}_{index}", "buffer", "scale or zero point of a quantised weight")
        elif constant.elements == 1:
            chosen[constant.name] = (f"{name}_{index}", "buffer", f"a number that {name} is computed with")
        else:
            chosen[constant.name] = (_free(dotted(constant.name), {n for n, _, _ in chosen.values()}), "parameter", "")


def _role(layer: Layer, role: str) -> tuple[Role, str]:
    if role in _STATISTICS:
        return "buffer", "kept by the module, not trained"
    if role == "B" or (role == "bias" and layer.found.kind == "scale"):
        return "parameter", _A_BIAS
    return "parameter", ""


def _of_no_layer(constant: Constant, inside: str) -> tuple[Role, str]:
    """Role and reason of a tensor that belongs to no layer."""
    if constant.reason:
        role: Role = "buffer" if constant.dtype == "string" else "parameter"
        return role, constant.reason
    if constant.dtype not in _REAL:
        complex_or_code = constant.dtype.startswith(("complex", "float"))
        reason = f"{constant.dtype} numbers of an operation: no trained weight" if not complex_or_code else ""
        return ("parameter", f"{constant.dtype}: no layer kind takes such numbers") if not reason else ("buffer", reason)
    if constant.elements <= 1:
        return "buffer", "a single number that an operation takes"
    if sum(n > 1 for n in constant.shape) < 2 and len(constant.shape) < 2:
        where = f" inside {inside}" if inside else ""
        return "parameter", f"a vector that an operation{where} takes, not as a gain of channels: no linear map"
    return "parameter", ""


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def readings_of(plan: Plan, naming: Naming) -> Iterator[Reading]:
    """How each layer is read, and each tensor that is a parameter by itself."""
    shapes = {record.name: record.shape for record in naming.records}
    seen: set[str] = set()
    for layer in plan.layers:
        found = layer.found
        roles = {
            role if index == 0 else f"{role}_{index}": naming.names[constant.name]
            for role, expression in found.roles.items()
            for index, constant in enumerate(leaves(expression))
        }
        weight = next(iter(found.roles.values()))
        if set(roles.values()) <= seen:
            continue
        seen.update(roles.values())
        words = {f"weight_{role}" if role in ("W", "R") else role: name for role, name in roles.items()}
        yield Reading(layer.path, _KINDS.get(found.kind, "diagonal"), words, weight.shape, "declared", reason=found.note)
    for name in naming.raw.values():
        if prod(shapes[name]) > 1:
            path, _, last = name.rpartition(".")
            yield Reading(name, "raw", {last: name}, shapes[name], "guess")


def steps_of_codes(plan: Plan) -> Mapping[str, object]:
    """Of each layer whose weight is stored as whole numbers, their type and their largest step."""
    found = {layer.path: step_of(next(iter(layer.found.roles.values()))) for layer in plan.layers}
    return {path: step for path, step in found.items() if step is not None}
