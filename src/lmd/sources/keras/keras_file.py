"""Keras files: ``.h5`` and ``.hdf5``, whole models or weights alone, and ``.keras`` archives."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError
from lmd.sources.file_head import first_bytes, looks_like
from lmd.sources.formats import source
from lmd.sources.isolation.reader_process import ReaderProcess
from lmd.sources.json_text import json_object
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.configuration.model import model_of
from lmd.sources.keras.facts import facts_of
from lmd.sources.keras.hdf5.contents import CHILD, LIMITS, Contents, DataSet, contents_of, refuse_without_library
from lmd.sources.keras.hdf5.window import Place
from lmd.sources.keras.hdf5.zipped import is_keras_zip, keras_zip
from lmd.sources.keras.weights.assigned import Assigned
from lmd.sources.keras.weights.bare import Bare, bare_model
from lmd.sources.keras.weights.by_names import assign_by_names
from lmd.sources.keras.weights.by_paths import CONTAINERS, assign_by_paths
from lmd.sources.keras.weights.optimiser import Remembered, remembered
from lmd.sources.keras.weights.recorded import Recorded, readings_of, recorded, trained_weights
from lmd.sources.reading import TensorRecord

__all__ = ["archive_of", "read", "read_header"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ALONE = "weights without a configuration: the file does not tell how its layers are connected"
_THEANO = "its backend was theano, whose convolutions turn the kernels round: they are read as stored, and not run"
_ADVICE = "Save the model again with Keras."


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What is known before torch is needed.

    Attributes:
        contents: of the HDF5 file.
        model: its configuration, or the layers that weights alone look like.
        assigned: its arrays.
        found: the records.
        bare: weights without a configuration.
        facts: what else the file tells.
        iterations: the array that counts the steps of the training.
    """

    contents: Contents
    model: LayerConfig
    assigned: Assigned
    found: Recorded
    bare: Bare | None
    facts: Mapping[str, Any]
    iterations: DataSet | None = None


def _accepts(path: Path) -> bool:
    if not path.is_file():
        return False
    return path.suffix in (".h5", ".hdf5", ".keras") or is_hdf5(str(path)) or is_keras_zip(path)


def is_hdf5(path: str) -> bool:
    """Whether it begins as HDF5 does."""
    return first_bytes(path, 8) == _SIGNATURE


def read_header(path: str) -> Archive:
    """Read names, shapes, types and the configuration; no number, and without torch.

    Raises:
        UnreadableModelError: damaged, or without arrays.
        UnsafeModelError: it points at other files.
    """
    with _reader() as reader:
        return archive_of(path, reader, header=True)


@source("Keras", accepts=_accepts, header=read_header)
def read(path: str) -> Archive:
    """Read the configuration, and give each array a loader.

    Raises:
        UnreadableModelError: damaged, or without arrays.
        UnsafeModelError: it points at other files.
    """
    with _reader() as reader:
        return archive_of(path, reader)


def _reader() -> ReaderProcess:
    refuse_without_library()
    return ReaderProcess(CHILD, LIMITS)


def archive_of(path: str, reader: ReaderProcess, *, header: bool = False) -> Archive:
    """Read a file through an open process.

    Raises:
        UnreadableModelError: damaged, or without arrays.
        UnsafeModelError: it points at other files.
    """
    path = os.path.abspath(path)
    _refuse_other(path)
    told = _told(path, reader)
    if told is None:
        return _state_dict(path, contents_of(Place(path), reader), header=header)
    archive = Archive(
        tuple(told.found.records),
        facts=told.facts,
        files=(path,),
        readings=readings_of(told.model, told.assigned, told.bare.reasons if told.bare else {}),
    )
    return archive if header else _with_module(archive, told)


def _refuse_other(path: str) -> None:
    """Another kind of file under a name of Keras; a block of the user's may lie before the signature."""
    if first_bytes(path, 4) == b"PK\x03\x04":
        return
    size, start = os.path.getsize(path), 0
    with open(path, "rb") as file:
        while start < size:
            file.seek(start)
            if file.read(8) == _SIGNATURE:
                return
            start = max(2 * start, 512)
    raise UnreadableModelError(f"{path} is neither HDF5 nor a .keras archive; it is {looks_like(path)}.")


