"""What a file holds, from its header alone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lmd.sources.coverage import coverage_of, mapped_names
from lmd.sources.find import read_archive
from lmd.sources.rules.read_names import read_names
from lmd.sources.rules.tensor_roles import effective_names

__all__ = ["inspect_model"]


def inspect_model(model: str, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a header and say how each module would be read; no number is read, and no torch for safetensors.

    Returns:
        A JSON value: ``network``, ``coverage``, ``facts`` and ``readings``, one for each module with a linear map.

    Raises:
        UnreadableModelError: it cannot be read.
        UnsafeModelError: reading it would run code from it.
        ValueError: ``kinds`` do not fit it.
    """
    path, archive = read_archive(model, header=True)
    told = None if kinds else archive.readings
    readings = told if told is not None else read_names(archive.records, kinds, ordered="order" not in archive.facts)
    names = [r.name for r in archive.records]
    # no header tells what an adapter does to a layer that is not there
    waiting = {name: r.reason for r in readings if r.kind == "adapter" for name in r.roles.values()}
    coverage = coverage_of(archive.records, dict.fromkeys(mapped_names(readings, names), 1.0), waiting)
    effective = effective_names(names)
    sizes: dict[str, int] = {}
    for record in archive.records:
        if record.role == "parameter":
            sizes[record.dtype] = sizes.get(record.dtype, 0) + record.elements
    return {
        "schema_version": 1,
        "network": {
            "name": path.name,
            "source": archive.facts.get("repository", str(path)),
            "sha256": None,
            "dtype": max(sizes, key=lambda dtype: sizes[dtype]) if sizes else "none",
        },
        "coverage": asdict(coverage),
        "facts": dict(archive.facts),
        "readings": [
            {
                "path": r.path,
                "kind": r.kind,
                "confidence": r.confidence,
                "alternatives": list(r.alternatives),
                "reason": r.reason,
                "tensors": [t for name in r.roles.values() for t in effective.get(name, (name,))],
            }
            for r in readings
        ],
    }
