"""Layouts and modes of Keras 1 and of its backend Theano."""

import h5py
import numpy as np

from lmd.sources.open_network import open_network
from tests.keras_files import chained, configured, write_h5
from tests.references import keras_layers as by_hand
from tests.sources.keras.case import draw, positive
from tests.sources.keras.test_models import close, run

KERNEL, SHIFT = draw(2, 3, 2, 4), draw(4)
"""Rows, columns, inputs, outputs."""


def _convolution(path, **settings):
    layers = [configured("Convolution2D", "c", nb_filter=4, nb_row=2, nb_col=3, **settings)]
    shape = (2, 6, 5) if settings["dim_ordering"] == "th" else (6, 5, 2)
    config = {"class_name": "Sequential", "config": chained(layers, shape=shape)["config"]["layers"]}
    kernel = KERNEL.transpose(3, 2, 0, 1) if settings["dim_ordering"] == "th" else KERNEL
    return write_h5(path, config, {"c": [("c_W:0", kernel), ("c_b:0", SHIFT)]}, version="1.2.2")


def test_kernels_with_channels_first_in_keras_1(tmp_path):
    path = _convolution(tmp_path / "m.h5", dim_ordering="th")
    x = draw(3, 6, 5, 2)
    wanted = by_hand.convolution(x.astype(float), KERNEL, SHIFT)
    assert close(run(path, np.ascontiguousarray(x.transpose(0, 3, 1, 2))), wanted.transpose(0, 3, 1, 2))


def test_convolutions_of_theano_are_not_run(tmp_path):
    path = _convolution(tmp_path / "m.h5", dim_ordering="tf")
    assert open_network(path).runs
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["backend"] = b"theano"
    assert not open_network(path).runs


def test_batch_normalisation_of_each_example_is_not_run(tmp_path):
    for mode, runs in ((0, True), (1, False), (2, False)):
        layers = [configured("BatchNormalization", "n", mode=mode, axis=-1)]
        config = {"class_name": "Sequential", "config": chained(layers, shape=(3,))["config"]["layers"]}
        names = ("gamma", "beta", "running_mean", "running_std")
        weights = {"n": [(f"n_{name}:0", positive(3)) for name in names]}
        path = write_h5(tmp_path / f"{mode}.h5", config, weights, version="1.2.2")
        assert open_network(path).runs == runs
