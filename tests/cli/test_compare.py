"""`lmd compare A B` and its page."""

import json
from pathlib import Path

import torch
from torch import nn

import lmd as library
from tests.cli.conftest import Lmd


def test_a_comparison_is_printed_saved_and_drawn(lmd: Lmd, files: Path) -> None:
    state = torch.load(files / "ok.pt")
    torch.save({name: 1.1 * tensor for name, tensor in state.items()}, files / "later.pt")
    result = lmd("compare", "ok.pt", "later.pt", "ok.pt", "--out", "cmp")
    assert result.exit_code == 0
    assert "A → B: 2 changed; matched by name" in result.stdout
    assert "A → C: equal: every number of every layer is the same" in result.stdout
    assert "over the 3 checkpoints" in result.stdout
    page = (files / "cmp" / "report.html").read_text()
    assert "<svg class=figure" in page
    assert "<script" not in page
    assert "http" not in page.replace("arXiv", "")
    assert lmd("report", "cmp", "--out", "page.html").exit_code == 0
    assert (files / "page.html").read_text() == page
    assert "2 changed" in lmd("compare", "cmp").stdout
    assert lmd("compare", "ok.pt", "later.pt", "--out", "cmp").exit_code == 2


def test_the_document_has_pairs_and_trajectory(lmd: Lmd, files: Path) -> None:
    document = json.loads(lmd("compare", "ok.pt", "ok.safetensors", "--json").stdout)
    assert document["pairs"][0]["equal"]
    assert [layer["name"] for layer in document["trajectory"]["layers"]] == ["0", "2"]
    assert set(document["pairs"][0]["layers"][0]["findings"]) <= set(document["glossary"])


def test_a_recorded_training_has_the_same_trajectory(lmd: Lmd, tmp_path: Path) -> None:
    model, recorder = nn.Linear(4, 3), library.Recorder(tmp_path / "record", every=1)
    for step in range(3):
        recorder.step(model, step)
        with torch.no_grad():
            model.weight.mul_(1.5)
    document = json.loads(lmd("compare", "record", "--json").stdout)
    assert [step["step"] for step in document["trajectory"]["steps"]] == [0, 1, 2]
    assert "change since the first" in lmd("compare", "record").stdout
    assert lmd("report", "record").exit_code == 0


def test_what_is_wrong_has_its_code(lmd: Lmd, files: Path) -> None:
    assert lmd("compare", "ok.pt").exit_code == 2
    assert lmd("compare", "ok.pt", "ok.pt", "--align", "x").exit_code == 2
    assert lmd("compare", "ok.pt", "small.pt").exit_code == 2
    assert lmd("compare", "ok.pt", "absent.pt").exit_code == 3
    assert lmd("compare", "ok.pt", "trap.pt").exit_code == 4
    assert lmd("compare", "ok.pt", "nan.pt").exit_code == 5
