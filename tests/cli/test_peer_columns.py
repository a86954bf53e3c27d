"""The columns of WeightWatcher on the command line."""

import csv
import json

import torch
from torch import nn
from typer.testing import CliRunner

from lmd.cli.app import app


def saved(folder):
    torch.manual_seed(0)
    path = folder / "model.pt"
    torch.save(nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 4)).state_dict(), path)
    return str(path)


def ran(*words):
    result = CliRunner().invoke(app, ["decompose", *words, "--quiet"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_shows_the_fit_and_what_a_random_layer_has(tmp_path):
    shown = ran(saved(tmp_path), "--weightwatcher-columns")
    assert "alpha" in shown
    assert "random" in shown
    assert "30 x 20" in shown


def test_the_document_and_the_files_have_the_rows(tmp_path):
    words = (saved(tmp_path), "--weightwatcher-columns", "--fit-draws", "5", "--out", str(tmp_path / "atlas"))
    document = json.loads(ran(*words, "--export", "csv", "--export", "json", "--json"))
    assert [row["longname"] for row in document["weightwatcher"]] == ["0", "1"]
    assert 0 < document["weightwatcher"][0]["pl_p"] <= 1
    with (tmp_path / "atlas" / "weightwatcher.csv").open() as file:
        assert [row["longname"] for row in csv.DictReader(file)] == ["0", "1"]
    assert json.loads((tmp_path / "atlas" / "weightwatcher.json").read_text()) == document["weightwatcher"]


def test_draws_without_a_fit_are_refused(tmp_path):
    result = CliRunner().invoke(app, ["decompose", saved(tmp_path), "--fit-draws", "5"])
    assert result.exit_code == 2
    assert "--weightwatcher-columns" in result.output
