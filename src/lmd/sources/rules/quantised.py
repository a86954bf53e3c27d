"""Weights stored as integers or bytes with scales beside them: how many numbers they stand for, and why they wait."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

from lmd.sources.reading import TensorRecord

__all__ = ["with_quantised"]

_INTEGERS = frozenset(("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float4_e2m1fn_x2"))
_EIGHT_BITS = "float8"
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
    below = _below(by_name)
    weights = {n: r for n in by_name if (r := _as_quantised(n, by_name, below)) is not None}
    stems = {*weights, *(name.rpartition(".")[0] for name in weights)}
    return tuple(weights.get(r.name) or _beside_one(r, stems) for r in records)


def _beside_one(record: TensorRecord, stems: set[str]) -> TensorRecord:
    if record.role == "parameter" and _serves(record.name, stems):
        return replace(record, role="buffer", reason=_OF_A_WEIGHT)
    return record


def _prefixes(name: str) -> Iterator[tuple[str, str]]:
    """The three longest paths a tensor may belong to, each with the rest of its name."""
    end = len(name)
    for _ in range(3):
        end = name.rfind(".", 0, end)
        yield name[: max(end, 0)], name[end + 1 :]
        if end < 0:
            return


def _below(names: Iterable[str]) -> dict[str, set[str]]:
    below: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for path, rest in _prefixes(name):
            below[path].add(rest)
    return below


def _serves(name: str, stems: set[str]) -> bool:
    # mxfp4 keeps gate_up_proj_blocks and gate_up_proj_scales
    blocks = f"{name.removesuffix('_scales')}_blocks"
    return blocks in stems or any(path in stems and _BESIDE.match(rest) for path, rest in _prefixes(name))


def _as_quantised(name: str, records: Records, below: Mapping[str, set[str]]) -> TensorRecord | None:
    """The record of a tensor of codes; None for any other."""
    record = records[name]
    # a format that knows the real numbers says how many they are
    if (
        record.logical
        or len(record.shape) < 2
        or not (record.dtype in _INTEGERS or record.dtype.startswith(_EIGHT_BITS))
    ):
        return None
    path, _, last = name.rpartition(".")
    if _BESIDE.match(last):
        return None
    beside = below[path] - {last}
    if last == "qweight":
        return _packed(record, *_gptq(record, path, records))
    if f"{last}.absmax" in beside:
        return _packed(record, 2 * prod(record.shape), "4-bit codes of bitsandbytes")
    if last == "weight_packed":
        return _packed(record, prod(record.shape) * 8, "codes packed into integers, counted as of 4 bits")
    return _one_by_one(record, last, beside)


def _one_by_one(record: TensorRecord, last: str, beside: set[str]) -> TensorRecord | None:
    if last.endswith("_blocks") and f"{last.removesuffix('_blocks')}_scales" in beside:
        return _packed(record, prod(record.shape) * 2, "4-bit blocks with a scale each")
    eight = record.dtype.startswith(_EIGHT_BITS)
    if record.dtype == "float4_e2m1fn_x2":
        return _packed(record, prod(record.shape) * 2, "two 4-bit numbers in each byte")
    if any("." not in other and _BESIDE.match(other) for other in beside):
        return _packed(record, 0, f"{'8-bit numbers' if eight else 'integers'} with a scale beside them")
    return None if eight else _packed(record, 0, f"{record.dtype} codes whose real numbers the file does not tell")


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
