"""Every tensor of the file as a record, under the name of the layer it belongs to. Needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy

from lmd.sources.onnx.file.model import Constant, GraphProto
from lmd.sources.onnx.file.tensors import CODES_OF_BITS
from lmd.sources.onnx.finders.quantised import step_of
from lmd.sources.onnx.plan.expressions import Expression, Leaf, leaves, main_leaf, numbers
from lmd.sources.onnx.plan.flattened import all_constants
from lmd.sources.onnx.plan.naming import dotted, is_generic
from lmd.sources.onnx.plan.plan import A_BIAS, PEEPHOLES, Layer, Plan
from lmd.sources.reading import Reading, Role, TensorRecord
from lmd.sources.rules.tensor_roles import with_roles

__all__ = ["Naming", "named", "readings_of", "steps_of_codes"]

_KINDS = {
    "dense": "dense",
    "conv": "kernel_matrix",
    "conv_transposed": "transposed_kernel_matrix",
    "embedding": "embedding",
    "recurrent": "gate",
    "attention": "query",
}
"""Of a module to the word for its matrix; the others are diagonal."""
_STATISTICS = frozenset(("running_mean", "running_var"))
_OF_STEPS = "under the name of an operation, and of whole or half numbers or of two alone: a grid or a mask, no weight"
_TWO = 2
_GRID = 1 << 18
"""Entries of a constant that is looked at as a whole."""
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
    naming = Naming(constants={constant.name: constant for constant, _ in all_constants(graph)})
    claims = _Claims()
    for layer in plan.layers:
        for role, expression in layer.found.roles.items():
            claims.claim(layer, role, expression)
    records: list[tuple[str | None, TensorRecord]] = []
    for name, constant in naming.constants.items():
        record = claims.chosen.get(name) or claims.rest(constant, plan)
        naming.names[name] = record.name
        records += [(name, record), *((None, twin) for twin in claims.tied.get(name, ()))]
    settled = with_roles(record for _, record in records)
    for (name, _), found in zip(records, settled, strict=True):
        record = found
        if name is not None and name not in claims.chosen and found.role == "parameter" and not found.reason:
            record = _of_no_layer(found, naming.constants[name], inside[name], plan)
            if record.role == "parameter" and not record.reason:
                naming.raw[name] = record.name
        naming.records.append(record)
    return naming


@dataclass(slots=True)
class _Claims:
    """What layers say of tensors, the first layer first.

    Attributes:
        chosen: name in the file to the record.
        tied: name in the file to the records of its further uses.
        taken: names of records so far.
    """

    chosen: dict[str, TensorRecord] = field(default_factory=dict)
    tied: dict[str, list[TensorRecord]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def record(self, constant: Constant, name: str, role: Role = "parameter", reason: str = "") -> TensorRecord:
        """A record under a name that no other has."""
        free, number = name, 2
        while free in self.taken:
            free, number = f"{name}_{number}", number + 1
        self.taken.add(free)
        file_name = constant.name if constant.name != free else ""
        return TensorRecord(free, constant.shape, constant.dtype, role, reason or constant.reason, file_name)

    def rest(self, constant: Constant, plan: Plan) -> TensorRecord:
        """The record of a tensor that no layer has."""
        name = dotted(constant.name) or "tensor"
        if constant.name in plan.tables:
            # the numbers are known, whatever they are stored as
            return replace(self.record(constant, name.removesuffix("_quantized")), logical=constant.elements)
        return self.record(constant, name, *_of_type(constant, plan.known.get(constant.name, "")))

    def claim(self, layer: Layer, role: str, expression: Expression) -> None:
        """Name the tensors of one parameter of a layer."""
        main, path = main_leaf(expression), f"{layer.path}.{role}"
        if main is None:
            return
        codes = step_of(expression) is not None
        for constant in leaves(expression):
            first = self.chosen.get(constant.name)
            if first is not None:
                if constant is main and first.role == "parameter" and path != first.name:
                    reason = f"same tensor as {first.name}"
                    twin = TensorRecord(path, constant.shape, constant.dtype, "tied", reason, tied_to=first.name)
                    self.tied.setdefault(constant.name, []).append(twin)
                continue
            own = dotted(constant.name)
            kept = own.startswith(f"{layer.path}.")
            if constant is main:
                record = self.record(constant, own if kept else path, *_role(layer, role))
                # the numbers are known, whatever they are stored as
                record = replace(record, logical=prod(expression.shape) if codes else 0)
            else:
                name = own if kept else f"{path}_{dotted(constant.name).rpartition('.')[2]}"
                record = self.record(constant, name, *_beside(constant, path, codes=codes))
            self.chosen[constant.name] = record


def _beside(constant: Constant, path: str, *, codes: bool) -> tuple[Role, str]:
    """Role and reason of a tensor that a weight is computed with."""
    if codes or constant.dtype not in _REAL:
        return "buffer", "scale or zero point of a quantised weight" if codes else f"settings that {path} is made with"
    return ("buffer", f"a number that {path} is computed with") if constant.elements == 1 else ("parameter", "")


def _role(layer: Layer, role: str) -> tuple[Role, str]:
    if role in _STATISTICS:
        return "buffer", "kept by the module, not trained"
    if role == "P":
        return "parameter", PEEPHOLES
    return ("parameter", A_BIAS) if role in ("B", "bias", "in_proj_bias") else ("parameter", "")


def _of_no_layer(record: TensorRecord, constant: Constant, inside: str, plan: Plan) -> TensorRecord:
    """The record of a tensor that belongs to no layer, with its role and its reason."""
    known = plan.known.get(constant.name, "")
    if known:
        if known == A_BIAS:
            return replace(record, reason=known, logical=constant.elements)
        found = numbers(Leaf(constant))
        if "starts" not in known and "layout" not in known:
            return replace(record, role="buffer", reason=known)
        if "starts" in known and found is not None and not found.any():
            return replace(record, role="buffer", reason="zeros that a recurrent layer starts from")
        return replace(record, reason=known if "layout" in known else f"{known}: no linear map")
    role, reason = _why_no_layer(constant, inside, plan)
    return replace(record, role=role, reason=reason)


def _of_type(constant: Constant, known: str) -> tuple[Role, str]:
    # biases of products of codes are the trained ones
    if constant.dtype in ("int32", "uint32", "uint64") and known != A_BIAS:
        return "buffer", f"{constant.dtype} numbers of an operation: no trained weight"
    if constant.dtype in CODES_OF_BITS and len(constant.shape) > 1:
        return "parameter", f"{constant.dtype} codes of an operation that is not known, or whose scale is not constant"
    return "parameter", ""


def _why_no_layer(constant: Constant, inside: str, plan: Plan) -> tuple[Role, str]:
    if constant.dtype.startswith(("complex", "float8")):
        return "parameter", f"{constant.dtype}: no layer kind takes such numbers"
    if constant.dtype not in _REAL and constant.name not in plan.tables:
        return "buffer", f"{constant.dtype} numbers of an operation: no trained weight"
    if constant.elements <= 1:
        return "buffer", "a single number that an operation takes"
    read = constant.name in plan.tables
    if is_generic(constant.name.removesuffix("_quantized")) and _is_of_steps(constant, codes=read):
        return "buffer", _OF_STEPS
    if len(constant.shape) > 1 and not (read and constant.elements == max(constant.shape)):
        return "parameter", ""
    where = f" inside {inside}" if inside else ""
    return "parameter", f"a vector that an operation{where} takes, not as a gain of channels: no linear map"


def _is_of_steps(constant: Constant, *, codes: bool) -> bool:
    found = numbers(Leaf(constant), most=_GRID)
    if codes:
        # of a mask: shown or not
        return found is not None and len(numpy.unique(found)) <= _TWO
    # a weight may well be of zeros alone before it is trained, but then it has a name
    return found is not None and bool((2 * found == numpy.round(2 * found)).all())


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
        if found.kind == "stack":
            yield Reading(layer.path, "raw", roles, weight.shape, "declared")
            continue
        words = {f"weight_{role}" if role[0] in ("W", "R") else role: name for role, name in roles.items()}
        yield Reading(
            layer.path, _KINDS.get(found.kind, "diagonal"), words, weight.shape, "declared", reason=found.note
        )
    for name in naming.raw.values():
        if prod(shapes[name]) > 1:
            yield Reading(name, "raw", {name.rpartition(".")[2]: name}, shapes[name], "guess")


def steps_of_codes(plan: Plan) -> Mapping[str, object]:
    """Of each layer whose weight is stored as whole numbers, their type and their largest step."""
    found = {layer.path: step_of(next(iter(layer.found.roles.values()))) for layer in plan.layers}
    return {path: step for path, step in found.items() if step is not None}
