"""``--json``: one document on stdout, of the agreed keys and types, and nothing else."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.cli.conftest import Lmd
from tests.cli.documents import check_document, strict_json

KEYS = {
    "spectral_norm",
    "frobenius_norm",
    "nuclear_norm",
    "smallest_gain",
    "condition_number",
    "numerical_rank",
    "stable_rank",
    "effective_rank",
    "participation_ratio",
    "rank_90",
    "rank_95",
    "rank_99",
    "rank_99_9",
    "eckart_young",
    "noise_edge",
    "spikes",
}


@pytest.mark.parametrize("name", ["ok.pt", "old.pt", "ok.safetensors", "nan.pt", "zero.pt", "small.pt"])
@pytest.mark.parametrize("vectors", ["all", "none", "2"])
def test_documents_hold_what_was_agreed(lmd: Lmd, files: Path, name: str, vectors: str) -> None:
    result = lmd("decompose", name, "--json", "--vectors", vectors)
    assert result.exit_code == (5 if name == "nan.pt" else 0)
    assert result.stderr == ""
    document = strict_json(result.stdout)
    check_document(document)
    for layer in document["layers"]:
        assert set(layer["findings"]) >= KEYS
        most = {"all": 9, "none": 0, "2": 2}[vectors]
        assert layer["rank"] == (0 if layer["failed"] else min(most, *layer["shape"]))


def test_documents_of_every_kind(lmd: Lmd, files: Path) -> None:
    torch.manual_seed(1)
    model = nn.ModuleDict(
        {
            "embed": nn.Embedding(11, 6),
            "conv": nn.Conv2d(4, 6, 3, groups=2),
            "norm": nn.BatchNorm2d(6),
            "attn": nn.MultiheadAttention(8, 2),
            "rnn": nn.LSTM(5, 4, bidirectional=True),
            "up": nn.ConvTranspose1d(3, 5, 2),
        }
    )
    (files / "build.py").write_text(
        "import torch\nmodel = None\ndef make():\n    return torch.load('model', weights_only=False)\n"
    )
    torch.save(model, files / "model")
    torch.save(model.state_dict(), files / "kinds.pt")
    for words in ([], ["--builder", "build.py:make"]):
        result = lmd("decompose", "kinds.pt", "--json", *words)
        assert result.exit_code == 0, result.stderr
        document = strict_json(result.stdout)
        check_document(document)
        assert document["coverage"]["accounted"] == 1.0
        names = {layer["name"] for layer in document["layers"]}
        assert all(layer["view_of"] in names | {None} for layer in document["layers"])


def test_inspection_agrees_with_decomposition(lmd: Lmd, files: Path) -> None:
    for name in ("ok.pt", "ok.safetensors", "small.pt"):
        seen, done = (strict_json(lmd(command, name, "--json").stdout) for command in ("inspect", "decompose"))
        assert seen["coverage"] == done["coverage"]
        assert seen["schema_version"] == done["schema_version"]


def test_doctor(lmd: Lmd) -> None:
    result = lmd("doctor", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = strict_json(result.stdout)
    assert found["packages"]["torch"]
    assert set(found["threads"]) == {"cores", "torch", "blas"}
    assert "torch" in lmd("doctor").stdout
