"""Bare names and shapes to module kinds: what a checkpoint without its architecture says by itself.

Pure Python: ``lmd inspect`` runs these rules on headers, without torch.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod

from lmd.sources.reading import Confidence, Reading, TensorRecord

__all__ = ["KINDS", "effective_names", "read_names", "with_roles"]

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

_BUFFERS = frozenset(
    [
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "position_ids",
        "token_type_ids",
        "inv_freq",
        "masked_bias",
        "attn_mask",
        "mask",
        "causal_mask",
        "relative_position_index",
        "relative_coords_table",
    ]
)
_EMBEDDING = re.compile(r"emb|wte|wpe|lookup|codebook|vocab|relative_attention_bias", re.IGNORECASE)
_NORM = re.compile(r"norm|^(ln|bn|gn|rms)(\d|_|$)", re.IGNORECASE)
_TRANSPOSED = re.compile(r"transp|deconv|convt|conv_t|upconv|up_conv", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Module:
    path: str
    roles: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def last(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def parent(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def stem(self) -> str:
        return re.sub(r"\d+", "", self.last)


def with_roles(records: Iterable[TensorRecord]) -> tuple[TensorRecord, ...]:
    """Tell buffers from parameters by their names and types; roles already set stay."""
    records = tuple(records)
    names = {r.name for r in records}
    return tuple(_with_role(r, names) if r.role == "parameter" else r for r in records)


def _with_role(record: TensorRecord, names: set[str]) -> TensorRecord:
    path, _, last = record.name.rpartition(".")
    stem = last.removesuffix("_u").removesuffix("_v")
    orig = f"{path}.{stem}_orig".lstrip(".")
    if last in _BUFFERS:
        return replace(record, role="buffer", reason="kept by the module, not trained")
    if (last in ("_u", "_v") and ".parametrizations." in record.name) or (stem != last and orig in names):
        return replace(record, role="buffer", reason="singular vector estimate of a spectral norm")
    if record.dtype in ("bool", "int64"):
        return replace(record, role="buffer", reason=f"{record.dtype} numbers are not trained")
    return record


def effective_names(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parametrised weights: effective name, ``conv.weight``, to the stored tensors it is computed from.

    Weight norm, old style ``weight_g weight_v`` and new ``parametrizations.weight.original0 original1``; spectral norm,
    ``weight_orig weight_u weight_v`` and ``parametrizations.weight.original 0._u 0._v``.
    """
    names = set(names)
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(names):
        for stored, others, effective in _patterns(name):
            if all(other in names for other in others):
                found[effective] = (stored, *others)
    return found


def _patterns(name: str) -> Iterable[tuple[str, tuple[str, ...], str]]:
    if name.endswith("_g"):
        yield name, (f"{name[:-2]}_v",), name[:-2]
    if name.endswith("_orig"):
        yield name, (f"{name[:-5]}_u", f"{name[:-5]}_v"), name[:-5]
    new = re.fullmatch(r"(?P<path>(?:.*\.)?)parametrizations\.(?P<attribute>\w+)\.(?P<last>original0?)", name)
    if new:
        effective, base = new["path"] + new["attribute"], name.rpartition(".")[0]
        others = (f"{base}.original1",) if new["last"] == "original0" else (f"{base}.0._u", f"{base}.0._v")
        yield name, others, effective


def read_names(records: Sequence[TensorRecord], kinds: Mapping[str, str] | None = None) -> tuple[Reading, ...]:
    """Read each module's kind from the names and shapes of its tensors and of its neighbours'.

    Args:
        records: of the file, in its order, as ``with_roles`` returns them.
        kinds: glob of module paths or weight names to a word of ``KINDS``, which overrides the rules.

    Returns:
        One reading for each module that owns at least one linear map.

    Raises:
        ValueError: an override names an unknown kind, fits no module, or its kind does not fit the shape.
    """
    modules = _modules(records)
    first = [_alone(m) for m in modules]
    readings = tuple(
        _among(module, reading, index, modules, first)
        for index, (module, reading) in enumerate(zip(modules, first, strict=True))
    )
    return tuple(r for r in _overridden(readings, modules, kinds or {}) if r is not None and r.kind != "vector")


