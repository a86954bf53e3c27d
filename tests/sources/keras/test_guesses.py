"""Weights without a configuration: which class the names and shapes of arrays allow."""

import h5py
import pytest

import lmd
from lmd.sources.keras.hdf5.contents import DataSet
from lmd.sources.keras.hdf5.window import Place
from lmd.sources.keras.weights.guesses import guessed
from lmd.sources.open_network import open_network
from tests.keras_files import write_h5, write_weights
from tests.sources.keras.case import draw

GUESSES = [
    ("it", {"kernel:0": (3, 4), "bias:0": (4,)}, "Dense", "shape"),
    ("it", {"kernel:0": (3, 3, 4, 5), "bias:0": (5,)}, "Conv2D", "shape"),
    ("it", {"kernel:0": (3, 3, 5, 4), "bias:0": (5,)}, "Conv2DTranspose", "shape"),
    ("it", {"kernel:0": (3, 4, 4), "bias:0": (4,)}, "Conv1D", "guess"),
    ("it", {"depthwise_kernel:0": (3, 3, 4, 2), "pointwise_kernel:0": (1, 1, 8, 5)}, "SeparableConv2D", "shape"),
    ("it", {"depthwise_kernel:0": (3, 3, 4, 1)}, "DepthwiseConv2D", "shape"),
    ("it", {"kernel:0": (3, 8), "recurrent_kernel:0": (2, 8), "bias:0": (8,)}, "LSTM", "shape"),
    ("it", {"kernel:0": (3, 8), "recurrent_kernel:0": (2, 8), "bias:0": (16,)}, "CuDNNLSTM", "shape"),
    ("it", {"kernel:0": (3, 6), "recurrent_kernel:0": (2, 6), "bias:0": (2, 6)}, "GRU", "shape"),
    ("it", {"kernel:0": (3, 2), "recurrent_kernel:0": (2, 2), "bias:0": (2,)}, "SimpleRNN", "shape"),
    (
        "it",
        {f"it_{part}_{g}": shape for g in "zrh" for part, shape in {"W": (3, 2), "U": (2, 2), "b": (2,)}.items()},
        "GRU",
        "shape",
    ),
    ("it", {"it_W": (8, 2, 3, 3), "it_b": (8,)}, "Conv2D", "shape"),
    ("it", {"embeddings:0": (9, 3)}, "Embedding", "shape"),
    (
        "it",
        dict.fromkeys(("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"), (4,)),
        "BatchNormalization",
        "shape",
    ),
    ("it", {"gamma:0": (4,), "beta:0": (4,)}, "LayerNormalization", "shape"),
    ("dense", {"0": (3, 4), "1": (4,)}, "Dense", "guess"),
    ("batch_normalization_2", {str(n): (4,) for n in range(4)}, "BatchNormalization", "shape"),
    ("it", {"mixing:0": (3, 4, 5), "shift:0": (2, 2)}, "?", "guess"),
]


@pytest.mark.parametrize(("name", "arrays", "class_name", "confidence"), GUESSES, ids=[g[2] for g in GUESSES])
def test_the_class_of_a_layer(name, arrays, class_name, confidence):
    place = Place("nowhere")
    found = guessed(name, [DataSet(f"{name}/{n}", shape, "float32", place) for n, shape in arrays.items()])
    assert (found.class_name, found.confidence) == (class_name, confidence)


def test_weights_of_keras_3_alone(tmp_path):
    arrays = {
        "layers/dense/vars/0": draw(3, 4),
        "layers/dense/vars/1": draw(4),
        "layers/lstm/cell/vars/0": draw(4, 8),
        "layers/lstm/cell/vars/1": draw(2, 8),
        "layers/lstm/cell/vars/2": draw(8),
    }
    write_weights(tmp_path / "m.weights.h5", arrays)
    atlas = lmd.decompose(tmp_path / "m.weights.h5")
    assert [row.entry["kind"] for row in atlas.layers] == ["dense"] + ["gate"] * 8
    assert atlas.coverage.accounted == 1.0


def test_both_directions_alone(tmp_path):
    def half(direction):
        names = (("kernel", (3, 8)), ("recurrent_kernel", (2, 8)), ("bias", (8,)))
        return [(f"both/{direction}_lstm/lstm_cell/{name}:0", draw(*shape)) for name, shape in names]

    path = write_h5(tmp_path / "m.h5", None, {"both": [*half("forward"), *half("backward")]})
    names = [row.name for row in lmd.decompose(path).layers]
    assert names[0] == "both.l0.input.i"
    assert "both.l0.reverse.hidden.o" in names


def test_tensors_of_no_keras_are_read_by_their_names(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["fc/weight"], file["fc/bias"] = draw(4, 3), draw(4)
    network = open_network(tmp_path / "m.h5")
    assert network.facts["format"] == "HDF5"
    assert [row.entry["kind"] for row in lmd.decompose(tmp_path / "m.h5").layers] == ["dense"]
