"""`lmd decompose TUNED --base ORIGINAL`."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.cli.conftest import Lmd


def _write(folder: Path) -> None:
    torch.manual_seed(0)
    base = {"a.weight": torch.randn(6, 5), "b.weight": torch.randn(4, 6), "gone.weight": torch.randn(3, 3)}
    save_file(base, folder / "original.safetensors")
    tuned = {"a.weight": base["a.weight"].clone(), "b.weight": base["b.weight"] + 0.1, "new.weight": torch.ones(2, 7)}
    save_file(tuned, folder / "tuned.safetensors")


def test_equal_layers_are_zero_and_lone_ones_have_reasons(lmd: Lmd, tmp_path: Path) -> None:
    _write(tmp_path)
    result = lmd("decompose", "tuned.safetensors", "--base", "original.safetensors", "--json", "--out", "atlas")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert set(layers) == {"a", "b", "new", "gone"}
    assert set(layers["a"]["singular_values"]) == {0.0}
    assert layers["b"]["findings"]["numerical_rank"]["value"] >= 1
    assert layers["new"]["singular_values"] is None
    assert document["coverage"]["accounted"] == 1.0
    assert document["provenance"]["base"]["name"] == "original.safetensors"
    assert lmd("report", "atlas").exit_code == 0


def test_the_table_names_what_was_not_compared(lmd: Lmd, tmp_path: Path) -> None:
    _write(tmp_path)
    result = lmd("decompose", "tuned.safetensors", "--base", "original.safetensors")
    assert result.exit_code == 0
    assert "not compared: new: the base has no layer of this name" in result.stdout
    assert "not compared: gone: only the base has a layer of this name" in result.stdout


def test_a_base_that_is_not_there_ends_with_3(lmd: Lmd, tmp_path: Path) -> None:
    _write(tmp_path)
    assert lmd("decompose", "tuned.safetensors", "--base", "absent.safetensors").exit_code == 3
