"""Brackets of operator norms and what symbols tell, on maps whose answer is known."""

import pytest
import torch
from benchmarks.convolutions import RESNET20, resnet20
from torch import nn

from lmd.atlas.atlas import Atlas
from lmd.pipeline.decompose import decompose


def numbers(atlas, name):
    return {key: found["value"] for key, found in atlas.layer(name).entry["findings"].items()}


def with_kernel(module, kernel):
    with torch.no_grad():
        module.weight.copy_(torch.tensor(kernel).reshape(module.weight.shape))
    return module


def test_a_mean_filter_is_a_low_pass():
    layer = with_kernel(nn.Conv1d(1, 1, 3, padding=1, bias=False), [1 / 3, 1 / 3, 1 / 3])
    atlas = decompose(layer, input_shape=(1, 40))
    found = numbers(atlas, "symbol")
    assert found["symbol_peak"] == pytest.approx(1.0, abs=1e-6)
    assert found["symbol_peak_frequency"] == 0.0
    assert found["low_pass_share"] > 0.7
    largest, smallest = atlas.layer("symbol").arrays()["symbol.extremes"]
    assert largest.argmax() == len(largest) // 2
    assert torch.equal(largest, smallest)
    # the eigenvalues of a tridiagonal Toeplitz matrix
    norm = (1 + 2 * torch.cos(torch.tensor(torch.pi / 41, dtype=torch.float64)).item()) / 3
    found = numbers(atlas, "operator")
    assert found["operator_norm_lower"] == pytest.approx(norm, rel=1e-6)
    assert found["operator_norm_lower"] <= norm * (1 + 1e-7) <= found["operator_norm_upper"] * (1 + 1e-6)


def test_a_difference_filter_is_a_high_pass():
    layer = with_kernel(nn.Conv1d(1, 1, 2, bias=False), [1.0, -1.0])
    found = numbers(decompose(layer), "symbol")
    assert found["symbol_peak_frequency"] == 1.0
    assert found["low_pass_share"] < 0.3


def test_a_random_kernel_is_near_its_baselines():
    torch.manual_seed(0)
    atlas = decompose(nn.Conv2d(24, 24, 3, padding=1), input_shape=(24, 16, 16))
    for name, key in (("operator", "operator_norm_lower"), ("symbol", "symbol_peak")):
        found = atlas.layer(name).entry["findings"][key]
        # the edge of 24 x 24 blocks scatters, and the largest of nine independent ones is taken
        assert found["value"] == pytest.approx(found["baseline"], rel=0.3)


def test_an_operator_is_kept_with_the_values_that_are_known(tmp_path):
    torch.manual_seed(0)
    atlas = decompose(nn.Conv2d(4, 4, 3, padding=1), input_shape=(4, 24, 24), vectors=0)
    record = atlas.layer("operator")
    assert record.entry["method"] == "lanczos"
    assert record.entry["rank"] == 1
    found = record.entry["findings"]
    assert found["spectral_norm"]["direction"] == "lower"
    assert found["stable_rank"]["direction"] == "upper"
    assert found["frobenius_norm"]["value"] == record.entry["frobenius_norm"]
    assert "only the leading" in found["nuclear_norm"]["reason"]
    loaded = Atlas.load(atlas.save(tmp_path / "atlas"))
    assert len(list(loaded.findings())) == len(list(atlas.findings()))
    errors = loaded.factors("operator").errors(1)
    assert errors.direction == "upper"
    # what is left is no larger than the whole
    assert errors.spectral == loaded.factors("operator").norm_bound < errors.frobenius
    assert errors.spectral == found["operator_norm_upper"]["value"]
    assert loaded.factors("symbol").errors(3).direction == "exact"
    assert loaded.factors("symbol").groups == 256


def test_an_operator_with_all_its_values_has_no_bracket_to_speak_of():
    torch.manual_seed(0)
    found = decompose(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), input_shape=(3, 9, 9)).layer("operator")
    assert found.entry["method"] in ("gram", "lapack")
    assert 1 <= found.entry["findings"]["operator_norm_ratio"]["value"] < 1 + 1e-9
    assert "whole matrix" in found.entry["findings"]["operator_norm_upper"]["reason"]


def test_long_work_tells_how_far_it_got():
    said = []
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1))
    decompose(model, input_shape=(4, 24, 24), progress=lambda *words: said.append(words))
    assert said[0] == (1, 3, "0")
    assert said[1] == (1, 3, "0.operator: bound of the norm")
    assert any("passes, residual" in text for done, total, text in said if (done, total) == (1, 3))
    assert said[-1] == (3, 3, "0.symbol")


def test_a_zero_convolution_has_reasons():
    layer = nn.Conv2d(2, 2, 3)
    nn.init.zeros_(layer.weight)
    atlas = decompose(layer, input_shape=(2, 30, 30))
    assert not any(record.failed for record in atlas.layers)
    assert "undefined" in atlas.layer("operator").entry["findings"]["operator_norm_ratio"]["reason"]
    assert "undefined" in atlas.layer("symbol").entry["findings"]["symbol_peak_frequency"]["reason"]


def test_without_parts_there_is_the_kernel_matrix_alone():
    assert [r.name for r in decompose(nn.Conv2d(2, 2, 3), input_shape=(2, 9, 9), parts=False).layers] == ["weight"]


@pytest.mark.skipif(not RESNET20.exists(), reason="the model is not beside the checkout")
def test_the_norms_of_resnet20_are_bracketed_within_nine_percent():
    atlas = decompose(resnet20(), input_shape=(3, 32, 32), layers="*.operator")
    ratios = [numbers(atlas, record.name)["operator_norm_ratio"] for record in atlas.layers]
    assert len(ratios) == 19
    assert all(1 <= ratio <= 1.09 for ratio in ratios)
    for record in atlas.layers:
        assert record.entry["residual"] <= 1e-5 * numbers(atlas, record.name)["operator_norm_lower"]


def test_a_bare_file_says_that_its_symbol_assumes_a_stride(tmp_path):
    torch.save({"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4)}, tmp_path / "bare.pt")
    atlas = decompose(tmp_path / "bare.pt")
    assert {record.name for record in atlas.layers} == {"conv", "conv.symbol"}
    assert all("stride 1 and dilation 1 were assumed" in record.entry["note"] for record in atlas.layers)