def _modules(records: Sequence[TensorRecord]) -> list[_Module]:
    shapes = {r.name: r.shape for r in records if r.role in ("parameter", "buffer")}
    for effective, stored in effective_names(shapes).items():
        # weight norm keeps the direction, of the weight's shape, in its second tensor
        full = stored[1] if len(stored) == 2 else stored[0]
        shapes = {effective if n == full else n: s for n, s in shapes.items() if n == full or n not in stored}
    grouped: dict[str, dict[str, str]] = {}
    for name in shapes:
        path, _, last = name.rpartition(".")
        grouped.setdefault(path, {})[last] = name
    return [_Module(p, roles, {r: shapes[n] for r, n in roles.items()}) for p, roles in grouped.items()]


def _alone(module: _Module) -> Reading | None:
    for rule in (_recurrent, _attention, _norm, _matrix, _kernel):
        reading = rule(module)
        if reading is not None:
            return reading
    return None


def _reading(module: _Module, kind: str, confidence: Confidence, reason: str, *alternatives: str) -> Reading:
    return Reading(module.path, kind, module.roles, module.shapes["weight"], confidence, alternatives, None, reason)


def _recurrent(module: _Module) -> Reading | None:
    hidden = module.shapes.get("weight_hh_l0", module.shapes.get("weight_hh"))
    first = module.shapes.get("weight_ih_l0", module.shapes.get("weight_ih"))
    if hidden is None or first is None or len(hidden) != 2 or len(first) != 2:
        return None
    projection = module.shapes.get("weight_hr_l0")
    size = projection[1] if projection else hidden[1]
    gates, rest = divmod(hidden[0], max(size, 1))
    if rest or gates not in (1, 3, 4) or first[0] != hidden[0]:
        return None
    layers = sum(re.fullmatch(r"weight_hh_l\d+", role) is not None for role in module.shapes)
    settings = {
        "gates": gates,
        "input_size": first[1],
        "hidden_size": size,
        "num_layers": layers,
        "bidirectional": int("weight_hh_l0_reverse" in module.shapes),
        "proj_size": projection[0] if projection else 0,
    }
    reason = f"{gates} gates: hidden weights are {gates} x the hidden size {size}"
    return Reading(module.path, "gate", module.roles, hidden, "shape", (), settings, reason)


def _attention(module: _Module) -> Reading | None:
    packed = module.shapes.get("in_proj_weight")
    separate = [module.shapes.get(f"{p}_proj_weight") for p in "qkv"]
    query = separate[0]
    if packed is not None and len(packed) == 2 and packed[0] == 3 * packed[1]:
        embed, settings = packed[1], {"embed_dim": packed[1]}
    elif query is not None and all(s is not None and len(s) == 2 for s in separate):
        key, value = (s[1] for s in separate[1:] if s is not None)
        embed, settings = query[0], {"embed_dim": query[0], "kdim": key, "vdim": value}
    else:
        return None
    reason = "projections named as in torch.nn.MultiheadAttention; the number of heads is not in the file"
    return Reading(module.path, "query", module.roles, (embed, embed), "shape", (), settings, reason)


def _norm(module: _Module) -> Reading | None:
    weight = module.shapes.get("weight")
    if weight is None or len(weight) != 1:
        return None
    if module.shapes.get("running_var") == weight:
        return _reading(module, "diagonal", "shape", "running statistics beside a 1-d weight: batch normalisation")
    if module.shapes.get("bias") == weight:
        return _reading(module, "diagonal", "shape", "1-d weight and bias of equal length: normalisation")
    if _NORM.search(module.last) and weight[0] > 1:
        return _reading(module, "diagonal", "guess", f"1-d weight; {module.last!r} names a normalisation", "vector")
    return _reading(module, "vector", "guess", "1-d weight alone: activation slopes or a scale", "diagonal")


def _matrix(module: _Module) -> Reading | None:
    weight, bias = module.shapes.get("weight"), module.shapes.get("bias")
    if weight is None or len(weight) != 2:
        return None
    rows, columns = weight
    if bias == (rows,) and rows != columns:
        return _reading(module, "dense", "shape", f"the bias has the length of the rows, {rows}")
    if bias == (columns,) and rows != columns:
        return _reading(module, "transposed_dense", "shape", f"the bias has the length of the columns, {columns}")
    if bias is not None:
        return _reading(module, "dense", "guess", "square, or a bias of another length", "transposed_dense")
    if _EMBEDDING.search(module.last):
        return _reading(module, "embedding", "guess", f"no bias; {module.last!r} names an embedding", "dense")
    return _reading(module, "dense", "guess", "no bias", "transposed_dense", "embedding")


