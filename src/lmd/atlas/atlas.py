"""The last noun: everything found about one network."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from lmd.atlas.folder import write_bytes, write_json, write_tensors
from lmd.atlas.json_values import json_value
from lmd.atlas.layer_record import LayerRecord, findings_of, glossary
from lmd.atlas.stored import read_head, stored_coverage, stored_layers
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding
from lmd.sources.coverage import Coverage

if TYPE_CHECKING:
    import pandas

__all__ = ["SCHEMA_VERSION", "Atlas", "layer_file", "layer_files", "write_rows"]

SCHEMA_VERSION = 1

_LAYER_FILE = re.compile(r"\d{5,}-[0-9a-f]{12}\.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """Everything found about one network.

    Attributes:
        network: name, source, sha256 and dtype.
        coverage: what became of every tensor.
        layers: one record for each layer matrix, in depth order.
        provenance: versions, options, seed, threads, times.
        facts: what else the source told.
        whole: findings about the network as a whole, as JSON values, by key; empty without data.
        complete: False while a run goes on, or after it was interrupted.
    """

    network: Mapping[str, Any]
    coverage: Coverage
    layers: tuple[LayerRecord, ...]
    provenance: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = True

    def __repr__(self) -> str:
        """One line: the arrays fill screens."""
        state = "" if self.complete else ", not complete"
        return f"Atlas({self.network.get('name')!r}, {len(self.layers)} rows{state})"

    def layer(self, name: str) -> LayerRecord:
        """The record of one layer.

        Raises:
            KeyError: no layer has that name.
        """
        for record in self.layers:
            if record.name == name:
                return record
        some = ", ".join(r.name for r in self.layers[:5])
        raise KeyError(f"no layer {name!r} in the atlas of {self.network['name']}; there are {some}, ...")

    def factors(self, name: str) -> Factors:
        """The singular triples kept for one layer.

        Raises:
            KeyError: no layer has that name.
            ValueError: the layer failed.
        """
        return self.layer(name).factors()

    def findings(self) -> Iterator[Finding]:
        """Every typed finding, those about the network first, then layer by layer."""
        yield from findings_of("", self.whole, {})
        for record in self.layers:
            yield from record.findings()

    def arrays(self, name: str) -> dict[str, numpy.ndarray]:
        """The arrays of one layer, for figures."""
        return {key: tensor.numpy() for key, tensor in self.layer(name).arrays().items()}

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary for each layer: numbers with their ``_baseline`` and ``_error``, curves left out."""
        found = [(key, n["value"]) for record in self.layers for key, n in record.entry["findings"].items()]
        curves = {key for key, value in found if isinstance(value, list)}
        return [_flat(record, curves) for record in self.layers]

    def to_frame(self) -> "pandas.DataFrame":
        """``rows()`` as a data frame, with the layer names as index.

        Raises:
            ImportError: pandas is not installed.
        """
        return _framed(self.rows())

    def document(self) -> dict[str, Any]:
        """The whole atlas as one JSON value, singular values included, other arrays left out."""
        return {**self._head(), "layers": [record.row() for record in self.layers], "glossary": glossary()}

    def _head(self) -> dict[str, Any]:
        facts = json_value(self.facts)
        return {
            "schema_version": SCHEMA_VERSION,
            "complete": self.complete,
            "network": dict(self.network),
            "coverage": json_value(asdict(self.coverage)),
            "provenance": json_value(self.provenance),
            "facts": {key: value for key, value in facts.items() if key != "training"},
            "findings": json_value(self.whole),
            **({"training": facts["training"]} if "training" in facts else {}),
        }

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the atlas as a folder: ``atlas.json`` and one safetensors file for each layer.

        Raises:
            FileExistsError: the folder holds an atlas and ``force`` is not set.
            OSError: the folder cannot be written.
        """
        folder = Path(path)
        if (folder / "atlas.json").exists() and not force:
            raise FileExistsError(f"{folder} holds an atlas already; choose another folder, or pass force=True.")
        folder.mkdir(parents=True, exist_ok=True)
        # all is read before anything is removed: these layers may lie in the very files that are replaced
        held = [(record.arrays(), record.entry) for record in self.layers] if layer_files(folder) else None
        # an interrupted call must leave no index beside layers of two networks
        (folder / "atlas.json").unlink(missing_ok=True)
        for old in layer_files(folder):
            old.unlink()
        for index, record in enumerate(self.layers):
            arrays, kept = held[index] if held is not None else (record.arrays(), record.entry)
            write_tensors(folder / layer_file(index, record.name), arrays, kept)
        self.write_index(folder)
        return folder

    def write_index(self, folder: Path) -> None:
        """Write ``atlas.json``, which names the layer files."""
        self.write_plan(folder, [record.name for record in self.layers])

    def write_plan(self, folder: Path, names: list[str]) -> None:
        """Write ``atlas.json`` for layers that may not be there yet."""
        files = [{"name": name, "file": layer_file(index, name)} for index, name in enumerate(names)]
        write_json(folder / "atlas.json", {**self._head(), "layers": files})

    @classmethod
    def load(cls, path: str | Path) -> "Atlas":
        """Read a saved atlas; arrays are read when asked for.

        Raises:
            FileNotFoundError: no atlas there.
            ValueError: damaged, or of another schema version.
        """
        folder = Path(path)
        folder = folder.parent if folder.name == "atlas.json" else folder
        head = read_head(folder, SCHEMA_VERSION)
        layers = stored_layers(folder, head)
        return cls(
            network=head["network"],
            coverage=stored_coverage(head["coverage"], layers),
            layers=layers,
            provenance=head["provenance"],
            facts={**head["facts"], **{key: head[key] for key in ("training",) if key in head}},
            # atlases of before have none
            whole=head.get("findings", {}),
            complete=head["complete"],
        )

    def export(self, path: str | Path, kind: str) -> Path:
        """Write ``csv``, ``parquet`` (the rows) or ``json`` (the document).

        Raises:
            ValueError: another kind.
            ImportError: parquet needs the extra ``data``.
            OSError: the file cannot be written.
        """
        if kind == "json":
            write_json(Path(path), self.document())
            return Path(path)
        return write_rows(self.rows(), path, kind)


def write_rows(rows: list[dict[str, Any]], path: str | Path, kind: str) -> Path:
    """Write a table as ``csv``, ``parquet`` or ``json``.

    Raises:
        ValueError: another kind.
        ImportError: parquet needs the extra ``data``.
        OSError: the file cannot be written.
    """
    target = Path(path)
    if kind == "json":
        write_json(target, rows)
    elif kind == "csv":
        write_bytes(target, _as_csv(rows).encode())
    elif kind == "parquet":
        buffer = io.BytesIO()
        _framed(rows).to_parquet(buffer)
        write_bytes(target, buffer.getvalue())
    else:
        raise ValueError(f"cannot export {kind!r}; choose csv, parquet or json.")
    return target


def layer_file(index: int, name: str) -> str:
    """File name of one layer: its place and a hash of its name, since names may hold any character."""
    return f"{index:05d}-{sha256(name.encode()).hexdigest()[:12]}.safetensors"


def layer_files(folder: Path) -> list[Path]:
    """Files of ``folder`` that are an atlas's layers, by name; the user's own are none."""
    return [path for path in folder.glob("*.safetensors") if _LAYER_FILE.fullmatch(path.name)]


def _flat(record: LayerRecord, curves: set[str]) -> dict[str, Any]:
    entry = record.entry
    plain = ("name", "kind", "rank", "view_of", "method", "residual", "orthogonality_defect", "failed", "reason")
    row = {key: entry.get(key) for key in plain}
    row["out"], row["in"] = entry["shape"]
    row["words"], row["sentence"] = ", ".join(record.words), record.sentence
    for key, number in entry["findings"].items():
        if key not in curves:
            row |= {key: number["value"], f"{key}_baseline": number["baseline"], f"{key}_error": number["error"]}
    return row


def _framed(rows: list[dict[str, Any]]) -> "pandas.DataFrame":
    try:
        import pandas
    except ImportError as missing:
        raise ImportError("to_frame() needs pandas; install it with: pip install 'lmd[data]'.") from missing
    frame = pandas.DataFrame(rows)
    return frame.set_index("name") if len(frame) else frame


def _as_csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
