"""Factors are what Eckart and Young say, whatever way they were found."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmd.factors import svd
from lmd.factors.factors import Factors
from lmd.factors.svd import factors_of, randomised_factors
from lmd.factors.values import values_of
from lmd.layers.layer_matrix import LayerMatrix, transposed
from lmd.sources.loaders import Held
from tests.references.jacobi import jacobi_values
from tests.references.matrices import constructed, matrices


def layer(W: Tensor, name: str = "fc") -> LayerMatrix:
    return LayerMatrix(name, "dense", (W.shape[0], W.shape[1]), Held(name, W))


def left_out(W: Tensor, factors: Factors, rank: int) -> Tensor:
    return W.double() - (factors.U[:, :rank] * factors.S[:rank]) @ factors.Vh[:rank]


def three_norms(A: Tensor) -> tuple[float, float, float]:
    values = torch.linalg.svdvals(A)
    return values[0].item(), torch.linalg.vector_norm(values).item(), values.sum().item()


@given(matrices(max_side=12))
@settings(max_examples=60)
def test_eckart_young_in_three_norms_for_every_rank(W: Tensor) -> None:
    factors = factors_of(W, vectors=None)
    size = factors.S[0].item()
    for rank in range(factors.rank + 1):
        stated = factors.errors(rank)
        assert stated.direction == "exact"
        # 1e-13: float64, n <= 12, the nuclear norm sums 12 errors
        spectral, frobenius, nuclear = three_norms(left_out(W, factors, rank))
        assert stated.spectral == pytest.approx(spectral, abs=1e-13 * size)
        assert stated.frobenius == pytest.approx(frobenius, abs=1e-13 * size)
        assert stated.nuclear == pytest.approx(nuclear, abs=1e-13 * 12 * size)
        assert factors.optimal_errors(rank) == stated


@given(matrices(max_side=40), st.one_of(st.none(), st.integers(0, 45)))
def test_orthonormal_and_residual_as_stated(W: Tensor, vectors: int | None) -> None:
    factors = factors_of(W, vectors=vectors)
    full = min(W.shape)
    size = torch.linalg.svdvals(W.double())[0].item()
    assert factors.rank == (full if vectors is None else min(vectors, full))
    assert factors.spectrum is not None
    assert factors.spectrum.numel() == full
    assert factors.orthogonality_defect <= 1e-13
    assert factors.residual <= 1e-11 * size
    eye = torch.eye(factors.rank, dtype=torch.float64)
    assert torch.allclose(factors.U.T @ factors.U, eye, rtol=0, atol=1e-13)
    assert torch.allclose(factors.Vh @ factors.Vh.T, eye, rtol=0, atol=1e-13)
    assert torch.allclose(W.double() @ factors.Vh.T, factors.U * factors.S, rtol=0, atol=1e-11 * size)
    assert factors.frobenius_norm == pytest.approx(torch.linalg.vector_norm(W.double()).item(), rel=1e-13)
    assert factors.remainder is None


@given(matrices(max_side=40))
def test_errors_decrease_in_rank(W: Tensor) -> None:
    factors = factors_of(W, vectors=5)
    curve = [factors.errors(rank) for rank in range(min(W.shape) + 1)]
    for one, next_one in pairwise(curve):
        assert next_one.spectral <= one.spectral
        assert next_one.frobenius <= one.frobenius
        assert next_one.nuclear <= one.nuclear
        assert one.spectral <= one.frobenius * (1 + 1e-15)
        assert one.frobenius <= one.nuclear * (1 + 1e-12)
    assert curve[-1].nuclear == 0.0


@given(matrices(max_side=30), st.sampled_from([1e-30, 1e30, 1e-42, 1e-290, 1e290]))
def test_any_scale(W: Tensor, scale: float) -> None:
    W = W.double() * scale
    factors = factors_of(W, vectors=3)
    true = torch.linalg.svdvals(W)
    assert (factors.S - true[: factors.rank]).abs().max() <= 1e-12 * true[0]
    assert factors.residual <= 1e-11 * true[0]


@given(matrices(max_side=40), st.integers(0, 20))
def test_same_bits_twice(W: Tensor, vectors: int) -> None:
    once, twice = factors_of(W, vectors=vectors), factors_of(W.clone(), vectors=vectors)
    for name in ("U", "S", "Vh", "spectrum"):
        assert torch.equal(getattr(once, name), getattr(twice, name))


@given(matrices(max_side=20))
def test_signs_are_fixed(W: Tensor) -> None:
    for row in factors_of(W, vectors=None).Vh:
        assert row[row.abs().argmax()] > 0


@given(matrices(max_side=12))
@settings(max_examples=30)
def test_against_jacobi(W: Tensor) -> None:
    true = torch.from_numpy(jacobi_values(W.double().numpy()).astype(float))
    for factors in (factors_of(W, vectors=None), factors_of(W, vectors=2)):
        assert factors.spectrum is not None
        assert factors.spectrum_error is not None
        # 1e-16: the reference was rounded to double
        assert ((factors.spectrum - true).abs() <= factors.spectrum_error + 1e-16 * true[0]).all()


def test_layer_and_tensor_agree() -> None:
    W = torch.randn(70, 90, generator=torch.Generator().manual_seed(0))
    of_layer, of_tensor = factors_of(layer(W)), factors_of(W)
    assert torch.equal(of_layer.U, of_tensor.U)
    assert (of_layer.layer, of_layer.kind, of_tensor.layer) == ("fc", "dense", "")
    spectrum, norm = values_of(layer(W))
    assert torch.allclose(spectrum.values, of_layer.spectrum, rtol=0, atol=1e-11)
    assert norm == pytest.approx(of_layer.frobenius_norm, rel=1e-13)


@pytest.mark.parametrize("shape", [(50, 40), (40, 50), (40, 40), (3000, 400)])
def test_maps_stored_transposed(shape: tuple[int, int]) -> None:
    W = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    turned = LayerMatrix("emb", "embedding", (shape[1], shape[0]), Held("emb", W), form=transposed)
    expected = torch.linalg.svdvals(W.double())
    factors = factors_of(turned, vectors=4)
    for values in (values_of(turned)[0].values, factors.spectrum):
        assert values is not None
        assert (values - expected).abs().max() <= 1e-10 * expected[0]
    assert torch.allclose(W.double().T @ factors.Vh.T, factors.U * factors.S, rtol=0, atol=1e-11 * expected[0].item())


def test_method_says_how() -> None:
    graded = constructed((90, 80), torch.logspace(0, -7, 80, dtype=torch.float64), 0)
    flat = constructed((90, 80), torch.linspace(1, 0.5, 80, dtype=torch.float64), 0)
    assert factors_of(flat, vectors=3).method == "gram"
    assert factors_of(graded, vectors=3).method == "lapack"
    assert factors_of(flat, vectors=60).method == "lapack"
    assert randomised_factors(flat, 3).method == "randomised"


@pytest.mark.parametrize("rule", [{"rank": 4}, {"energy": 0.9}, {"error": 0.3}, {"energy": 1.0}, {"error": 0.0}])
def test_rules_choose_the_rank(rule: dict[str, float]) -> None:
    W = constructed((30, 20), torch.logspace(0, -2, 20, dtype=torch.float64), 0)
    factors = factors_of(W, **rule)
    relative = factors.errors(factors.rank).frobenius / factors.frobenius_norm
    fewer = factors.errors(factors.rank - 1).frobenius / factors.frobenius_norm
    if "rank" in rule:
        assert factors.rank == 4
    allowed = rule.get("error", (1 - rule.get("energy", 0.0)) ** 0.5)
    assert "rank" in rule or relative <= allowed < fewer


@given(st.sampled_from(["flat", "steep", "low"]), st.integers(1, 6), st.integers(0, 99))
def test_randomised_errors_are_upper_bounds(form: str, rank: int, seed: int) -> None:
    values = {"flat": torch.ones(20), "steep": torch.logspace(0, -6, 20), "low": (torch.arange(20) < 3).float()}[form]
    W = constructed((30, 20), values.double(), seed)
    factors = randomised_factors(layer(W), rank, torch.Generator().manual_seed(seed))
    assert factors.spectrum is None
    for kept in range(rank + 1):
        stated = factors.errors(kept)
        spectral, frobenius, nuclear = three_norms(left_out(W, factors, kept))
        assert stated.direction == "upper"
        assert spectral <= stated.spectral
        assert frobenius <= stated.frobenius
        assert nuclear <= stated.nuclear


@given(st.sampled_from(["flat", "steep", "low", "linear"]), st.integers(1, 6), st.integers(0, 99))
def test_randomised_triples_with_a_known_spectrum(form: str, rank: int, seed: int) -> None:
    forms = {
        "flat": torch.ones(20),
        "steep": torch.logspace(0, -4, 20),
        "low": (torch.arange(20) < 3).float(),
        "linear": torch.linspace(1, 0.1, 20),
    }
    W = constructed((30, 20), forms[form].double(), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svd, "_RANDOMISED_BEYOND", 10)
        factors = factors_of(W, vectors=rank, generator=torch.Generator().manual_seed(seed))
    assert factors.remainder is not None
    assert factors.spectrum is not None
    for kept in range(1, rank + 1):
        stated, optimal = factors.errors(kept), factors.optimal_errors(kept)
        true = three_norms(left_out(W, factors, kept))
        assert stated.direction == "upper"
        assert optimal.direction == "exact"
        for bound, found, best in zip(
            (stated.spectral, stated.frobenius, stated.nuclear),
            true,
            (optimal.spectral, optimal.frobenius, optimal.nuclear),
            strict=True,
        ):
            assert best - 1e-12 <= found <= bound
            assert bound <= 2 * best + 1e-5
    assert factors.errors(rank + 1).direction == "exact"


def test_randomised_beyond_the_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    W = torch.randn(60, 50, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(svd, "_RANDOMISED_BEYOND", 50)
    assert factors_of(W, vectors=3).remainder is None
    monkeypatch.setattr(svd, "_RANDOMISED_BEYOND", 49)
    assert factors_of(W, vectors=3).remainder is not None
    assert factors_of(W, vectors=None).remainder is None


def test_none_is_a_number_too() -> None:
    factors = factors_of(torch.eye(4), vectors=0)
    assert factors.rank == 0
    assert factors.residual == 0.0
    assert factors.errors(1).spectral == 1.0
    assert factors_of(torch.zeros(4, 3), energy=0.5).rank == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "energy": 0.5}, "exclude each other"),
        ({"energy": 0.5, "error": 0.5}, "exclude each other"),
        ({"rank": 0}, "between 1 and 4"),
        ({"rank": 5}, "between 1 and 4"),
        ({"energy": 0.0}, "above 0 and at most 1"),
        ({"energy": 1.5}, "above 0 and at most 1"),
        ({"error": 1.0}, "at least 0 and below 1"),
        ({"error": -0.1}, "at least 0 and below 1"),
        ({"vectors": -1}, "at least 0"),
    ],
)
def test_refusals_say_what_is_allowed(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factors_of(torch.eye(4), **options)


@pytest.mark.parametrize("vectors", [None, 0, 1, 3])
def test_bad_numbers_name_the_layer(vectors: int | None) -> None:
    W = torch.ones(9, 8)
    W[2, 3] = float("nan")
    with pytest.raises(ValueError, match="layer 'fc' contains NaN or Inf in 1 of 72 entries"):
        factors_of(layer(W), vectors=vectors)
    with pytest.raises(ValueError, match="contains NaN or Inf"):
        randomised_factors(layer(W), 1)


def test_empty_is_refused() -> None:
    for vectors in (None, 0, 3):
        with pytest.raises(ValueError, match="must have rows and columns"):
            factors_of(torch.zeros(0, 3), vectors=vectors)
