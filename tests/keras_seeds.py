"""Small Keras files of different kinds, to be damaged."""

from pathlib import Path

import h5py
import numpy

from tests.keras_files import chained, configured, write_archive, write_h5

__all__ = ["keras_seeds"]

_RANDOM = numpy.random.default_rng(0)


def _array(*shape: int) -> numpy.ndarray:
    return _RANDOM.standard_normal(shape).astype(numpy.float32)


def keras_seeds(folder: Path) -> list[Path]:
    """A whole model, weights alone, packed arrays, tensors of no model, archives stored and packed."""
    layers = [
        configured("Conv2D", "conv", filters=3, kernel_size=[3, 3], padding="same", activation="relu"),
        configured("BatchNormalization", "norm", axis=[3], epsilon=1e-3),
        configured("Flatten", "flatten"),
        configured("Dense", "dense", units=4, activation="softmax", kernel_regularizer={"config": {"l2": 0.01}}),
    ]
    norm = [(f"norm/{name}:0", _array(3)) for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    weights = {
        "conv": [("conv/kernel:0", _array(3, 3, 2, 3)), ("conv/bias:0", _array(3))],
        "norm": norm,
        "flatten": [],
        "dense": [("dense/kernel:0", _array(75, 4)), ("dense/bias:0", _array(4))],
    }
    training = {"loss": "mse", "optimizer_config": {"class_name": "Adam", "config": {"lr": 0.001}}}
    state = [("Adam/iter:0", numpy.array(7)), ("Adam/dense/kernel/m:0", _array(75, 4))]
    config = chained(layers, shape=(5, 5, 2))
    recurrent = {
        "lstm": [("lstm/kernel:0", _array(3, 8)), ("lstm/recurrent_kernel:0", _array(2, 8)), ("lstm/bias:0", _array(8))]
    }
    arrays = {"layers/dense/vars/0": _array(5, 4), "layers/dense/vars/1": _array(4), "optimizer/vars/0": numpy.array(3)}
    small = chained([configured("Dense", "dense", units=4, activation="relu")], shape=(5,))
    return [
        write_h5(folder / "whole.h5", config, weights, training=training, optimizer=state),
        write_h5(folder / "alone.h5", None, recurrent),
        write_h5(folder / "packed.h5", config, weights, chunks=True, compression="gzip", shuffle=True),
        _tensors(folder / "tensors.h5"),
        write_archive(folder / "stored.keras", small, arrays),
        write_archive(folder / "deflated.keras", small, arrays, compression=8),
    ]


def _tensors(path: Path) -> Path:
    with h5py.File(path, "w", track_order=True, libver="latest") as file:
        for name in ("0.weight", "0.bias", "half", "swapped"):
            shape = (4,) if name == "0.bias" else (4, 3)
            kind = {"half": "f2", "swapped": ">f8"}.get(name, "f4")
            file[name.replace(".", "/")] = _array(*shape).astype(kind)
    return path
