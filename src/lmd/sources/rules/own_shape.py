"""The kind that the names and shapes of a module's own tensors allow."""

import re
from dataclasses import replace

from lmd.sources.reading import Confidence, Reading
from lmd.sources.rules.module import Module
from lmd.sources.rules.raw_tensors import raw_role

__all__ = ["EMBEDDING", "by_own_shape"]

EMBEDDING = re.compile(
    r"emb|wte|wpe|lookup|codebook|vocab|relative_attention_bias|^shared$|(^|_)(user|item|movie|book)s?(_|\d|$)|factors|(^|_)bag"
    r"|^(tok|token|pos|position|word|char|segment)s?(_?table)?$",
    re.IGNORECASE,
)
_BILINEAR = re.compile(r"bilin|^bil\d*$", re.IGNORECASE)
_NORM = re.compile(r"norm|(^|_)(ln|bn|gn|rms)(\d|_|$)", re.IGNORECASE)


def by_own_shape(module: Module) -> Reading | None:
    """The first kind that fits, with ``guess`` for confidence where others fit as well; None without a weight."""
    for rule in (_recurrent, _attention, _norm, _matrix, _kernel, _raw):
        reading = rule(module)
        if reading is not None:
            return reading
    return None


def _reading(module: Module, kind: str, confidence: Confidence, reason: str, *alternatives: str) -> Reading:
    return Reading(module.path, kind, module.roles, module.shapes["weight"], confidence, alternatives, None, reason)


def _recurrent(module: Module) -> Reading | None:
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


def _attention(module: Module) -> Reading | None:
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


def _norm(module: Module) -> Reading | None:
    weight = module.shapes.get("weight")
    if weight is None or len(weight) != 1:
        return None
    if module.shapes.get("running_var") == weight:
        return _reading(module, "diagonal", "shape", "running statistics beside a 1-d weight: batch normalisation")
    if module.shapes.get("bias") == weight:
        return _reading(module, "diagonal", "shape", "1-d weight and bias of equal length: normalisation")
    if _NORM.search(module.last) and weight[0] > 1:
        return _reading(module, "diagonal", "guess", f"1-d weight; {module.last!r} names a normalisation", "vector")
    return _reading(module, "diagonal", "guess", "1-d weight alone: slopes or a scale of each channel", "vector")


def _matrix(module: Module) -> Reading | None:
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
    if EMBEDDING.search(module.name):
        return _reading(module, "embedding", "guess", f"no bias; {module.name!r} names an embedding", "dense")
    return _reading(module, "dense", "guess", "no bias", "transposed_dense", "embedding")


def _kernel(module: Module) -> Reading | None:
    weight, bias = module.shapes.get("weight"), module.shapes.get("bias")
    if weight is None or not 3 <= len(weight) <= 5:
        return None
    if len(weight) == 3 and bias == weight[:1] and _BILINEAR.search(module.name):
        return _reading(module, "dense", "guess", f"{module.name!r} names a bilinear layer", "kernel_matrix")
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


def _raw(module: Module) -> Reading | None:
    held = {role: shape for role, shape in module.trained.items() if raw_role(role, shape) is not None}
    if "weight" in module.shapes or not held:
        return None
    roles = {role: module.roles[role] for role in held}
    return Reading(module.path, "raw", roles, confidence="guess", shapes=module.trained)
