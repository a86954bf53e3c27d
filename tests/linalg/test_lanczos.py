"""Lanczos against LAPACK: values, vectors, values that coincide, maps without directions left."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.linalg.singular.lanczos import LinearMap, lanczos_triples


def as_map(A):
    return LinearMap((A.shape[0], A.shape[1]), lambda V: V @ A.T, lambda U: U @ A, A.dtype)


def with_values(out, inn, values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    U = torch.linalg.qr(torch.randn(out, len(values), dtype=torch.float64, generator=generator))[0]
    V = torch.linalg.qr(torch.randn(inn, len(values), dtype=torch.float64, generator=generator))[0]
    return (U * torch.tensor(values, dtype=torch.float64)) @ V.T


def check(A, triples, tolerance):
    S = torch.linalg.svdvals(A)
    assert (triples.S - S[: len(triples.S)]).abs().max() <= tolerance * S[0]
    assert (A @ triples.Vh.T - triples.U * triples.S).norm() <= 1e-12 * S[0]
    assert (A.T @ triples.U - triples.Vh.T * triples.S).norm() <= 1e-7 * S[0]
    for Q in (triples.U, triples.Vh.T):
        assert (Q.T @ Q - torch.eye(Q.shape[1], dtype=torch.float64)).norm() <= 1e-12


@settings(max_examples=15, deadline=None)
@given(st.integers(40, 140), st.integers(40, 140), st.integers(1, 6), st.integers(0, 99))
def test_leading_triples_are_those_of_lapack(out, inn, count, seed):
    A = torch.randn(out, inn, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = lanczos_triples(as_map(A), count, torch.Generator().manual_seed(1), block=min(4, count))
    check(A, found, 1e-12)


def test_values_that_coincide_come_as_often_as_they_are():
    A = with_values(200, 150, [3.0, 3.0, 3.0, 3.0, 2.0, 2.0, *torch.linspace(1.9, 0, 140).tolist()])
    found = lanczos_triples(as_map(A), 6, torch.Generator().manual_seed(0))
    check(A, found, 1e-12)


def test_a_small_basis_is_restarted():
    values = torch.linspace(1.0, 0.9, 300).tolist()
    A = with_values(400, 300, values)
    found = lanczos_triples(as_map(A), 2, torch.Generator().manual_seed(0), block=2)
    check(A, found, 1e-10)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_map_without_directions_left_is_no_trouble(rank):
    A = with_values(60, 50, [2.0, 1.0, 0.5][:rank])
    found = lanczos_triples(as_map(A), 5, torch.Generator().manual_seed(0))
    assert (found.S[:rank] - torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)[:rank]).abs().sum() < 1e-12
    assert found.S[rank:].abs().sum() < 1e-12


def test_narrow_numbers_cost_nothing_of_the_values():
    A = torch.randn(300, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = lanczos_triples(as_map(A.float()), 4, torch.Generator().manual_seed(0), tolerance=1e-6, exact=as_map(A))
    S = torch.linalg.svdvals(A)
    assert (found.S - S[:4]).abs().max() <= 1e-10 * S[0]
    assert (found.S / S[:4]).max() <= 1 + 1e-14


def test_the_work_is_bounded():
    A = torch.randn(500, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    seen = []

    def apply(V):
        seen.append(len(V))
        return V @ A.T

    lanczos_triples(LinearMap((500, 400), apply, lambda U: U @ A), 4, torch.Generator(), most_applications=40)
    assert sum(seen) <= 40


def test_a_map_too_small_for_the_bases_is_refused():
    with pytest.raises(ValueError, match="bases of 18 vectors do not fit"):
        lanczos_triples(as_map(torch.eye(8, dtype=torch.float64)), 2, torch.Generator())


def test_a_guess_saves_work_and_hides_nothing():
    A = with_values(400, 300, torch.linspace(1.0, 0.9, 300).tolist())
    S = torch.linalg.svdvals(A)
    right = torch.linalg.svd(A)[2]
    work = {}
    # the second guess is all of what is wanted, the third has nothing of it
    for name, guess in (("none", None), ("good", right[:2]), ("bad", right[200:202])):
        said = []
        found = lanczos_triples(
            as_map(A), 2, torch.Generator().manual_seed(0), block=2, tolerance=1e-6, start=guess, told=said.append
        )
        assert (found.S - S[:2]).abs().max() <= 1e-9
        work[name] = int(said[-1].split()[0])
    assert work["good"] < work["none"]
