"""A folder an atlas is written into layer by layer: begun, gone on with, or refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmd.atlas.atlas import SCHEMA_VERSION, Atlas, layer_files
from lmd.atlas.folder import read_json, sweep

__all__ = ["checked_folder", "prepare"]

_MUST_AGREE = ("lmd", "torch", "numpy", "scipy", "threads", "options", "builder", "data")
"""Without them a layer done now is not the layer that would have been done then, bit for bit."""


def checked_folder(out: str | Path | None, *, resume: bool, force: bool) -> Path | None:
    """The folder for an atlas, before any work is done.

    Raises:
        FileExistsError: something is there, and neither ``resume`` nor ``force`` is set.
        ValueError: ``resume`` and ``force`` together, or nothing to go on with.
    """
    if resume and force:
        raise ValueError("resume and force exclude each other: go on with the atlas, or replace it.")
    if out is None:
        if resume:
            raise ValueError("resume needs out, the folder of the interrupted run.")
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a folder for the atlas.")
    if resume:
        if not (folder / "atlas.json").exists():
            raise ValueError(f"{folder} holds no atlas to go on with; leave --resume out to begin one.")
    elif not force:
        _refuse_full(folder)
    return folder


def _refuse_full(folder: Path) -> None:
    if (folder / "atlas.json").exists():
        raise FileExistsError(f"{folder} holds an atlas already; add --resume to go on with it, --force to replace it.")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; choose another folder, or add --force to write into it.")


def prepare(folder: Path, head: Atlas, names: list[str], *, resume: bool) -> None:
    """Write the plan of a new atlas, or make sure that the one begun there has the same.

    Raises:
        ValueError: the atlas there was begun with something else, which the message names.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    if resume:
        _refuse_other(folder, head, names)
        return
    # before the plan: no later run may take a layer of another network for its own
    for old in layer_files(folder):
        old.unlink()
    head.write_plan(folder, names)


def _refuse_other(folder: Path, head: Atlas, names: list[str]) -> None:
    before = read_json(folder / "atlas.json")
    then, now = _identity(before), _identity({**head.document(), "layers": [{"name": name} for name in names]})
    for what, was in then.items():
        if was != now[what]:
            detail = f" was {was}, is {now[what]}" if what != "layers" else " differ"
            raise ValueError(f"cannot resume {folder}: its {what}{detail}; use the same, or --force to begin anew.")


def _identity(document: Mapping[str, Any]) -> dict[str, Any]:
    provenance = document.get("provenance", {})
    return {
        "schema version": document.get("schema_version", SCHEMA_VERSION),
        "weights (sha256)": document.get("network", {}).get("sha256"),
        **{f"{key} version" if key in _MUST_AGREE[:4] else key: provenance.get(key) for key in _MUST_AGREE},
        "base (sha256)": (provenance.get("base") or {}).get("sha256"),
        "adapter settings": document.get("facts", {}).get("adapter_config"),
        "layers": [item["name"] for item in document.get("layers", [])],
    }
