"""Tables for people say the truth in few characters."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from lmd.cli.plain import plain
from lmd.cli.progress import layer_progress
from lmd.cli.tables import atlas_table, coverage_line
from lmd.pipeline.decompose import decompose
from tests.cli.conftest import Lmd


@given(st.text(max_size=40))
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(plain(text)) == plain(text)
    assert not text.isprintable() or plain(text) == text


@pytest.mark.parametrize(
    ("share", "words"), [(1.0, "100.0 %"), (0.9999, ">99.9 %"), (0.999, "99.9 %"), (0.5, "50.0 %"), (0.0, "0.0 %")]
)
def test_nearly_all_is_not_all(share: float, words: str) -> None:
    line = coverage_line("net", {"parameters": 1234, "decomposed": share, "accounted": 1.0})
    assert line == f"net: 1,234 parameters, {words} decomposed, 100.0 % accounted for"


def test_progress_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with layer_progress(quiet=quiet) as show:
            assert show is None
    assert capsys.readouterr() == ("", "")


def test_every_layer_and_tensor_has_its_line(lmd: Lmd, files: Path) -> None:
    table = lmd("decompose", "ok.pt").stdout
    assert [line.split()[:5] for line in table.splitlines()[2:4]] == [
        ["0", "dense", "8", "x", "6"],
        ["2", "dense", "3", "x", "8"],
    ]
    assert "2 decomposed, 2 vector" in table
    seen = lmd("inspect", "ok.pt").stdout
    assert all(name in seen for name in ("0.weight", "0.bias", "2.weight", "2.bias"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Linear(4 * 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).flatten(1))


def test_the_bracket_of_an_operator_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    atlas = decompose(Net(), input_shape=(3, 6, 6))
    atlas_table(atlas)
    lines = capsys.readouterr().out.splitlines()
    assert "operator norm" in lines[1]
    found = atlas.layer("conv.operator").entry["findings"]
    lower, upper = (float(word) for word in lines[2].rpartition("[")[2].rstrip("] ").split(", "))
    assert lower <= found["operator_norm_lower"]["value"] <= found["operator_norm_upper"]["value"] <= upper
    assert upper <= 1.001 * lower
    assert lines[3].rstrip().endswith("-")


def test_a_shape_that_does_not_fit_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    atlas_table(decompose(Net(), input_shape=(3, 7, 7)))
    shown = capsys.readouterr().out
    assert shown.count("no operator: the forward pass failed with RuntimeError: mat1 and mat2") == 1
    assert "operator norm" not in shown


def test_who_chooses_heads_sees_them_and_how_much_was_not_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    atlas_table(decompose(nn.MultiheadAttention(8, 2), layers="query_key.*"))
    said = capsys.readouterr().out
    assert "query_key.1" in said
    assert "left out by the choice of layers: 2 tensors" in said
    assert "unsupported: " not in said


def test_an_update_without_its_base_shows_no_shape_and_no_legend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"base_model.model.fc.oft_R.weight": torch.zeros(2, 6)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "OFT", "r": 2}')
    atlas_table(decompose(tmp_path))
    shown = capsys.readouterr().out
    assert "2 x 6" not in shown
    assert "Marchenko-Pastur" not in shown


def test_a_bare_file_that_cannot_be_run_names_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4)}, tmp_path / "convs.pt")
    atlas_table(decompose(tmp_path / "convs.pt", input_shape=(3, 9, 9)))
    assert "--builder" in " ".join(capsys.readouterr().out.split())
