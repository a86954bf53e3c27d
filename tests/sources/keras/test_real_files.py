"""Files that were trained elsewhere, where they lie beside the checkout."""

import numpy as np
import pytest
import torch

import lmd
from lmd.sources.inspection import inspect_model
from lmd.sources.open_network import open_network
from tests.shared_models import shared_model

EPOCHS = [f"mini-xception-fer2013/fer2013_mini_XCEPTION.{e}.hdf5" for e in ("00-0.47", "14-0.59", "102-0.66")]
RUNNABLE = ["gesture-mlp/keypoint_classifier.hdf5", *EPOCHS, "binance-trader/model.keras"]


@pytest.mark.parametrize("file", [*RUNNABLE, "textgenrnn/textgenrnn_weights.hdf5"])
def test_everything_is_accounted_for_and_nearly_all_decomposed(file):
    path = shared_model(file)
    atlas = lmd.decompose(path, vectors=0)
    assert atlas.coverage.accounted == 1.0
    assert atlas.coverage.decomposed >= 0.95
    told = inspect_model(str(path))["coverage"]
    assert told["decomposed"] == pytest.approx(atlas.coverage.decomposed, abs=1e-12)
    assert {t["name"]: t["status"] for t in told["tensors"]} == {t.name: t.status for t in atlas.coverage.tensors}
    assert open_network(path).runs == (file in RUNNABLE)


def test_the_gesture_classifier_is_as_good_as_it_was():
    table = np.loadtxt(shared_model("gesture-mlp/keypoint.csv"), delimiter=",", dtype=np.float32)
    with torch.no_grad():
        found = lmd.runnable(shared_model(RUNNABLE[0]))(torch.from_numpy(table[:, 1:])).argmax(dim=1)
    assert np.mean(found.numpy() == table[:, 0]) == pytest.approx(0.965, abs=5e-4)


@pytest.mark.parametrize("file", EPOCHS)
def test_an_epoch_tells_how_it_was_trained(file):
    network = open_network(shared_model(file))
    kept = {record.name: record for record in network.records if record.role == "optimiser"}
    assert len(kept) == 105
    trained = [record for record in network.records if record.role == "parameter"]
    for record in trained:
        for moment in "mv":
            assert kept[f"optimizer.{record.name}.{moment}"].shape == record.shape
    assert network.facts["regularisation"]["conv2d_1"]["kernel"]["l2"] == pytest.approx(0.01)
    assert network.facts["optimiser"]["class"] == "Adam"
    assert network.facts["iterations"] > 0
    # a mean of squares is nowhere negative: the moments have not changed places
    assert all(network.loaders[f"optimizer.{record.name}.v"]().min() >= 0 for record in trained)


def test_an_epoch_is_run_and_its_operators_have_the_size_of_its_pictures():
    path = shared_model(EPOCHS[2])
    with torch.no_grad():
        answer = lmd.runnable(path)(torch.rand(2, 64, 64, 1))
    assert answer.sum(dim=1).allclose(torch.ones(2))
    operators = [row for row in lmd.decompose(path, vectors=0).layers if row.entry["kind"] == "conv_operator"]
    assert operators[0].entry["shape"] == [62 * 62 * 8, 64 * 64]


def test_one_epoch_against_another():
    atlas = lmd.decompose(shared_model(EPOCHS[2]), base=shared_model(EPOCHS[0]), vectors=0)
    assert {row.entry["kind"] for row in atlas.layers} == {"difference"}


def test_recurrent_layers_are_told_by_their_shapes():
    network = open_network(shared_model("textgenrnn/textgenrnn_weights.hdf5"))
    classes = {path: type(module).__name__ for path, module in network.skeleton.named_modules() if path}
    assert classes["rnn_1"] == classes["rnn_2"] == "KerasLSTM"
    assert network.readings["rnn_1"].confidence == "shape"
    assert "weights without a configuration" in network.facts["cannot run"][0]
