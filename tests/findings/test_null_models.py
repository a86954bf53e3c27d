"""Null models on matrices with a known answer, and on a real model."""

import pytest
import torch

from lmd.factors.svd import factors_of
from lmd.findings.analysis import InapplicableError
from lmd.findings.geometry.chance.null_models import null_models
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.sources.loaders import Held


def found(W):
    layer = LayerMatrix("a", "dense", tuple(W.shape), Held("a.weight", W))
    return null_models(factors_of(layer, vectors=0), layer)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def values(finding, *keys):
    return [getattr(finding, key).value for key in keys]


def test_gaussian_matrices_are_not_told_from_chance():
    rejected = 0
    for seed in range(60):
        one = found(drawn(128, 128, seed=seed))
        rejected += min(values(one, "gaussian_p", "shuffled_p", "row_p", "column_p")) < 5e-4
        assert one.gaussian_distance.value < 0.03
    assert rejected <= 1


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_one_spike_is_beyond_every_null_model(scale):
    W = drawn(96, 96) + 3 * drawn(96, 1, seed=1) @ drawn(1, 96, seed=2) / 9
    one = found(W.double() * scale)
    assert values(one, "gaussian_spikes", "shuffled_spikes", "row_spikes", "column_spikes") == [1, 1, 1, 1]
    assert one.outlier_spikes.value == 0
    assert max(values(one, "gaussian_p", "shuffled_p", "row_p", "column_p")) < 1e-6


def test_huge_entries_are_no_correlation():
    W = drawn(128, 128)
    W[[5, 60, 100], [7, 70, 17]] = 50.0
    one = found(W)
    # of three equal entries one may exceed the largest of another order by chance
    assert one.gaussian_spikes.value == 3
    assert one.outlier_spikes.value >= 2
    assert one.shuffled_p.value > 1e-3
    assert one.excess_kurtosis.value > 50
    assert one.largest_weight.value > 30


def test_a_strong_column_is_what_shuffling_within_columns_keeps():
    W = drawn(200, 60)
    W[:, 3] *= 8
    one = found(W)
    assert values(one, "row_spikes", "shuffled_spikes", "parallel_rank") == [1, 1, 1]
    assert one.column_p.value > 1e-3
    assert one.row_p.value < 1e-6


def test_small_and_large_layers_say_what_is_missing():
    few = found(drawn(3, 40))
    assert few.shuffled_p.value is None
    assert "fewer than 4" in few.shuffled_p.reason
    large = found(drawn(2050, 2049))
    assert large.shuffled_spikes.value is None
    assert "2048" in large.shuffled_spikes.reason
    assert large.shuffled_p.value > 1e-4
    with pytest.raises(InapplicableError, match="zero"):
        found(torch.zeros(6, 6))


def test_products_point_to_their_factors():
    L, R = drawn(8, 2), drawn(2, 9)
    layer = ThinProduct("p", "query_key", (8, 9), Held("p", stacked(L, R)), inner=2)
    with pytest.raises(InapplicableError, match="factors"):
        null_models(factors_of(layer), layer)


def test_equal_weights_have_no_kurtosis():
    one = found(torch.ones(6, 5))
    assert one.excess_kurtosis.value is None
    assert one.shuffled_p.value is None
