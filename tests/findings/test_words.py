"""Words and sentences on matrices with a known answer, and on a real model."""

from pathlib import Path

import pytest
import torch

import lmd
from lmd.findings.sentence import CLAUSES
from lmd.findings.words import RULES

_PAGE = (Path(__file__).resolve().parents[2] / "docs/words.md").read_text(encoding="utf-8")


def record(W):
    layer = torch.nn.Linear(W.shape[1], W.shape[0], bias=False)
    layer.weight.data = W.float()
    return lmd.decompose(layer).layers[0]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthogonal(size):
    return torch.linalg.qr(drawn(size, size))[0]


def test_gaussian_matrices_are_random():
    assert sum(record(drawn(96, 96, seed=seed)).words == ["random"] for seed in range(12)) >= 11


@pytest.mark.parametrize("shape", [(96, 96), (64, 160)])
def test_one_spike_above_the_edge_is_not_random(shape):
    edge = shape[0] ** 0.5 + shape[1] ** 0.5
    u, v = (torch.nn.functional.normalize(drawn(side, seed=5), dim=0) for side in shape)
    words = record(drawn(*shape) + 1.3 * edge * torch.outer(u, v)).words
    assert "random" not in words
    assert "trained" in words


def test_a_few_huge_entries_are_called_what_they_are():
    W = drawn(128, 128)
    W[[5, 60, 100], [7, 70, 17]] = torch.tensor([60.0, 50.0, 40.0])
    found = record(W)
    assert found.words == ["outlier-driven"]
    assert "a few huge weights" in found.sentence


@pytest.mark.parametrize("W", [torch.ones(64, 64), torch.rand(100, 100, generator=torch.Generator().manual_seed(0))])
def test_a_mean_is_no_outlier(W):
    found = record(W)
    assert "outlier-driven" not in found.words
    assert "huge" not in found.sentence


def test_directions_that_are_missing_are_no_chance():
    U, S, Vh = torch.linalg.svd(drawn(128, 128).double())
    S[-20:] = 0
    assert "random" not in record((U * S) @ Vh).words


def test_rows_that_sum_to_zero_are_no_chance():
    W = drawn(10, 64)
    assert record(W).words == ["random"]
    assert "random" not in record(W - W.mean(dim=0)).words


@pytest.mark.parametrize(
    ("count", "word"), [(8, "an 8"), (11, "an 11"), (18, "an 18"), (81, "an 81"), (9, "a 9"), (110, "a 110")]
)
def test_the_article_fits_the_number(count, word):
    assert f"ignores {word}-dimensional part" in record(torch.eye(4 + count)[:4]).sentence


def test_a_map_of_few_directions_is_collapsed():
    W = drawn(64, 3, seed=1) @ drawn(3, 64, seed=2)
    found = record(W)
    assert "collapsed" in found.words
    assert "Keeps 3 of 64 directions" in found.sentence
    assert "ignores a 61-dimensional part of its input" in found.sentence


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rotations_are_near_isometric(scale):
    found = record(scale * orthogonal(32))
    assert "near-isometric" in found.words
    assert "random" not in found.words
    assert "stretches all directions alike" in found.sentence


def test_small_matrices_have_no_words_and_differ_from_nothing():
    found = record(drawn(7, 40))
    assert found.words == []
    assert "random matrix (" not in found.sentence


def test_a_zero_matrix_and_a_broken_one_say_why():
    assert record(torch.zeros(9, 9)).sentence == "All its 9 x 9 weights are 0."
    broken = drawn(9, 9)
    broken[0, 0] = torch.nan
    assert record(broken).sentence.startswith("Not decomposed: ")


def test_the_document_has_both():
    layer = lmd.decompose(torch.nn.Linear(16, 16)).document()["layers"][0]
    assert isinstance(layer["words"], list)
    assert layer["sentence"].endswith(".")


def test_every_clause_has_a_number():
    for seed, shape in enumerate([(40, 40), (16, 90), (90, 16)]):
        for clause in record(drawn(*shape, seed=seed)).sentence.split(", "):
            assert any(letter.isdigit() for letter in clause), clause


def test_the_page_lists_every_rule():
    assert [rule.word for rule in RULES if f"| {rule.word} | {rule.test} | {rule.source} |" not in _PAGE] == []
    assert [when for when, _ in CLAUSES if f"| {when} |" not in _PAGE] == []
