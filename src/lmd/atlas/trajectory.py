"""Several networks beside each other, or one network over its training: a record that is saved and loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmd.atlas.folder import read_known, write_json
from lmd.atlas.json_values import json_value

__all__ = ["COMPARISON_FILE", "Trajectory"]

COMPARISON_FILE = "comparison.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What was found of networks that belong together.

    Attributes:
        models: what each network is, in their order: name, source, sha256, dtype, and how far its training was.
        pairs: each network against the next, and the first against the last: layers as rows, with their findings.
        trajectory: for each layer the cheap findings over the networks, or over the steps that were recorded.
        notes: what a reader should know first.
        provenance: versions, options, times.
        glossary: what each key means.
    """

    models: tuple[Mapping[str, Any], ...]
    pairs: tuple[Mapping[str, Any], ...]
    trajectory: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    glossary: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line."""
        steps = len(self.trajectory.get("steps", ()))
        return f"Trajectory({len(self.models)} models, {len(self.pairs)} pairs, {steps} steps)"

    def pair(self, earlier: int = 0, later: int = -1) -> Mapping[str, Any]:
        """The comparison of two of the networks, by place; the first with the last when left out.

        Raises:
            KeyError: these two were not compared.
        """
        count = len(self.models)
        wanted = (earlier % count if count else 0, later % count if count else 0)
        for pair in self.pairs:
            if (pair["earlier"], pair["later"]) == wanted:
                return pair
        known = ", ".join(f"{pair['earlier']}-{pair['later']}" for pair in self.pairs) or "none"
        raise KeyError(f"models {wanted[0]} and {wanted[1]} were not compared; compared are {known}.")

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary for each layer of each pair: numbers with baseline and error, curves left out."""
        return [_flat(pair, layer) for pair in self.pairs for layer in pair["layers"]]

    def document(self) -> dict[str, Any]:
        """Everything as one JSON value."""
        return {
            "schema_version": _SCHEMA_VERSION,
            "document": "comparison",
            "models": json_value(self.models),
            "notes": list(self.notes),
            "pairs": json_value(self.pairs),
            "trajectory": json_value(self.trajectory),
            "provenance": json_value(self.provenance),
            "glossary": json_value(self.glossary),
        }

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write ``comparison.json`` into a folder.

        Raises:
            FileExistsError: the folder holds a comparison and ``force`` is not set.
            OSError: the folder cannot be written.
        """
        folder = Path(path)
        if (folder / COMPARISON_FILE).exists() and not force:
            raise FileExistsError(f"{folder} holds a comparison already; choose another folder, or pass force=True.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / COMPARISON_FILE, self.document())
        return folder

    @classmethod
    def load(cls, path: str | Path) -> "Trajectory":
        """Read a saved comparison.

        Raises:
            FileNotFoundError: there is none.
            ValueError: damaged, or of another schema version.
        """
        folder = Path(path)
        file = folder if folder.name == COMPARISON_FILE else folder / COMPARISON_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{folder} holds no {COMPARISON_FILE}; give the folder of `lmd compare --out`.")
        held = read_known(file, _SCHEMA_VERSION, ("models", "pairs", "trajectory", "notes"), "compare the models")
        return cls(
            models=tuple(held["models"]),
            pairs=tuple(held["pairs"]),
            trajectory=held["trajectory"],
            notes=tuple(held["notes"]),
            provenance=held.get("provenance", {}),
            glossary=held.get("glossary", {}),
        )


def _flat(pair: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    row = {"earlier": pair["earlier"], "later": pair["later"]}
    row |= {key: layer[key] for key in ("name", "kind", "status", "reason")}
    row["out"], row["in"] = layer["shape"]
    for key, number in layer["findings"].items():
        if not isinstance(number["value"], list | tuple):
            row |= {key: number["value"], f"{key}_baseline": number["baseline"], f"{key}_error": number["error"]}
    return row
