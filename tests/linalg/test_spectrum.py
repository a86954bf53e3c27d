"""Every value within its error estimate of extended precision, and within 1e-10 of the largest of LAPACK's."""

import tracemalloc

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmd.linalg.gram import gram_lower
from lmd.linalg.panels import Operator, TensorPanels
from lmd.linalg.singular.spectrum import gram_values, lapack_values, scan, singular_values
from lmd.linalg.singular.tridiagonal import tridiagonalise
from tests.references.jacobi import jacobi_values, mpmath_values
from tests.references.matrices import constructed, matrices

CLOSE = 1e-10  # of the largest value: what the issue promises


def lapack(W: Tensor) -> Tensor:
    return torch.linalg.svdvals(W.double())


def by_gram(W: Tensor):
    operator = Operator(TensorPanels(W))
    G = gram_lower(operator.panels(), min(W.shape), cut_axis=operator.cut_axis)
    return gram_values(tridiagonalise(G), max(W.shape))


def assert_close(W: Tensor) -> None:
    values, expected = singular_values(W).values, lapack(W)
    assert values.shape == expected.shape
    assert (values - expected).abs().max() <= CLOSE * expected[0]


@given(matrices())
def test_true_error_stays_under_its_estimate(W: Tensor) -> None:
    true = jacobi_values(W.double().numpy())
    for spectrum in (singular_values(W), by_gram(W), lapack_values(Operator(TensorPanels(W)))):
        off = numpy.abs(spectrum.values.numpy().astype(numpy.longdouble) - true)
        assert (off <= spectrum.error.numpy()).all()


@given(matrices(max_side=4))
@settings(max_examples=20)
def test_the_reference_agrees_with_mpmath(W: Tensor) -> None:
    A = W.double().numpy()
    expected = mpmath_values(A)
    # 1e-15: the reference is rounded to double here
    assert numpy.abs(jacobi_values(A).astype(float) - expected).max() <= 1e-15 * expected[0]


@given(matrices(max_side=40), st.sampled_from([1.0, 1e-30, 1e30, 1e-42, 1e-300, 1e300]))
def test_close_to_lapack_at_any_scale(W: Tensor, scale: float) -> None:
    W = W.double() * scale
    values, expected = singular_values(W).values, torch.linalg.svdvals(W)
    assert (values - expected).abs().max() <= CLOSE * expected[0]


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (120, 120), (1, 50), (50, 1), (1, 1), (2000, 30)])
@pytest.mark.parametrize("smallest", [1.0, 1.2e-5, 0.8e-5, 1e-9, 0.0])
def test_close_to_lapack_on_both_sides_of_the_rule(shape: tuple[int, int], smallest: float) -> None:
    values = torch.linspace(1.0, smallest, min(shape), dtype=torch.float64)
    W = constructed(shape, values, seed=7)
    assert_close(W)
    assert_close(W.float())


def test_rule_decides_by_the_smallest_value() -> None:
    kept, redone = (constructed((90, 30), torch.linspace(1, s, 30, dtype=torch.float64), 3) for s in (2e-5, 0.5e-5))
    assert singular_values(kept).method == "gram"
    assert singular_values(redone).method == "lapack"


def test_float32_subnormals_count() -> None:
    W = torch.tensor([[1e-45, 3e-44], [2e-42, 5e-43]], dtype=torch.float32)
    assert_close(W)
    assert singular_values(W).values[1] > 0


def test_float64_subnormals_count() -> None:
    W = torch.tensor([[1e-320, 3e-319], [2e-318, 5e-319]], dtype=torch.float64)
    expected = torch.linalg.svdvals(W * 2.0**1000) / 2.0**1000
    assert (singular_values(W).values - expected).abs().max() <= 2 * 5e-324


def test_zero_matrix() -> None:
    result = scan(TensorPanels(torch.zeros(5, 3)))
    assert result.spectrum.values.tolist() == [0.0, 0.0, 0.0]
    assert result.frobenius_norm == 0.0


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrix_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must have rows and columns"):
        singular_values(torch.zeros(shape))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [(0, 0), (3, 1), (7, 3)])
