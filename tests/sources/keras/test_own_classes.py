"""Models of somebody's own class: their layers are read as far as the file tells them, and nothing is run."""

import numpy as np
import pytest

from lmd.activations.input_sizes import sized
from lmd.layers.walk import walk
from lmd.sources.inspection import inspect_model
from lmd.sources.open_network import open_network
from tests.keras_files import chained, configured, write_archive, write_h5, write_weights
from tests.sources.keras.case import draw

OWN = {"module": "mine", "registered_name": "mine>Net", "class_name": "Net"}


def found(path):
    network = sized(open_network(path))
    return network, [(row.name, row.kind, row.shape) for row in walk(network).layers]


@pytest.mark.parametrize("container", ["", "layers/"])
def test_without_layers_its_weights_are_read_as_if_alone(container, tmp_path):
    arrays = {f"{container}first/vars/0": draw(5, 4), f"{container}first/vars/1": draw(4)}
    arrays |= {f"{container}conv2d/vars/0": draw(3, 3, 2, 7), f"{container}conv2d/vars/1": draw(7)}
    path = write_archive(tmp_path / "m.keras", {**OWN, "config": {}}, arrays)
    network, rows = found(path)
    write_weights(tmp_path / "m.weights.h5", arrays)
    assert rows == found(tmp_path / "m.weights.h5")[1]
    assert {("first", "dense", (4, 5)), ("conv2d", "kernel_matrix", (7, 18))} <= set(rows)
    assert not network.runs
    assert "Net is a class of its own" in network.unsized["conv2d"]
    assert {reading["path"] for reading in inspect_model(str(path))["readings"]} == {"first", "conv2d"}


def test_its_layers_are_read_where_the_configuration_lists_them(tmp_path):
    layers = [
        {**configured("InputLayer", "x", batch_shape=[None, 5]), "module": "keras.layers", "name": "x"},
        {**configured("Dense", "d", units=4), "module": "keras.layers", "name": "d"},
    ]
    history = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}
    layers[0]["inbound_nodes"], layers[1]["inbound_nodes"] = [], [{"args": [history], "kwargs": {}}]
    config = {"name": "net", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["d", 0, 0]]}
    arrays = {"layers/dense/vars/0": draw(5, 4), "layers/dense/vars/1": np.zeros(4, np.float32)}
    for entry, runs in (({"module": "keras", "class_name": "Functional"}, True), (OWN, False)):
        network, rows = found(write_archive(tmp_path / "m.keras", {**entry, "config": config}, arrays))
        assert rows == [("d", "dense", (4, 5))]
        assert network.runs == runs


def test_the_note_of_a_convolution_says_why_the_model_cannot_be_run(tmp_path):
    layers = [configured("Conv2D", "c", filters=3, kernel_size=[3, 3]), configured("Lambda", "own")]
    weights = {"c": [("c/kernel:0", draw(3, 3, 2, 3)), ("c/bias:0", draw(3))]}
    network, _ = found(write_h5(tmp_path / "m.h5", chained(layers, shape=(6, 6, 2)), weights))
    assert network.unsized["c"] == "it cannot be run: layer 'own' (Lambda): Lambda is not known"


def test_an_input_of_another_shape_is_told_the_declared_one(tmp_path):
    layers = [configured("Conv2D", "c", filters=3, kernel_size=[3, 3]), configured("Flatten", "f")]
    weights = {"c": [("c/kernel:0", draw(3, 3, 2, 3)), ("c/bias:0", draw(3))]}
    path = write_h5(tmp_path / "m.h5", chained(layers, shape=(6, 5, 2)), weights)
    why = sized(open_network(path), input_shape=(2, 6, 5)).unsized["c"]
    assert "came as 1x2x6x5, the file declares ?x6x5x2" in why


def test_weights_that_do_not_fit_are_said_in_words_and_ask_for_no_option(tmp_path):
    layer = configured("Dense", "d")
    path = write_h5(tmp_path / "m.h5", chained([layer], shape=(5,)), {"d": [("k:0", draw(5, 4)), ("b:0", draw(3))]})
    network, rows = found(path)
    assert rows == [("d.kernel", "dense", (4, 5))]
    assert walk(network).layers[0].alternatives == ()
    (why,) = network.facts["cannot run"]
    assert why.startswith("layer 'd' (Dense): its weights do not fit it: data set")


@pytest.mark.filterwarnings("error")
def test_arrays_without_entries_are_no_layers(tmp_path):
    layer = configured("Dense", "d", use_bias=False)
    empty = {"d": [("d/kernel:0", np.zeros((0, 4), np.float32))]}
    network, rows = found(write_h5(tmp_path / "m.h5", chained([layer], shape=(0,)), empty))
    assert not rows
    assert not network.runs