def _kernel(module: _Module) -> Reading | None:
    weight, bias = module.shapes.get("weight"), module.shapes.get("bias")
    if weight is None or not 3 <= len(weight) <= 5:
        return None
    first, second = weight[:2]
    if bias is not None and len(bias) == 1 and first != second:
        if bias[0] == first:
            return _reading(module, "kernel_matrix", "shape", f"the bias has the length of the first axis, {first}")
        if second and bias[0] % second == 0:
            reading = _reading(
                module, "transposed_kernel_matrix", "shape", f"the bias has {bias[0]} entries, the outputs"
            )
            return replace(reading, settings={"groups": bias[0] // second})
    return _reading(module, "kernel_matrix", "guess", "first axis as outputs", "transposed_kernel_matrix")


def _among(
    module: _Module, reading: Reading | None, index: int, modules: Sequence[_Module], first: Sequence[Reading | None]
) -> Reading | None:
    if reading is None:
        return None
    if reading.kind in ("dense", "embedding") and reading.confidence == "guess":
        return _matrix_among(module, reading, modules, first)
    if reading.kind.endswith("kernel_matrix"):
        if reading.confidence == "guess":
            reading = _kernel_among(module, reading, index, modules, first)
        if reading.kind == "kernel_matrix":
            return _grouped(module, reading, index, modules, first)
    return reading


def _widths(reading: Reading | None) -> tuple[int, ...]:
    """Widths of the data at both ends of a module whose kind its own shapes decided."""
    if reading is None or not reading.shape or (reading.confidence == "guess" and reading.kind != "diagonal"):
        return ()
    return reading.shape if reading.kind in ("diagonal", "dense", "transposed_dense") else reading.shape[:2]


def _matrix_among(
    module: _Module, reading: Reading, modules: Sequence[_Module], first: Sequence[Reading | None]
) -> Reading:
    rows, columns = reading.shape
    kinds = {r.kind for r in first if r is not None and r.confidence == "shape"}
    if module.shapes.get("bias") is not None:
        if "transposed_dense" in kinds and "dense" not in kinds:
            reason = "its siblings' biases have the length of the columns"
            return replace(
                reading, kind="transposed_dense", confidence="siblings", alternatives=("dense",), reason=reason
            )
        reason = "square; its siblings' biases have the length of the rows"
        return replace(reading, confidence="siblings", reason=reason) if "dense" in kinds else reading
    support = [
        sum(width in (_widths(r) or _loose_widths(m)) for m, r in zip(modules, first, strict=True) if m is not module)
        for width in (rows, columns)
    ]
    if reading.kind == "embedding":
        return _embedding_among(reading, support)
    if min(support) > 0:
        return replace(reading, confidence="siblings", reason="both widths occur in the layers beside it")
    return reading


def _loose_widths(module: _Module) -> tuple[int, ...]:
    weight = module.shapes.get("weight", ())
    return weight if len(weight) == 2 and not _EMBEDDING.search(module.last) else ()


def _embedding_among(reading: Reading, support: Sequence[int]) -> Reading:
    rows, columns = reading.shape
    as_dense, as_table = support
    if as_dense > as_table:
        reason = f"{as_dense} layers beside it have width {rows}, {as_table} have {columns}: its rows are outputs"
        return replace(reading, kind="dense", confidence="siblings", alternatives=("embedding",), reason=reason)
    if as_table > as_dense:
        reason = f"{as_table} layers beside it have width {columns}, {as_dense} have {rows}: its rows are entries"
        return replace(reading, confidence="siblings", reason=reason)
    return reading


def _kernel_among(
    module: _Module, reading: Reading, index: int, modules: Sequence[_Module], first: Sequence[Reading | None]
) -> Reading:
    outputs, inputs = reading.shape[:2]
    following = first[index + 1] if index + 1 < len(first) else None
    if outputs != inputs and following is not None and following.kind == "diagonal":
        if following.shape == (outputs,):
            return replace(reading, confidence="siblings", reason="the normalisation after it has as many channels")
        if following.shape == (inputs,):
            return _as_transposed(reading, "siblings", "the normalisation after it has the width of the second axis")
    votes = [
        r.kind
        for m, r in zip(modules, first, strict=True)
        if r is not None and r.confidence == "shape" and r.kind.endswith("kernel_matrix") and m.stem == module.stem
    ]
    same_parent = [
        r.kind
        for m, r in zip(modules, first, strict=True)
        if r is not None and r.confidence == "shape" and r.kind.endswith("kernel_matrix") and m.parent == module.parent
    ]
    for siblings, words in ((votes, f"layers named {module.stem!r}"), (same_parent, f"layers under {module.parent!r}")):
        if siblings and len(set(siblings)) == 1:
            reason = f"{len(siblings)} {words} are, by their biases"
            if siblings[0] == "transposed_kernel_matrix":
                return _as_transposed(reading, "siblings", reason)
            return replace(reading, confidence="siblings", reason=reason)
    if _TRANSPOSED.search(module.last):
        return _as_transposed(reading, "guess", f"{module.last!r} names a transposed convolution")
    return _kernel_by_convention(reading, first)


def _kernel_by_convention(reading: Reading, first: Sequence[Reading | None]) -> Reading:
    decided = {r.kind for r in first if r is not None and r.confidence == "shape"}
    normed = any(r is not None and r.kind == "diagonal" and r.shape == reading.shape[:1] for r in first)
    if "transposed_kernel_matrix" not in decided and ("kernel_matrix" in decided or normed):
        return replace(
            reading, confidence="siblings", reason="no layer of the file is a transposed convolution by its bias"
        )
    return reading


def _as_transposed(reading: Reading, confidence: Confidence, reason: str) -> Reading:
    return replace(
        reading,
        kind="transposed_kernel_matrix",
        confidence=confidence,
        alternatives=("kernel_matrix",),
        reason=reason,
        settings={"groups": 1},
    )


def _grouped(
    module: _Module, reading: Reading, index: int, modules: Sequence[_Module], first: Sequence[Reading | None]
) -> Reading:
    """Grouped kernels show a narrower second axis than the layer before them writes."""
    outputs, inputs = reading.shape[:2]
    pointwise = prod(reading.shape[2:]) == 1
    before = next((_out_width(r) for r in reversed(first[:index]) if _out_width(r)), 0)
    if before <= 1 or pointwise or before % inputs or outputs % before or before == inputs:
        return reading
    narrow = any(_out_width(r) == inputs for r in first[:index])
    if inputs > 1 and (narrow or outputs != before):
        return reading
    groups = before // inputs
    reason = f"the layer before it writes {before} channels, each kernel reads {inputs}: {groups} groups"
    alternatives = ("kernel_matrix",)
    return replace(
        reading,
        kind="grouped_kernel_matrix",
        confidence="siblings" if inputs == 1 else "guess",
        alternatives=alternatives,
        settings={"groups": groups},
        reason=reason,
    )


def _out_width(reading: Reading | None) -> int:
    if reading is None or not reading.shape:
        return 0
    if reading.kind == "transposed_kernel_matrix":
        return reading.shape[1]
    return reading.shape[0] if reading.kind in ("kernel_matrix", "diagonal", "dense") else 0


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


def _overridden(
    readings: Sequence[Reading | None], modules: Sequence[_Module], kinds: Mapping[str, str]
) -> list[Reading | None]:
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


def _chosen(module: _Module, reading: Reading | None, kind: str) -> Reading:
    shape = module.shapes["weight"]
    if len(shape) not in _DIMENSIONS[kind]:
        fitting = ", ".join(k for k in KINDS if len(shape) in _DIMENSIONS[k]) or "none"
        raise ValueError(f"{module.path!r} has a weight of shape {shape}, no {kind!r}; kinds for it: {fitting}.")
    settings: Mapping[str, int] | None = None
    if kind == "grouped_kernel_matrix":
        inferred = (reading.settings or {}).get("groups", 0) if reading else 0
        settings = {"groups": inferred or (shape[0] if shape[1] == 1 else 1)}
    return Reading(module.path, kind, module.roles, shape, "declared", (), settings, "chosen with --kind")


def _some(modules: Sequence[_Module]) -> str:
    return ", ".join(repr(m.path) for m in modules[:3]) or "none: the file holds no modules"
