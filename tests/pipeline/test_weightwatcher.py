"""The columns against their definitions, on plain matrices."""

import numpy
import pytest
import torch
from torch import nn

import lmd
from lmd.pipeline.decompose import decompose
from lmd.pipeline.weightwatcher import weightwatcher_rows

_KNOWN = """
layer_id name D M N Q alpha alpha_weighted bulk_max bulk_min entropy has_esd lambda_max layer_type
log_alpha_norm log_norm log_spectral_norm longname matrix_rank max_rand_eval mp_softrank norm
num_evals num_pl_spikes num_spikes num_traps rand_distance rand_mp_softrank rand_num_spikes
rank_loss sigma spectral_norm stable_rank status sv_max sv_min weak_rank_loss ww_maxdist ww_softrank
xmax xmin
"""
KNOWN = _KNOWN.split()


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 24), nn.Linear(24, 3))


def test_every_known_column_is_there_and_is_its_definition():
    network = model()
    rows = weightwatcher_rows(decompose(network, power_law=True))
    assert [row["longname"] for row in rows] == ["0", "2", "3"]
    for row, layer in zip(rows[:2], (network[0], network[2]), strict=True):
        assert set(KNOWN) <= set(row)
        S = numpy.linalg.svd(layer.weight.detach().double().numpy(), compute_uv=False)
        values = S**2
        assert (row["N"], row["M"]) == (max(layer.weight.shape), min(layer.weight.shape))
        assert row["Q"] == row["N"] / row["M"]
        wanted = {
            "norm": values.sum(),
            "log_norm": numpy.log10(values.sum()),
            "spectral_norm": values[0],
            "lambda_max": values[0],
            "log_spectral_norm": numpy.log10(values[0]),
            "sv_max": S[0],
            "sv_min": S[-1],
            "xmax": values[0],
            "stable_rank": values.sum() / values[0],
            "alpha_weighted": row["alpha"] * numpy.log10(values[0]),
            "log_alpha_norm": numpy.log10((values ** row["alpha"]).sum()),
            "sigma": (row["alpha"] - 1) / numpy.sqrt(row["num_pl_spikes"]),
        }
        assert {key: row[key] for key in wanted} == pytest.approx(wanted, rel=1e-9)
        assert row["matrix_rank"] == row["num_evals"] == row["M"]
        assert (row["rank_loss"], row["status"], row["has_esd"]) == (0, "success", True)
        rms = numpy.sqrt(values.sum() / layer.weight.numel())
        sides = numpy.sqrt(layer.weight.shape)
        assert row["bulk_min"] == pytest.approx((rms * (sides[0] - sides[1])) ** 2, rel=1e-9)
        assert row["bulk_max"] == pytest.approx((rms * (sides[0] + sides[1])) ** 2, rel=0.2)


def test_ranks_lost_exactly_and_almost():
    layer = nn.Linear(20, 20, bias=False)
    sizes = torch.ones(20)
    sizes[10:15], sizes[15:] = 1e-4, 0.0
    layer.weight.data = torch.diag(sizes)
    row = weightwatcher_rows(decompose(layer))[0]
    assert (row["matrix_rank"], row["rank_loss"], row["weak_rank_loss"]) == (15, 5, 10)
    assert row["sv_min"] == 0.0


def test_a_few_huge_weights_are_traps_and_no_correlation():
    layer = nn.Linear(128, 128, bias=False)
    generator = torch.Generator().manual_seed(0)
    layer.weight.data = torch.randn(128, 128, generator=generator)
    noise = weightwatcher_rows(decompose(layer))[0]
    layer.weight.data[[5, 60, 100], [7, 70, 17]] = torch.tensor([50.0, 50.0, 50.0])
    huge = weightwatcher_rows(decompose(layer))[0]
    assert (noise["num_spikes"], noise["num_traps"]) == (0, 0)
    assert (huge["num_spikes"], huge["num_traps"]) == (3, 3)
    assert huge["outlier_spikes"] >= 2
    assert noise["rand_distance"] < 0.1 < noise["rand_p"]
    assert huge["ww_softrank"] == pytest.approx(1.0, abs=0.1)


def test_small_layers_and_parts_say_what_is_missing():
    row = weightwatcher_rows(decompose(model(), power_law=True))[2]
    assert row["alpha"] is None
    assert "3 positive values" in row["status"]
    assert row["norm"] > 0
    assert weightwatcher_rows(decompose(model()))[0]["status"] == "no power law was asked for"


def test_a_convolution_is_named_by_the_matrix_it_is():
    torch.manual_seed(0)
    rows = weightwatcher_rows(decompose(nn.Conv2d(4, 12, 3, padding=1), input_shape=(4, 6, 6), power_law=True))
    named = {row["matrix"]: row for row in rows}
    assert list(named) == ["kernel matrix", "operator on inputs of 6 x 6", "symbol"]
    kernel, operator, symbol = named.values()
    assert (kernel["N"], kernel["M"], kernel["view_of"]) == (36, 12, None)
    assert operator["view_of"] == "weight"
    # a patch sees a part of what the whole map does
    assert kernel["sv_max"] < operator["sv_max"] <= symbol["sv_max"] * (1 + 1e-9)
    assert symbol["alpha"] is None


def test_a_layer_that_failed_has_its_reason():
    network = model()
    network[0].weight.data[0, 0] = float("nan")
    row = weightwatcher_rows(decompose(network, power_law=True))[0]
    assert "NaN" in row["status"]
    assert row["norm"] is None
    assert not row["has_esd"]


def test_a_saved_atlas_gives_the_same_rows(tmp_path):
    atlas = decompose(model(), power_law=True, power_law_draws=5)
    atlas.save(tmp_path / "atlas")
    assert lmd.weightwatcher_rows(tmp_path / "atlas") == lmd.weightwatcher_rows(atlas)
