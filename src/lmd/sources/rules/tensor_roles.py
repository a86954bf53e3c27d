"""What the names of stored tensors say by themselves: which are buffers, which make up one parametrised weight."""

import re
from collections.abc import Iterable
from dataclasses import replace

from lmd.sources.reading import TensorRecord
from lmd.sources.rules.quantised import with_quantised

__all__ = ["effective_names", "with_roles"]

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

_ORIGINAL = re.compile(r"(?:^|\.)parametrizations\.(\w+)\.original\d*$")


def with_roles(records: Iterable[TensorRecord]) -> tuple[TensorRecord, ...]:
    """Tell buffers from parameters by their names and types; roles already set stay."""
    records = with_quantised(tuple(records))
    names = {r.name for r in records}
    computed = {stored for group in effective_names(names).values() for stored in group}
    return tuple(_with_role(r, names, computed) if r.role == "parameter" and not r.reason else r for r in records)


def _with_role(record: TensorRecord, names: set[str], computed: set[str]) -> TensorRecord:
    if why := _why_buffer(record, names):
        return replace(record, role="buffer", reason=why)
    found = _ORIGINAL.search(record.name)
    if found and record.name not in computed:
        why = f"{found[1]!r} is computed from it by a parametrisation that the file does not name"
        return replace(record, reason=why)
    return record


def _why_buffer(record: TensorRecord, names: set[str]) -> str:
    """The reason why a tensor is no parameter, empty for parameters."""
    path, _, last = record.name.rpartition(".")
    stem = last.removesuffix("_u").removesuffix("_v")
    orig = f"{path}.{stem}_orig".lstrip(".")
    inside = "parametrizations." in path
    reasons = (
        (
            last.endswith("_mask") and f"{path}.{last.removesuffix('_mask')}_orig".lstrip(".") in names,
            "says which weights were pruned",
        ),
        (last in _BUFFERS, "kept by the module, not trained"),
        (
            (last in ("_u", "_v") and inside) or (stem != last and orig in names),
            "singular vector estimate of a spectral norm",
        ),
        (last == "base" and inside, "where an orthogonal parametrisation started"),
        (record.dtype in ("bool", "int64"), f"{record.dtype} numbers are not trained"),
    )
    return next((why for holds, why in reasons if holds), "")


def effective_names(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parametrised weights: effective name, ``conv.weight``, to the stored tensors it is computed from.

    Weight norm, old style ``weight_g weight_v`` and new ``parametrizations.weight.original0 original1``; spectral norm,
    ``weight_orig weight_u weight_v`` and ``parametrizations.weight.original 0._u 0._v``; pruning, ``weight_orig
    weight_mask``.
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
        yield name, (f"{name[:-5]}_mask",), name[:-5]
    new = re.fullmatch(r"(?P<path>(?:.*\.)?)parametrizations\.(?P<attribute>\w+)\.(?P<last>original0?)", name)
    if new:
        effective, base = new["path"] + new["attribute"], name.rpartition(".")[0]
        others = (f"{base}.original1",) if new["last"] == "original0" else (f"{base}.0._u", f"{base}.0._v")
        yield name, others, effective
