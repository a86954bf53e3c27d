"""Files of an atlas: whole or not there at all."""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

__all__ = [
    "read_json",
    "read_known",
    "read_record",
    "read_tensors",
    "sweep",
    "write_bytes",
    "write_json",
    "write_tensors",
]

_UNFINISHED = ".unfinished-"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one and nothing between.

    Raises:
        OSError: the folder cannot be written or the disk is full; what stood there stays.
    """
    try:
        _replace(path, content)
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, str(path)) from fault


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # the only portable way to read it is to set it
    current = os.umask(0)
    os.umask(current)
    return current


def write_json(path: Path, value: Any) -> None:
    """Write JSON that is valid everywhere: no NaN, no Infinity."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_known(path: Path, version: int, keys: Iterable[str], again: str) -> dict[str, Any]:
    """Read a JSON object of this schema version that has these keys.

    Args:
        path: of the file.
        version: that this lmd writes.
        keys: without which it is damaged.
        again: what to do if it is none.

    Raises:
        OSError: no such file.
        ValueError: damaged, or of another schema version.
    """
    held = read_json(path)
    if held.get("schema_version") != version:
        raise ValueError(
            f"{path} has schema version {held.get('schema_version')!r}, this lmd reads {version}; {again} again."
        )
    missing = [key for key in keys if key not in held]
    if missing:
        raise ValueError(f"{path} has no {missing[0]!r}; it is damaged, {again} again.")
    return held


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: no such file.
        ValueError: not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"holds a {type(value).__name__}")
    except (ValueError, RecursionError) as fault:
        raise ValueError(
            f"{path} is damaged ({fault}); a JSON object written by lmd is needed. Decompose the network again."
        ) from fault
    return value


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
    """Write tensors and a JSON record into one safetensors file; equal input gives equal bytes."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    # one metadata key only: the format's library writes several in random order
    content = save({name: t.contiguous() for name, t in tensors.items()}, metadata={"layer": text})
    write_bytes(path, content)


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON record of a layer file, or None when the file is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads((file.metadata() or {})["layer"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a layer file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no mapping


def sweep(folder: Path) -> None:
    """Remove what an interrupted run left half written."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        path.unlink(missing_ok=True)
