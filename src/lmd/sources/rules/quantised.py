"""Weights stored as integers or bytes with scales beside them: how many numbers they stand for, and why they wait."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from lmd.sources.reading import TensorRecord

__all__ = ["with_quantised"]

_INTEGERS = frozenset(("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float4_e2m1fn_x2"))
_EIGHT_BITS = ("float8",)
_BESIDE = re.compile(
    r"^(.*_)?(scales?(_inv|_2)?|scale_(weight|input)|zeros?(_points?)?|qzeros|g_idx|perm|absmax|quant_map|nested_absmax"
    r"|nested_quant_map|quant_state\..*|SCB|weight_format|weight_shape|(input|weight|output|activation)_scale(_inv)?)$"
)
_WAITS = "decomposing it needs the real numbers, which lmd does not compute yet; give the model in float16 or float32"
_OF_A_WEIGHT = "scales and codes of a quantised weight, no parameters of their own"

Records = Mapping[str, TensorRecord]


def with_quantised(records: Sequence[TensorRecord]) -> tuple[TensorRecord, ...]:
    """Mark quantised weights with their reason and the numbers they stand for; what they need are buffers."""
    by_name = {r.name: r for r in records if r.role == "parameter"}
    weights = {name: record for name in by_name if (record := _as_quantised(name, by_name)) is not None}
    found = []
    for record in records:
        if record.name in weights:
            record = weights[record.name]
        elif record.role == "parameter" and _serves(record.name, weights):
            record = replace(record, role="buffer", reason=_OF_A_WEIGHT)
        found.append(record)
    return tuple(found)


def _serves(name: str, weights: Records) -> bool:
    for weight in weights:
        prefix = weight.rpartition(".")[0]
        for stem in (weight, prefix):
            if name.startswith(f"{stem}.") and _BESIDE.match(name[len(stem) + 1 :]):
                return True
        # mxfp4 keeps gate_up_proj_blocks and gate_up_proj_scales
        if weight.endswith("_blocks") and name == f"{weight.removesuffix('_blocks')}_scales":
            return True
    return False


def _as_quantised(name: str, records: Records) -> TensorRecord | None:
    """The record of a tensor of codes; None for any other."""
    record = records[name]
    if len(record.shape) < 2 or not (record.dtype in _INTEGERS or record.dtype.startswith(_EIGHT_BITS)):
        return None
    path, _, last = name.rpartition(".")
    if last in ("qzeros", "zeros", "zero_point") or _BESIDE.match(last):
        return None
    beside = {n[len(path) + 1 if path else 0 :] for n in records if n != name and n.startswith(f"{path}." if path else "")}
    if last == "qweight":
        return _packed(record, *_gptq(record, path, records))
    if f"{last}.absmax" in beside:
        return _packed(record, 2 * prod(record.shape), "4-bit codes of bitsandbytes")
    if last == "weight_packed":
        return _packed(record, prod(record.shape) * 8, "codes packed into integers, counted as of 4 bits")
    if last.endswith("_blocks") and f"{last.removesuffix('_blocks')}_scales" in beside:
        return _packed(record, prod(record.shape) * 2, "4-bit blocks with a scale each")
    if record.dtype == "float4_e2m1fn_x2":
        return _packed(record, prod(record.shape) * 2, "two 4-bit numbers in each byte")
    if any("." not in other and _BESIDE.match(other) for other in beside):
        what = "8-bit numbers" if record.dtype.startswith(_EIGHT_BITS) else "integers"
        return _packed(record, 0, f"{what} with a scale beside them")
    if record.dtype in _INTEGERS:
        return _packed(record, 0, f"{record.dtype} codes whose real numbers the file does not tell")
    return None


def _packed(record: TensorRecord, logical: int, what: str) -> TensorRecord:
    return replace(record, logical=logical, reason=f"quantised: {what}; {_WAITS}")


def _gptq(record: TensorRecord, path: str, records: Records) -> tuple[int, str]:
    """Numbers behind ``qweight``, packed along its rows (GPTQ) or its columns (AWQ)."""
    rows, columns = record.shape[:2]
    shapes = {role: records[n].shape for role in ("scales", "qzeros", "g_idx") if (n := f"{path}.{role}") in records}
    word = 8 * {"int16": 2, "uint8": 1, "int8": 1}.get(record.dtype, 4)
    outputs = shapes.get("scales", (0, 0))[-1]
    if outputs and outputs != columns:
        bits = word * columns / outputs
        return rows * outputs, f"{bits:g}-bit codes of AWQ"
    zeros = shapes.get("qzeros", (0, 0))[-1]
    if "g_idx" in shapes:
        inputs = shapes["g_idx"][0]
    else:
        bits = word * zeros / columns if zeros else 4
        inputs = round(rows * word / bits)
    return inputs * columns, f"{word * rows / max(inputs, 1):g}-bit codes of GPTQ"
