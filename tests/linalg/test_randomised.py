"""Bounds hold: on flat, decaying and low-rank spectra, at every scale."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.linalg.panels import Operator, TensorPanels
from lmd.linalg.singular.randomised import randomised_triples, remainder_bound, remainder_from_spectrum
from lmd.linalg.singular.spectrum import scan
from lmd.linalg.singular.triples import defects_of
from tests.references.matrices import constructed

SPECTRA = {
    "flat": torch.ones,
    "linear": lambda n: torch.linspace(1, 0.1, n),
    "decaying": lambda n: torch.logspace(0, -8, n),
    "low rank": lambda n: (torch.arange(n) < 3).float(),
    "low rank and noise": lambda n: (torch.arange(n) < 3) + 1e-10 * torch.ones(n),
    "steep": lambda n: torch.logspace(0, -300, n, dtype=torch.float64),
}

cases = given(
    st.sampled_from(sorted(SPECTRA)),
    st.tuples(st.integers(2, 40), st.integers(2, 40)),
    st.integers(1, 8),
    st.sampled_from([1.0, 1e-30, 1e30]),
    st.integers(0, 999),
)


def build(spectrum: str, shape: tuple[int, int], rank: int, scale: float, seed: int):
    W = constructed(shape, SPECTRA[spectrum](min(shape)).double(), seed) * scale
    operator, generator = Operator(TensorPanels(W)), torch.Generator().manual_seed(seed)
    return W, operator, randomised_triples(operator, min(rank, *shape), generator), generator


@cases
def test_remainder_bound_holds(spectrum: str, shape: tuple[int, int], rank: int, scale: float, seed: int) -> None:
    W, operator, found, generator = build(spectrum, shape, rank, scale, seed)
    missed = torch.linalg.matrix_norm(W - found.U @ (found.U.T @ W), 2).item()
    bound = remainder_bound(operator, found.U, found.S.square().sum().item(), operator.squares(), generator)
    assert missed <= bound


@cases
def test_bound_from_the_spectrum_holds_and_is_close(
    spectrum: str, shape: tuple[int, int], rank: int, scale: float, seed: int
) -> None:
    W, _, found, _ = build(spectrum, shape, rank, scale, seed)
    known = scan(TensorPanels(W)).spectrum
    missed = torch.linalg.matrix_norm(W - found.U @ (found.U.T @ W), 2).item()
    bound = remainder_from_spectrum(known.values, known.error, found.S)
    following = known.values[found.S.numel() :][:1].sum().item()
    assert missed <= bound
    # the allowance for rounding is the root of 2 k s_1 error, about 1e-7 s_1
    assert bound <= 2 * following + 1e-6 * known.values[0]


@cases
@settings(max_examples=40)
def test_orthonormal_and_projected(spectrum: str, shape: tuple[int, int], rank: int, scale: float, seed: int) -> None:
    W, operator, found, _ = build(spectrum, shape, rank, scale, seed)
    assert defects_of(operator, found).orthogonality <= 1e-13
    assert torch.linalg.matrix_norm(found.U.T @ W - found.S[:, None] * found.Vh, 2) <= 1e-13 * scale
    assert (torch.linalg.svdvals(W)[: found.S.numel()] + 1e-13 * scale >= found.S).all()


def test_a_separated_spectrum_is_found_to_rounding() -> None:
    values = torch.cat([torch.tensor([8.0, 7.0, 6.0, 5.0]), torch.full((296,), 1e-2)]).double()
    W = constructed((500, 300), values, 1)
    found = randomised_triples(Operator(TensorPanels(W)), 4, torch.Generator().manual_seed(0))
    assert (found.S - values[:4]).abs().max() <= 1e-13
    assert defects_of(Operator(TensorPanels(W)), found).residual <= 1e-12


@pytest.mark.parametrize("power", [0, 2])
def test_deliberately_bad_subspaces_are_bounded_too(power: int) -> None:
    for seed in range(50):
        W = constructed((60, 50), SPECTRA["decaying"](50).double() ** power, seed)
        generator = torch.Generator().manual_seed(seed)
        U = torch.linalg.qr(torch.randn(60, 5, dtype=torch.float64, generator=generator))[0]
        A = W - U @ (U.T @ W)
        captured = (U.T @ W).square().sum().item()
        bound = remainder_bound(Operator(TensorPanels(W)), U, captured, W.square().sum().item(), generator)
        missed = torch.linalg.matrix_norm(A, 2).item()
        assert missed <= bound <= 4 * missed


def test_same_seed_same_bits() -> None:
    W = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    once, twice = (randomised_triples(Operator(TensorPanels(W)), 3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(once.U, twice.U)
    assert torch.equal(once.Vh, twice.Vh)
