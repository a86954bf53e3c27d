"""Layers that are not quite torch's say so, and what is folded says where it is not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmd.atlas.atlas import Atlas
from lmd.pipeline.decompose import decompose


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight - self.weight.mean(), None, 1, 1)


class Masked(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.tril())


def test_a_forward_of_its_own_is_said_and_gives_no_operator() -> None:
    conv, dense = decompose(nn.Sequential(Standardised(3, 4, 3, padding=1), Masked(4, 4)), vectors=0).layers
    assert (conv.entry["kind"], conv.entry["confidence"], dense.entry["confidence"]) == (
        "kernel_matrix",
        "guess",
        "guess",
    )
    assert "Standardised computes its output" in conv.entry["note"]
    assert "Masked computes its output" in dense.entry["note"]


class Sized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 3, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x, output_size=(10, 10))


def test_an_output_of_another_size_than_the_settings_say_gives_no_operator() -> None:
    rows = decompose(Sized(), vectors=0, input_shape=(2, 4, 4)).layers
    assert [row.entry["kind"] for row in rows] == ["kernel_matrix", "conv_symbol"]
    assert "another size" in rows[0].entry["note"]


def test_operators_and_symbols_say_what_is_folded() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).eval()
    kernel, *views, _ = decompose(model, vectors=0, fold_norm=True, input_shape=(2, 6, 6)).layers
    assert "folded in" in kernel.entry["note"]
    assert [row.entry["kind"] for row in views] == ["conv_operator", "conv_symbol"]
    assert all("gain of 1, folded in from behind" in row.entry["note"] for row in views)


def test_equal_singular_values_are_all_found() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, (1, 7), padding=(0, 3), bias=False)
    S = decompose(conv, input_shape=(4, 17, 17)).factors("operator").S
    # each row of the picture is a map of its own: every value occurs seventeen times
    assert torch.allclose(S, S[:1].expand_as(S), rtol=1e-6)


@pytest.mark.parametrize("module", [nn.MultiheadAttention(8, 2), nn.LSTM(4, 6, proj_size=2)], ids=["heads", "product"])
def test_products_with_all_their_vectors_are_saved(module: nn.Module, tmp_path: Path) -> None:
    atlas = decompose(module, out=tmp_path / "a")
    loaded = Atlas.load(tmp_path / "a")
    assert [record.row() for record in loaded.layers] == [record.row() for record in atlas.layers]


def test_a_normalisation_without_a_gain_is_its_spread() -> None:
    norm = nn.BatchNorm1d(2, affine=False, eps=0.0)
    norm.running_var = torch.tensor([4.0, 0.25])
    (row,) = decompose(norm).layers
    assert row.arrays()["spectrum"].tolist() == [2.0, 0.5]
