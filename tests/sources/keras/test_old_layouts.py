"""Layouts and modes of Keras 1 and of its backend Theano."""

from functools import partial

import h5py
import numpy as np
import pytest

import lmd
from lmd.sources.inspection import inspect_model
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


def _gates(class_name, gates, names="it"):
    arrays = {gate: (draw(3, 2), draw(2, 2), draw(2)) for gate in gates}
    weights = [
        (f"{names}_{part}_{gate}", array) for gate in gates for part, array in zip("WUb", arrays[gate], strict=True)
    ]
    layer = configured(class_name, "it", output_dim=2, inner_activation="hard_sigmoid", consume_less="cpu")
    return layer, weights, arrays


@pytest.mark.parametrize(
    ("class_name", "stored", "order"), [("LSTM", "icfo", "ifco"), ("GRU", "zrh", "zrh")], ids=["LSTM", "GRU"]
)
def test_gates_with_arrays_of_their_own(class_name, stored, order, tmp_path):
    layer, weights, arrays = _gates(class_name, stored)
    config = {"class_name": "Sequential", "config": chained([layer], shape=(5, 3))["config"]["layers"]}
    path = write_h5(tmp_path / "m.h5", config, {"it": weights}, version="1.2.2")
    joined = [np.concatenate([arrays[gate][part] for gate in order], -1).astype(float) for part in range(3)]
    x = draw(2, 5, 3)
    by_name = {"LSTM": by_hand.lstm, "GRU": partial(by_hand.gru, reset_after=False)}
    wanted = by_name[class_name](x.astype(float), *joined, gate="hard_sigmoid 2")[:, -1]
    assert close(run(path, x), wanted)
    rows = lmd.decompose(path).rows()
    assert {row["kind"] for row in rows} == {"gate"}
    assert {reading["kind"] for reading in inspect_model(str(path))["readings"]} == {"gate"}
    alone = write_h5(tmp_path / "w.h5", None, {"it": weights}, version="1.2.2")
    assert [row["name"] for row in lmd.decompose(alone).rows()] == [row["name"] for row in rows]


def test_both_directions_with_arrays_of_their_own(tmp_path):
    layer, forward, _ = _gates("LSTM", "icfo", "forward_it")
    _, backward, _ = _gates("LSTM", "icfo", "backward_it")
    wrapper = configured("Bidirectional", "both", layer=layer, merge_mode="concat")
    config = {"class_name": "Sequential", "config": chained([wrapper], shape=(5, 3))["config"]["layers"]}
    path = write_h5(tmp_path / "m.h5", config, {"both": [*forward, *backward]}, version="1.2.2")
    assert open_network(path).runs
    assert {row["kind"] for row in lmd.decompose(path).rows()} == {"gate"}


def test_kernels_of_weights_alone_with_channels_first(tmp_path):
    weights = {"c": [("c_W:0", KERNEL.transpose(3, 2, 0, 1)), ("c_b:0", SHIFT)]}
    (row,) = lmd.decompose(write_h5(tmp_path / "w.h5", None, weights, version="1.2.2"), layers="c").rows()
    assert (row["out"], row["in"]) == (4, 12)
