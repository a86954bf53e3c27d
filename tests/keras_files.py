"""Keras files made by hand: HDF5 as Keras 2 lays it out, archives as Keras 3 does."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy

__all__ = ["chained", "configured", "put_arrays", "write_archive", "write_h5", "write_weights"]

Array = numpy.ndarray
Config = dict[str, Any]


def configured(class_name: str, name: str, /, **config: Any) -> Config:
    """One layer of a configuration."""
    return {"class_name": class_name, "config": {"name": name, **config}}


def chained(layers: Sequence[Config], *, shape: Sequence[int | None] | None, name: str = "sequential") -> Config:
    """A Sequential of Keras 2; the first layer tells the shape of the input."""
    layers = [{**layer, "config": dict(layer["config"])} for layer in layers]
    if shape is not None:
        layers[0]["config"]["batch_input_shape"] = [None, *shape]
    return {"class_name": "Sequential", "config": {"name": name, "layers": layers}}


def write_h5(
    path: Path,
    config: Config | None,
    weights: Mapping[str, Sequence[tuple[str, Array]]],
    *,
    version: str = "2.4.0",
    training: Config | None = None,
    optimizer: Sequence[tuple[str, Array]] = (),
    **options: Any,
) -> Path:
    """A whole model, or its weights alone without a configuration; ``options`` are those of h5py's data sets."""
    with h5py.File(path, "w") as file:
        for key, value in (("model_config", config), ("training_config", training)):
            if value is not None:
                file.attrs[key] = json.dumps(value)
        root = file if config is None else file.create_group("model_weights")
        root.attrs["keras_version"] = version
        root.attrs["backend"] = b"tensorflow"
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            put_arrays(root.create_group(name), arrays, **options)
        if optimizer:
            put_arrays(file.create_group("optimizer_weights"), optimizer)
    return path


def put_arrays(group: h5py.Group, arrays: Sequence[tuple[str, Array]], **options: Any) -> None:
    """Arrays by name, and the list of their names."""
    group.attrs["weight_names"] = [name.encode() for name, _ in arrays]
    for name, array in arrays:
        group.create_dataset(name, data=array, **(options if array.ndim else {}))


def write_weights(
    target: Path | io.BytesIO, arrays: Mapping[str, Array], names: Mapping[str, str] | None = None
) -> None:
    """The weights of Keras 3, by the path of each variable; ``names`` of layers by their group."""
    with h5py.File(target, "w") as file:
        for path, array in arrays.items():
            if array.dtype == "V2":
                # as h5py writes a bfloat16 of NumPy
                file.create_dataset(path, data=array).attrs["dtype"] = "bfloat16"
            else:
                file[path] = array
        for path, name in (names or {}).items():
            file.require_group(f"{path}/vars").attrs["name"] = name


def write_archive(
    path: Path,
    config: Config,
    arrays: Mapping[str, Array],
    *,
    compression: int = zipfile.ZIP_STORED,
    names: Mapping[str, str] | None = None,
) -> Path:
    """A ``.keras`` archive."""
    memory = io.BytesIO()
    write_weights(memory, arrays, names)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0", "date_saved": "2024-09-10@19:57:03"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", memory.getvalue())
    return path
