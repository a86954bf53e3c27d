"""A recorded training in the form of a comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmd.atlas.layer_record import glossary
from lmd.atlas.trajectory import Trajectory
from lmd.pipeline.comparing.over_time import FOLLOWED
from lmd.training.journal import JOURNAL_FILE, read_journal

__all__ = ["as_trajectory", "is_recorded", "recorded_trajectory"]

_KEYS = (*FOLLOWED, "relative_change")
_OWN = ("step", "time", "layers", "schema_version")


def is_recorded(path: str | Path) -> bool:
    """Whether a Recorder wrote there."""
    return (Path(path) / JOURNAL_FILE).is_file()


def recorded_trajectory(path: str | Path) -> Trajectory:
    """What a Recorder wrote, as ``lmd.compare`` would give it.

    Raises:
        FileNotFoundError: nothing was recorded there.
        ValueError: the file is no journal, or of another schema version.
    """
    head, steps = read_journal(Path(path))
    return as_trajectory(head, steps, str(path))


def as_trajectory(head: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], source: str = "") -> Trajectory:
    """The steps in their order, layer by layer."""
    told = [{"index": place, **_told(step)} for place, step in enumerate(steps)]
    kept = {key: value for key, value in head.items() if key not in ("layers", "schema_version")}
    model = {"name": head.get("model", ""), "source": source, "sha256": "", "dtype": "", "training": {}}
    return Trajectory(
        models=(model,) if head else (),
        pairs=(),
        trajectory={
            "of": "steps",
            "steps": told,
            "layers": [{**layer, "quantities": _series(layer["name"], steps)} for layer in head.get("layers", ())],
        },
        notes=() if steps else ("nothing was recorded yet",),
        provenance=kept,
        glossary={key: words for key, words in glossary().items() if key in _KEYS},
    )


def _told(step: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": step["step"], **{key: value for key, value in step.items() if key not in _OWN}}


def _series(name: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in _KEYS:
        row = [step["layers"].get(name, {}) for step in steps]
        numbers = [one.get(key, {}) for one in row]
        if not any(numbers) and not any("reason" in one for one in row):
            continue
        reasons = [number.get("reason") or one.get("reason", "") for number, one in zip(numbers, row, strict=True)]
        found[key] = {
            "values": [number.get("value") for number in numbers],
            "baselines": [number.get("baseline") for number in numbers],
            "errors": [number.get("error") for number in numbers],
            **({"reasons": reasons} if any(reasons) else {}),
        }
    return found
