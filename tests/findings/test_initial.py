"""The distance to the usual initialisation, on layers as their frameworks make them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import lmd
from lmd.layers.initialised.keras_words import law_of_keras
from lmd.layers.initialised.law import normal
from lmd.layers.initialised.usual import usual_law
from lmd.layers.walk import walk
from lmd.linalg.chance.initial_noise import beyond_spikes
from lmd.sources.open_network import open_network

FRESH = [
    nn.Linear(90, 70, bias=False),
    nn.Embedding(80, 60),
    nn.Conv2d(12, 30, 3, bias=False),
    nn.LSTM(40, 50, bias=False),
    nn.ConvTranspose2d(20, 24, 3, bias=False),
    nn.MultiheadAttention(64, 1, bias=False),
]


def rows_of(module):
    atlas = lmd.decompose(module, vectors=0)
    return [row for row in atlas.rows() if row["view_of"] is None]


@pytest.mark.parametrize("module", FRESH, ids=lambda module: type(module).__name__)
def test_fresh_layers_are_not_told_from_their_initialisation(module):
    torch.manual_seed(3)
    for part in module.modules():
        if callable(reset := getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))):
            reset()
    for row in rows_of(module):
        assert row["scale_ratio"] == pytest.approx(1, abs=6 * row["scale_ratio_error"])
        assert row["initial_p"] > 1e-4
        assert row["initial_from"] == row["initial_spikes"]


def test_what_training_adds_is_counted():
    torch.manual_seed(0)
    layer = nn.Linear(150, 100, bias=False)
    u, v = (torch.linalg.qr(torch.randn(side, 4))[0] for side in (100, 150))
    layer.weight.data += 3 * u @ v.T
    (row,) = rows_of(layer)
    assert (row["initial_spikes"], row["initial_from"]) == (4, 4)
    assert row["initial_p"] < 1e-6
    layer.weight.data *= 1.5
    found = lmd.decompose(layer, vectors=0).layers[0].entry["findings"]["initial_from"]
    assert found["value"] is None
    assert "another size" in found["reason"]


def test_what_is_left_beyond_strong_spikes_is_noise():
    generator = torch.Generator().manual_seed(1)
    p = []
    for _ in range(40):
        u, v = (torch.linalg.qr(torch.randn(side, 3, generator=generator).double())[0] for side in (80, 60))
        S = torch.linalg.svdvals(torch.randn(80, 60, generator=generator).double() + 40 * u @ v.T)
        left = beyond_spikes(S, (80, 60), 3, 0.0)
        p.append(left.p)
        assert left.distance < left.limit
    assert min(p) > 1e-3
    assert 0.3 < sum(p) / len(p) < 0.7


def test_maps_without_such_a_law_say_why():
    (norm,) = walk(open_network(nn.LayerNorm(16))).layers
    assert "start at 1" in usual_law(norm, open_network(nn.LayerNorm(16)))
    few = lmd.decompose(nn.Linear(5, 40)).layers[0].entry["findings"]["initial_p"]
    assert "fewer than 8" in few["reason"]


def test_configurations_are_believed():
    network = open_network(nn.Linear(30, 20))
    (row,) = walk(network).layers
    told = usual_law(row, replace(network, facts={"config": {"initializer_range": 0.02}}))
    assert (told.name, told.deviation) == ("normal", 0.02)
    assert "tells no initializer_range" in usual_law(row, replace(network, facts={"config": {"model_type": "x"}}))
    assert "ONNX" in usual_law(row, replace(network, facts={"format": "ONNX", "producer": "tf2onnx"}))


@pytest.mark.parametrize(
    ("word", "settings", "name", "variance"),
    [
        ("GlorotUniform", {}, "uniform", 2 / 400),
        ("glorot_normal", {}, "truncated normal", 2 / 400),
        ("HeNormal", {}, "truncated normal", 2 / 100),
        ("lecun_uniform", {}, "uniform", 1 / 100),
        ("VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "uniform"}, "uniform", 3 / 300),
        ("RandomUniform", {"minval": -0.3, "maxval": 0.3}, "uniform", 0.03),
        ("RandomNormal", {"stddev": 0.2}, "normal", 0.04),
        ("TruncatedNormal", {"stddev": 1.0}, "truncated normal", 0.7737),
    ],
)
def test_words_of_keras(word, settings, name, variance):
    law = law_of_keras(word, settings, (100, 300))
    assert law.name == name
    assert law.deviation**2 == pytest.approx(variance, rel=1e-3)


def test_other_words_of_keras_have_no_law():
    assert "independent" in law_of_keras("Orthogonal", {}, (4, 4))
    assert "mean" in law_of_keras("RandomUniform", {"minval": 0.0, "maxval": 1.0}, (4, 4))
    assert normal(1.0, "a test").excess_kurtosis == 0
