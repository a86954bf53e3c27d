"""An atlas as its folder holds it, checked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmd.atlas.folder import read_known, read_record
from lmd.atlas.layer_record import LayerRecord, Stored
from lmd.sources.coverage import Coverage, TensorCoverage

__all__ = ["PENDING", "read_head", "stored_coverage", "stored_layers"]

_KEYS = ("network", "coverage", "layers", "provenance", "facts", "complete")
PENDING = "not decomposed yet: the run goes on, or was interrupted; --resume goes on with it"


def read_head(folder: Path, schema_version: int) -> dict[str, Any]:
    """What ``atlas.json`` says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: damaged, or of another schema version.
    """
    path = folder / "atlas.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no atlas.json; give the folder that `lmd decompose --out` wrote.")
    return read_known(path, schema_version, _KEYS, "decompose the network")


def stored_layers(folder: Path, head: Mapping[str, Any]) -> tuple[LayerRecord, ...]:
    """The layers that are there; all of them unless the run was interrupted.

    Raises:
        ValueError: a layer of a complete atlas is missing or damaged.
    """
    found = (_stored(folder / item["file"], complete=head["complete"]) for item in head["layers"])
    return tuple(record for record in found if record is not None)


def _stored(path: Path, *, complete: bool) -> LayerRecord | None:
    entry = read_record(path)
    if entry is None and complete:
        raise ValueError(
            f"{path} is missing or damaged; every layer file of a finished atlas is needed. "
            f"Run `lmd decompose` as before with --out {path.parent} --resume."
        )
    return None if entry is None else LayerRecord(entry, Stored(path))


def stored_coverage(held: Mapping[str, Any], layers: tuple[LayerRecord, ...]) -> Coverage:
    """The account of every tensor; of an interrupted run, as far as its layers go."""
    tensors = tuple(TensorCoverage(**{**t, "shape": tuple(t["shape"])}) for t in held["tensors"])
    coverage = Coverage(held["parameters"], held["decomposed"], held["accounted"], tensors)
    return _brought_forward(coverage, layers) if any(t.reason == PENDING for t in tensors) else coverage


def _brought_forward(coverage: Coverage, layers: tuple[LayerRecord, ...]) -> Coverage:
    whole = [record for record in layers if record.entry["view_of"] is None]
    reasons = {name: record.entry["reason"] for record in whole if record.failed for name in record.entry["tensors"]}
    done = {name for record in whole if not record.failed for name in record.entry["tensors"]}
    tensors = tuple(_now(t, done, reasons) if t.reason == PENDING else t for t in coverage.tensors)
    decomposed = sum(t.parameters for t in tensors if t.status == "decomposed")
    return replace(coverage, tensors=tensors, decomposed=decomposed / max(1, coverage.parameters))


def _now(tensor: TensorCoverage, done: set[str], reasons: Mapping[str, str]) -> TensorCoverage:
    if tensor.name in reasons:
        return replace(tensor, status="failed", reason=reasons[tensor.name])
    return replace(tensor, status="decomposed", reason="") if tensor.name in done else tensor
