"""A block-diagonal map, block by block, is what its dense matrix is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmd.factors.svd import factors_of
from lmd.factors.values import values_of
from lmd.layers.layer_matrix import LayerMatrix
from lmd.sources.loaders import Held
from tests.references.block_diagonal import dense


def layer(blocks: Tensor) -> LayerMatrix:
    groups, o, i = blocks.shape
    return LayerMatrix("norm", "diagonal", (groups * o, groups * i), Held("norm", blocks), groups=groups)


@st.composite
def stacks(draw: st.DrawFn) -> Tensor:
    shape = (draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    blocks = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 999))))
    blocks = blocks.round() if draw(st.booleans()) else blocks
    return blocks * draw(st.sampled_from([1.0, 1e-30, 1e30]))


@given(stacks(), st.one_of(st.none(), st.integers(0, 30)))
def test_equal_to_the_dense_matrix(blocks: Tensor, vectors: int | None) -> None:
    W, factors = dense(blocks), factors_of(layer(blocks), vectors=vectors)
    expected = torch.linalg.svdvals(W)
    full, size = expected.numel(), expected[0].item()
    assert factors.method == "blocks"
    assert factors.groups == blocks.shape[0]
    assert factors.rank == (full if vectors is None else min(full, vectors))
    assert factors.spectrum is not None
    assert (factors.spectrum - expected).abs().max() <= 1e-13 * size
    assert factors.frobenius_norm == pytest.approx(torch.linalg.vector_norm(W).item(), rel=1e-13)
    assert torch.allclose(W @ factors.Vh.T, factors.U * factors.S, rtol=0, atol=1e-13 * size)
    assert torch.allclose(W.T @ factors.U, factors.Vh.T * factors.S, rtol=0, atol=1e-13 * size)
    assert factors.orthogonality_defect <= 1e-13
    assert factors.residual <= 1e-13 * size


@given(stacks())
@settings(max_examples=50)
def test_values_alone_agree(blocks: Tensor) -> None:
    spectrum, norm = values_of(layer(blocks))
    factors = factors_of(layer(blocks), vectors=None)
    assert factors.spectrum is not None
    assert torch.allclose(spectrum.values, factors.spectrum, rtol=0, atol=1e-13 * factors.spectrum[0].item())
    assert norm == pytest.approx(factors.frobenius_norm, rel=1e-14)
    true = torch.linalg.svdvals(blocks.double()).flatten().sort(descending=True).values
    assert ((spectrum.values - true).abs() <= 2 * spectrum.error).all()


def test_diagonal_maps_are_their_entries() -> None:
    weight = torch.tensor([0.5, -3.0, 0.0, 2.0, -3.0])
    factors = factors_of(LayerMatrix("n", "diagonal", (5, 5), Held("n", weight), groups=5), vectors=3)
    assert factors.spectrum is not None
    assert factors.spectrum.tolist() == [3.0, 3.0, 2.0, 0.5, 0.0]
    assert factors.Vh.tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert factors.U.T.tolist() == [[0, -1, 0, 0, 0], [0, 0, 0, 0, -1], [0, 0, 0, 1, 0]]


def test_bad_and_empty_blocks_are_refused() -> None:
    blocks = torch.ones(3, 2, 2)
    blocks[1, 0, 1] = float("inf")
    with pytest.raises(ValueError, match="layer 'norm' contains NaN or Inf in 1 of 12 entries"):
        factors_of(layer(blocks))
    with pytest.raises(ValueError, match="must have rows and columns"):
        values_of(LayerMatrix("n", "diagonal", (4, 0), Held("n", torch.ones(2, 2, 0)), groups=2))


@pytest.mark.parametrize("rule", [{"energy": 0.9}, {"error": 0.2}, {"rank": 4}])
def test_rules_work_on_blocks(rule: dict[str, float]) -> None:
    blocks = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    chosen, of_dense = factors_of(layer(blocks), **rule), factors_of(dense(blocks), **rule)
    assert chosen.rank == of_dense.rank