def test_one_bad_entry_is_refused_and_counted(bad: float, place: tuple[int, int]) -> None:
    W = torch.ones(8, 4)
    W[place] = bad
    for A in (W, W.T, W.double()):
        with pytest.raises(ValueError, match="contains NaN or Inf in 1 of 32 entries"):
            singular_values(A)


def test_complex_is_refused() -> None:
    with pytest.raises(ValueError, match="only real types"):
        singular_values(torch.eye(2, dtype=torch.complex64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8])
def test_narrow_types_are_taken_exactly(dtype: torch.dtype) -> None:
    W = torch.arange(12.0).reshape(4, 3).to(dtype)
    assert_close(W)


@given(matrices(max_side=30), st.integers(0, 99))
def test_rotations_and_permutations_change_nothing(W: Tensor, seed: int) -> None:
    A = W.double()
    rotated = constructed((A.shape[0],) * 2, torch.ones(A.shape[0], dtype=torch.float64), seed) @ A
    permuted = A[torch.randperm(A.shape[0], generator=torch.Generator().manual_seed(seed))]
    values = singular_values(A).values
    for other in (rotated, permuted, permuted.flip(1), -A):
        assert (singular_values(other).values - values).abs().max() <= CLOSE * values[0]


@given(matrices(max_side=30), st.floats(1e-3, 1e3))
def test_scaling_scales(W: Tensor, factor: float) -> None:
    values = singular_values(W).values
    scaled = singular_values(W.double() * factor).values
    assert (scaled - factor * values).abs().max() <= CLOSE * factor * values[0]


@given(matrices(max_side=30))
def test_transposing_changes_nothing(W: Tensor) -> None:
    values = singular_values(W).values
    assert (singular_values(W.T).values - values).abs().max() <= CLOSE * values[0]


@given(st.integers(1, 6), st.integers(6, 20), st.integers(0, 99))
def test_rank_of_a_product_is_at_most_that_of_its_factors(rank: int, side: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    A, B = (torch.randn(side, rank, dtype=torch.float64, generator=generator) for _ in range(2))
    spectrum = singular_values(A @ B.T)
    # the product itself is rounded: side * u of the largest value
    assert (spectrum.values[rank:] <= spectrum.error[rank:] + side * 2.3e-16 * spectrum.values[0]).all()


@given(matrices(max_side=20, min_side=2))
def test_values_interlace_when_a_row_goes(W: Tensor) -> None:
    whole, less = singular_values(W).values, singular_values(W[1:]).values
    slack = CLOSE * whole[0]
    assert (less <= whole[: less.numel()] + slack).all()
    following = whole[1 : less.numel() + 1]
    assert (less[: following.numel()] >= following - slack).all()


@given(matrices(max_side=15), st.integers(0, 99), st.floats(0.0, 10.0))
def test_weyl(W: Tensor, seed: int, size: float) -> None:
    E = size * torch.randn(W.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    before, after, moved = (singular_values(A).values for A in (W, W.double() + E, E))
    assert (after - before).abs().max() <= moved[0] + CLOSE * (before[0] + moved[0])


@given(matrices(max_side=40))
def test_same_bits_twice(W: Tensor) -> None:
    assert torch.equal(singular_values(W).values, singular_values(W.clone()).values)


@given(matrices(max_side=20))
def test_frobenius_norm_is_that_of_the_values(W: Tensor) -> None:
    result = scan(TensorPanels(W))
    # 1e-13: float64, at most 400 squares
    assert result.frobenius_norm == pytest.approx(torch.linalg.vector_norm(result.spectrum.values).item(), rel=1e-9)
    assert result.frobenius_norm == pytest.approx(torch.linalg.vector_norm(W.double()).item(), rel=1e-13)


def test_input_is_left_alone() -> None:
    for W in (torch.randn(60, 20, dtype=torch.float64), torch.zeros(6, 60, dtype=torch.float64), torch.eye(9).double()):
        before = W.clone()
        singular_values(W)
        assert torch.equal(W, before)


def test_memory_is_the_gram_matrix_and_a_panel() -> None:
    W, side = torch.randn(1500, 1200, generator=torch.Generator().manual_seed(0)), 1200
    tracemalloc.start()
    singular_values(W)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # NumPy's memory is traced, torch's panel (8 MB) is not; workspace of sytrd is 32 rows
    assert peak <= 8 * (side**2 + 200 * side)
