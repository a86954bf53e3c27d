"""The record of a training on disk: one line for each recorded step, so that an interruption costs the last at most."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["JOURNAL_FILE", "append", "read_journal"]

JOURNAL_FILE = "training.jsonl"
SCHEMA_VERSION = 1


def append(folder: Path, entry: Mapping[str, Any]) -> None:
    """Add one line, and have it on the disk.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / JOURNAL_FILE
    line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
    # a line that was cut when the machine stopped must not swallow this one
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + line)
        file.flush()
        os.fsync(file.fileno())


def read_journal(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head and the recorded steps, in order; a step that was recorded again replaces the former one.

    Lines that were cut are left out.

    Raises:
        FileNotFoundError: nothing was recorded there.
        ValueError: the file is no journal, or of another schema version.
    """
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {JOURNAL_FILE}; give the folder that a Recorder wrote.")
    lines = [line for text in path.read_text(encoding="utf-8").splitlines() if (line := _parsed(text)) is not None]
    head = next((line for line in lines if "schema_version" in line), None)
    if head is None or head["schema_version"] != SCHEMA_VERSION:
        came = "no head" if head is None else f"schema version {head['schema_version']!r}"
        raise ValueError(f"{path} has {came}; version {SCHEMA_VERSION} is needed; record the training again.")
    steps = {line["step"]: line for line in lines if "step" in line}
    return head, [steps[step] for step in sorted(steps)]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
