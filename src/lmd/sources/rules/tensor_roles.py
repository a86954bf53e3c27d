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
    return tuple(_with_role(r, names) if r.role == "parameter" and not r.reason else r for r in records)


def _with_role(record: TensorRecord, names: set[str]) -> TensorRecord:
    path, _, last = record.name.rpartition(".")
    stem = last.removesuffix("_u").removesuffix("_v")
    orig = f"{path}.{stem}_orig".lstrip(".")
    if last.endswith("_mask") and f"{path}.{last.removesuffix('_mask')}_orig".lstrip(".") in names:
        return replace(record, role="buffer", reason="says which weights were pruned")
    if last in _BUFFERS:
        return replace(record, role="buffer", reason="kept by the module, not trained")
    if (last in ("_u", "_v") and ".parametrizations." in record.name) or (stem != last and orig in names):
        return replace(record, role="buffer", reason="singular vector estimate of a spectral norm")
    if last == "base" and ".parametrizations." in f".{record.name}":
        return replace(record, role="buffer", reason="where an orthogonal parametrisation started")
    found = _ORIGINAL.search(record.name)
    if found and not _computed(record, names):
        return replace(
            record, reason=f"{found[1]!r} is computed from it by a parametrisation that the file does not name"
        )
    if record.dtype in ("bool", "int64"):
        return replace(record, role="buffer", reason=f"{record.dtype} numbers are not trained")
    return record


def _computed(record: TensorRecord, names: set[str]) -> bool:
    """Whether the weight behind a stored tensor can be computed."""
    path = record.name.rpartition(".")[0]
    near = {name for name in names if name.startswith(f"{path}.")}
    return any(record.name in stored for stored in effective_names(near).values())


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
