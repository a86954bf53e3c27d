"""What a layer did between two networks, on pairs whose answer is known, and against a slow reference."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lmd
from lmd.linalg.subspaces import random_cosines

GENERATOR = torch.Generator().manual_seed(0)


def layer(W: Tensor) -> nn.Linear:
    module = nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=W.dtype)
    module.weight.data = W.clone()
    return module


def findings(A: Tensor, B: Tensor) -> dict[str, Any]:
    (row,) = lmd.compare(layer(A), layer(B)).pair()["layers"]
    return {"status": row["status"], **row["findings"]}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99), st.sampled_from([1e-3, 0.3, 5.0]))
@settings(max_examples=40)
def test_numbers_are_those_of_a_plain_computation(out: int, inn: int, seed: int, step: float) -> None:
    A = random(out, inn, seed=seed).numpy()
    B = A + step * random(out, inn, seed=seed + 1).numpy()
    found = findings(torch.from_numpy(A), torch.from_numpy(B))
    (U, S, Vh), (X, T, Yh) = (np.linalg.svd(M) for M in (A, B))
    D = np.linalg.svd(B - A, compute_uv=False)
    k = min(int(np.searchsorted(np.cumsum(S**2), 0.9 * (S**2).sum()) + 1), 32, max(1, min(out, inn) // 2))
    unlike = np.abs(U[:, : len(S)].T @ X[:, : min(10, len(S))]).max(axis=0) < 0.5
    expected = {
        "relative_change": np.linalg.norm(B - A) / np.linalg.norm(A),
        "spectral_change": D[0] / S[0],
        "spectra_distance": np.linalg.norm(S - T) / np.linalg.norm(A),
        "change_stable_rank": (D**2).sum() / D[0] ** 2,
        "compared_directions": k,
        "overlap_out": np.linalg.norm(U[:, :k].T @ X[:, :k]) ** 2 / k,
        "overlap_in": np.linalg.norm(Vh[:k] @ Yh[:k].T) ** 2 / k,
        "intruders": unlike.sum(),
    }
    for key, value in expected.items():
        assert found[key]["value"] == pytest.approx(value, abs=1e-8), key
    assert found["spectra_distance"]["value"] <= found["relative_change"]["value"] + 1e-12  # Mirsky
    assert found["overlap_out"]["baseline"] == pytest.approx(k / out)
    assert found["cosines_in"]["baseline"] == pytest.approx(random_cosines(inn, k).tolist())


def test_equal_layers_are_equal_and_share_every_direction() -> None:
    W = random(20, 30)
    found = findings(W, W)
    assert found["status"] == "equal"
    assert found["relative_change"]["value"] == found["intruders"]["value"] == 0
    assert found["overlap_out"]["value"] == found["overlap_in"]["value"] == 1.0
    assert found["change_stable_rank"]["value"] is None
    assert found["change_stable_rank"]["reason"] == "nothing changed"


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_rank_of_an_added_product_is_seen_through_rounding(rank: int, dtype: torch.dtype) -> None:
    W = random(96, 64)
    added = random(96, rank, seed=1) @ random(rank, 64, seed=2) * 0.3
    found = findings(W.to(dtype), (W + added).to(dtype))
    assert found["status"] == "changed"
    assert found["change_above_rounding"]["value"] == rank
    assert found["change_stable_rank"]["value"] <= rank + 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_copy_in_another_type_is_equal_up_to_rounding(dtype: torch.dtype) -> None:
    W = random(80, 50).float()
    found = findings(W, W.to(dtype))
    assert found["status"] == "rounding"
    assert found["change_above_rounding"]["value"] == 0


def test_rotated_outputs_keep_spectrum_and_inputs() -> None:
    W = random(40, 24)
    Q = torch.linalg.qr(random(40, 40, seed=5)).Q
    found = findings(W, Q @ W)
    assert found["spectra_distance"]["value"] < 1e-12
    assert found["overlap_in"]["value"] == pytest.approx(1.0)
    assert found["overlap_out"]["value"] < 0.6
    # some direction of 40 may be near one of 24 by chance
    assert found["intruders"]["value"] >= 8


def test_a_strong_new_direction_is_one_intruder() -> None:
    W = random(64, 48)
    new = torch.outer(torch.linalg.qr(random(64, 1, seed=7)).Q[:, 0], random(48, seed=8))
    # in 64 dimensions a fixed direction is seldom near one of the 48
    found = findings(W, W + 10 * new)
    assert found["intruders"]["value"] == 1
    assert found["intruders"]["baseline"] > 9


def test_unrelated_matrices_look_like_chance() -> None:
    found = findings(random(200, 100), random(200, 100, seed=9))
    assert found["relative_change"]["value"] == pytest.approx(found["relative_change"]["baseline"], rel=0.02)
    assert found["overlap_out"]["value"] == pytest.approx(found["overlap_out"]["baseline"], abs=0.03)
    assert found["shared_out"]["value"] == 0
    cosines = np.array(found["cosines_out"]["value"]) - np.array(found["cosines_out"]["baseline"])
    assert np.abs(cosines).max() < 0.1


def test_small_noise_moves_the_spectrum_as_first_order_says() -> None:
    W = random(60, 60)
    found = findings(W, W + 1e-4 * random(60, 60, seed=4))
    assert found["spectra_distance"]["value"] == pytest.approx(found["spectra_distance"]["baseline"], rel=0.3)


def test_a_layer_that_was_zero_has_a_reason() -> None:
    found = findings(torch.zeros(3, 3), torch.ones(3, 3))
    assert found["relative_change"]["value"] is None
    assert "zero" in found["relative_change"]["reason"]
    assert findings(torch.zeros(3, 3), torch.zeros(3, 3))["status"] == "equal"