def _told(path: str, reader: ReaderProcess) -> _Told | None:
    """None for HDF5 without anything of Keras."""
    if first_bytes(path, 4) == b"PK\x03\x04":
        archive = keras_zip(path)
        contents = contents_of(archive.weights, reader)
        version = str(archive.metadata.get("keras_version", "3"))
        return _configured(contents, archive.configuration, {"keras_version": version, "format": "Keras archive"})
    contents = contents_of(Place(path), reader)
    top = contents.groups.get("", {})
    attributes = {**contents.groups.get("model_weights", {}), **top}
    kept = {name: attributes[name] for name in ("keras_version", "backend") if name in attributes}
    facts = {"format": "Keras HDF5", **kept}
    if "model_config" in top:
        configuration = json_object(top["model_config"], of=f"model_config of {path}", advice=_ADVICE)
        if "training_config" in top:
            training = json_object(top["training_config"], of=f"training_config of {path}", advice=_ADVICE)
            configuration = {**configuration, "training_config": training}
        return _configured(contents, configuration, facts)
    return _bare(contents, {**facts, "weights only": _ALONE})


def _bare(contents: Contents, facts: Mapping[str, Any]) -> _Told | None:
    """Weights that no layer of a configuration claims."""
    bare = bare_model(contents)
    if bare is None:
        return None
    kept_by = remembered(contents, trained_weights(bare.model, bare.assigned), "")
    found = recorded(bare.model, bare.assigned, kept_by, contents)
    return _Told(contents, bare.model, bare.assigned, found, bare, facts)


def _configured(contents: Contents, configuration: Mapping[str, Any], facts: Mapping[str, Any]) -> _Told:
    version = _major(facts.get("keras_version"))
    model = model_of(configuration, version)
    if not model.is_model and (alone := _bare(contents, {**facts, **facts_of(model, configuration)})):
        own = f"{model.class_name.lstrip('?')} is a class of its own, whose code is in no file"
        return replace(alone, facts={**alone.facts, "layers": {}, "weights only": own})
    by_paths = any(container in contents.groups for container in CONTAINERS)
    assigned = assign_by_paths(model, contents) if by_paths else assign_by_names(model, contents, "model_weights")
    told = facts_of(model, configuration)
    optimiser = str(told.get("optimiser", {}).get("class", ""))
    numbers = str(facts.get("keras_version", ""))
    kept: Remembered = remembered(contents, trained_weights(model, assigned), optimiser, numbers)
    found = recorded(model, assigned, kept, contents)
    return _Told(contents, model, assigned, found, None, {**facts, **told}, kept.iterations)


def _major(version: Any) -> int:
    first = str(version or "1").partition(".")[0]
    return int(first) if first in ("1", "2", "3") else 2


def _with_module(archive: Archive, told: _Told) -> Archive:
    from lmd.sources.keras.building.network import network_of

    built = network_of(told.model, told.assigned, unknown=_obstacles(told))
    loaders = {name: array.loader(name) for name, array in told.found.arrays.items()}
    facts = dict(archive.facts)
    if told.iterations is not None:
        facts["iterations"] = int(told.iterations.loader("iterations")().item())
    return replace(archive, loaders={**loaders, **built.loaders}, skeleton=built.module, facts=facts)


def _obstacles(told: _Told) -> tuple[str, ...]:
    """Why the model cannot be run whatever its layers are."""
    leaves = [inner for leaf in told.model.leaves() for inner in (leaf, *leaf.inside)]
    turned = told.facts.get("backend") == "theano" and any("Conv" in leaf.class_name for leaf in leaves)
    return (*((told.facts["weights only"],) if told.bare else ()), *((_THEANO,) if turned else ()))


def _state_dict(path: str, contents: Contents, *, header: bool) -> Archive:
    """Tensors in groups, as anybody may write them."""
    names = {array_path.replace("/", "."): array for array_path, array in contents.data_sets.items()}
    records = tuple(TensorRecord(name, array.shape, array.dtype) for name, array in names.items())
    facts = {"format": "HDF5", **({} if contents.in_order else {"order": "by name"})}
    loaders = {} if header else {name: array.loader(name) for name, array in names.items()}
    return Archive((*records, *contents.without_numbers()), loaders, facts, (path,))
