"""An update's size and overlap are what the two matrices say by themselves."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lmd.factors.svd import factors_of
from lmd.findings.geometry.updates import updates
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.against_base import with_base
from lmd.pipeline.decompose import decompose
from lmd.sources.loaders import Held
from tests.references.matrices import constructed, orthogonal


def against(update: torch.Tensor, base: torch.Tensor):
    shape = (base.shape[0], base.shape[1])
    row = LayerMatrix("w", "difference", shape, Held("w", update))
    beside = with_base(row, LayerMatrix("w", "dense", shape, Held("w", base)))
    return updates(factors_of(row), beside)


@given(st.integers(1, 5), st.floats(1e-6, 10), st.integers(0, 999))
def test_the_layer_scaled_overlaps_wholly(rank: int, step: float, seed: int) -> None:
    base = constructed((9, 7), torch.arange(rank, 0, -1).double(), seed)
    found = against(step * base, base)
    for ratio in (found.update_ratio, found.update_spectral_ratio):
        assert ratio.value == pytest.approx(step, rel=1e-12)
        assert abs(ratio.value - step) <= ratio.error + 1e-15 * step
    for overlap in (found.base_overlap_out, found.base_overlap_in):
        assert overlap.value == pytest.approx(1, abs=1e-9)
        assert abs(overlap.value - 1) <= overlap.error + 1e-12


def test_directions_that_the_layer_has_not_overlap_nowhere() -> None:
    U, V = orthogonal(30, 8, 1), orthogonal(20, 8, 2)
    values = torch.arange(4, 0, -1).double()
    found = against((U[:, 4:] * values) @ V[:, 4:].T, (U[:, :4] * values) @ V[:, :4].T)
    assert found.base_overlap_out.value == pytest.approx(0, abs=1e-20)
    assert found.base_overlap_in.value == pytest.approx(0, abs=1e-20)
    assert (found.base_overlap_out.baseline, found.base_overlap_in.baseline) == (4 / 30, 4 / 20)


def test_random_directions_overlap_as_the_baseline_says() -> None:
    torch.manual_seed(0)
    found = [against(torch.randn(40, 60), torch.randn(40, 60)) for _ in range(60)]
    for key, baseline in (("base_overlap_out", 8 / 40), ("base_overlap_in", 8 / 60)):
        values = [getattr(one, key).value for one in found]
        assert getattr(found[0], key).baseline == pytest.approx(baseline)
        # 60 draws that scatter by about 0.03 each
        assert sum(values) / len(values) == pytest.approx(baseline, abs=0.02)


def test_where_leading_directions_are_not_told_apart_the_overlap_is_unsure() -> None:
    found = against(torch.eye(20), torch.eye(20))
    assert found.base_overlap_out.error == 1.0


def test_a_base_of_zeros_has_a_reason() -> None:
    module, base = nn.Linear(4, 3), nn.Linear(4, 3)
    nn.init.zeros_(base.weight)
    found = decompose(module, base=base).layers[0].entry["findings"]["update_ratio"]
    assert found["value"] is None
    assert found["reason"] == "the layer of the base is zero"
    assert not found["failed"]
