"""Exit codes, streams, and one line that says what came, what is allowed and what to do."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Lmd

UNREADABLE = {
    "absent.pt": "does not exist",
    "owner/absent.safetensors": "does not exist",
    "empty.pt": "empty file",
    "empty.safetensors": "empty file",
    "half_ok.pt": "cut short",
    "almost_ok.pt": "cut short",
    "half_old.pt": "cut short",
    "almost_old.pt": "cut short",
    "half_ok.safetensors": "cut short",
    "almost_ok.safetensors": "cut short",
    "notes.txt": "no format",
    "notes.pt": "not a torch checkpoint",
    "picture.png": "no format",
    "weightless": "no weights",
    "tensorless.pt": "state_dict",
}


def complaint(result: object) -> str:
    """The one line on stderr."""
    lines = result.stderr.splitlines()  # type: ignore[attr-defined]  # click's result
    assert len(lines) == 1, lines
    assert lines[0].startswith("lmd: ")
    assert result.stdout == ""  # type: ignore[attr-defined]
    return lines[0]


@pytest.mark.parametrize("command", ["decompose", "inspect"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_models_end_with_3_and_one_line(lmd: Lmd, files: Path, command: str, name: str) -> None:
    result = lmd(command, name)
    assert result.exit_code == 3
    line = complaint(result)
    assert Path(name).name in line or name == "tensorless.pt"
    assert UNREADABLE[name] in line
    # what came; what is allowed and what to do
    assert ";" in line or line.count(". ") >= 1


@pytest.mark.parametrize("name", ["trap.pt", "trap.pkl"])
@pytest.mark.parametrize("command", ["decompose", "inspect"])
def test_files_that_would_run_code_end_with_4_and_run_nothing(lmd: Lmd, files: Path, command: str, name: str) -> None:
    result = lmd(command, name, *(["--out", "atlas"] if command == "decompose" else []))
    assert result.exit_code == 4
    assert "mkdir" in complaint(result)
    assert not (files / "trapped").exists()
    assert not (files / "atlas").exists()


USAGE = {
    "--bogus": "--bogus",
    "--seed x": "integer",
    "--threads 0": "--threads",
    "--rank 0": "rank=0",
    "--rank x": "--rank",
    "--rank 2 --energy 0.5": "exclude each other",
    "--energy 0.5 --error 0.1": "exclude each other",
    "--rank 2 --vectors all": "exclude each other",
    "--energy 1.5": "energy=1.5",
    "--energy nan": "energy=nan",
    "--error 1": "error=1.0",
    "--vectors some": "all, none or a number",
    "--vectors -1": "all, none or a number",
    "--layers nothing*": "names look like 0, 2",
    "--kind dense": "GLOB=KIND",
    "--kind 0=": "GLOB=KIND",
    "--kind 0=tensor": "no kind",
    "--kind nowhere=dense": "fits no module",
    "--builder module": "FILE.py:FUNCTION",
    "--builder absent.py:make": "does not exist",
    "--builder build.py:absent": "no function",
    "--builder build.py:wrong": "torch.nn.Module",
    "--builder build.py:other": "lacks",
    "--resume": "out",
    "--out atlas --resume": "no atlas",
    "--out atlas --resume --force": "exclude each other",
    "--out weightless": "not empty",
    "--out ok.pt": "is a file",
    "--export xml": "csv, parquet, json",
    "--device cuda": "cpu",
}

BUILD = """
import torch
def make():
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
def other():
    return torch.nn.Linear(6, 8)
wrong = dict
"""


@pytest.mark.parametrize("words", USAGE)
def test_wrong_words_end_with_2_and_one_line(lmd: Lmd, files: Path, words: str) -> None:
    (files / "build.py").write_text(BUILD)
    before = sorted(files.iterdir())
    result = lmd("decompose", "ok.pt", *words.split())
    assert result.exit_code == 2
    assert USAGE[words] in complaint(result)
    # a cache of the builder's bytecode is Python's own
    assert [path for path in sorted(files.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize("words", [["bogus"], ["decompose"], ["report"], ["decompose", "ok.pt", "--kind"]])
def test_missing_and_unknown_words_end_with_2_and_one_line(lmd: Lmd, files: Path, words: list[str]) -> None:
    result = lmd(*words)
    assert result.exit_code == 2
    assert "--help` says what is allowed" in complaint(result)


def test_without_words_the_help_is_no_result(lmd: Lmd) -> None:
    result = lmd()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "decompose" in result.stderr
    assert lmd("--help").exit_code == 0


def test_version(lmd: Lmd) -> None:
    from lmd import __version__

    result = lmd("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"lmd {__version__}\n", "")


def test_an_atlas_is_not_overwritten_unless_asked(lmd: Lmd, files: Path) -> None:
    assert lmd("decompose", "ok.pt", "--out", "atlas").exit_code == 0
    before = {path.name: path.read_bytes() for path in (files / "atlas").iterdir()}
    result = lmd("decompose", "zero.pt", "--out", "atlas")
    assert result.exit_code == 2
    assert "--resume" in complaint(result)
    assert {path.name: path.read_bytes() for path in (files / "atlas").iterdir()} == before
    (files / "atlas" / "2024-mine.safetensors").write_bytes(b"the user's own")
    assert lmd("decompose", "zero.pt", "--out", "atlas", "--force").exit_code == 0
    names = {path.name for path in (files / "atlas").iterdir()}
    assert "2024-mine.safetensors" in names
    assert len(names) == 1 + 1 + 2
    assert lmd("decompose", "zero.pt", "--out", "atlas", "--resume").exit_code == 0


@pytest.mark.parametrize("command", [["decompose", "ok.pt", "--out", "ok.pt/deeper"], ["demo", "--out", "ok.pt/demo"]])
def test_unwritable_outputs_end_with_3(lmd: Lmd, files: Path, command: list[str]) -> None:
    result = lmd(*command)
    assert result.exit_code == 3
    assert "check the path" in result.stderr.splitlines()[-1]
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["nan.pt", "inf.pt"])
def test_a_bad_layer_costs_one_row_and_ends_with_5(lmd: Lmd, files: Path, name: str) -> None:
    result = lmd("decompose", name, "--out", "atlas", "--json")
    assert result.exit_code == 5
    bad, good = json.loads(result.stdout)["layers"]
    assert bad["failed"]
    assert "NaN or Inf in 1 of 48" in bad["reason"]
    assert bad["singular_values"] is None
    assert all(f["value"] is None and "NaN or Inf" in f["reason"] for f in bad["findings"].values())
    assert len(good["singular_values"]) == 3
    table = lmd("decompose", name)
    assert table.exit_code == 5
    assert "failed: 0:" in table.stdout
    from lmd.atlas.atlas import Atlas

    saved = Atlas.load(files / "atlas")
    assert [record.failed for record in saved.layers] == [True, False]
    assert [t.status for t in saved.coverage.tensors] == ["failed", "vector", "decomposed", "vector"]
    assert saved.coverage.accounted == 1.0
    with pytest.raises(ValueError, match="was not decomposed"):
        saved.factors("0")


def test_a_zero_matrix_is_no_failure(lmd: Lmd, files: Path) -> None:
    result = lmd("decompose", "zero.pt", "--json")
    assert result.exit_code == 0
    zero, other = json.loads(result.stdout)["layers"]
    assert zero["singular_values"] == [0.0] * 4
    missing = {key for key, f in zero["findings"].items() if f["value"] is None}
    assert {"condition_number", "stable_rank", "eckart_young"} <= missing
    assert all(zero["findings"][key]["reason"] for key in missing)
    assert other["findings"]["stable_rank"]["value"] > 1
    assert lmd("decompose", "zero.pt").exit_code == 0


def test_numbers_and_vectors_are_accounted_for(lmd: Lmd, files: Path) -> None:
    result = lmd("decompose", "small.pt", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    status = {t["name"]: (t["status"], bool(t["reason"])) for t in document["coverage"]["tensors"]}
    assert status == {"scale": ("vector", True), "vector": ("vector", True), "one.weight": ("decomposed", False)}
    assert document["coverage"]["accounted"] == 1.0
    assert document["layers"][0]["singular_values"] == [1.0]


def test_numbers_beyond_float64_are_null_with_a_reason(lmd: Lmd, files: Path) -> None:
    torch.save({"w.weight": torch.full((4, 4), 1.7e308, dtype=torch.float64)}, files / "huge.pt")
    result = lmd("decompose", "huge.pt", "--json", "--out", "atlas")
    assert result.exit_code == 0
    layer = json.loads(result.stdout)["layers"][0]
    assert layer["singular_values"][0] is None
    assert layer["reason"] == "beyond the range of float64: frobenius_norm"


def test_facts_that_are_no_json_do_not_stop_a_run(lmd: Lmd, files: Path) -> None:
    folder = files / "folder"
    folder.mkdir()
    save_file({"l.weight": torch.eye(3)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "unheard", "best_loss": Infinity}')
    for command in ("decompose", "inspect"):
        result = lmd(command, "folder", "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["facts"]["config"]["best_loss"]["value"] is None


def test_names_cannot_command_the_terminal(lmd: Lmd, files: Path) -> None:
    name = "a\x1b[31m\n/ü\"'"
    torch.save(
        {f"{name}.weight": torch.eye(3), f"{name}.bad.weight": torch.full((2, 3), float("nan"))}, files / "odd.pt"
    )
    for command in ("decompose", "inspect"):
        assert "\x1b" not in lmd(command, "odd.pt").stdout
    assert "\x1b" not in lmd("decompose", "odd.pt", "--layers", "x").stderr
    assert json.loads(lmd("decompose", "odd.pt", "--json").stdout)["layers"][0]["name"] == name


def test_exports_are_written_and_not_overwritten(lmd: Lmd, files: Path) -> None:
    words = ["--export", "csv", "--export", "json", "--export", "parquet"]
    result = lmd("decompose", "ok.pt", "--out", "atlas", *words)
    assert result.exit_code == 0
    written = {"layers.csv", "document.json", "layers.parquet"}
    assert written <= {path.name for path in (files / "atlas").iterdir()}
    assert lmd("decompose", "ok.pt", "--export", "csv").exit_code == 0
    assert (files / "ok.layers.csv").read_bytes() == (files / "atlas" / "layers.csv").read_bytes()
    refused = lmd("decompose", "ok.pt", "--export", "csv")
    assert refused.exit_code == 2
    assert "--force" in complaint(refused)
    assert lmd("decompose", "ok.pt", "--export", "csv", "--force").exit_code == 0


def test_builders_are_run_because_they_were_asked_for(lmd: Lmd, files: Path) -> None:
    (files / "build.py").write_text(BUILD)
    bare, built = (
        json.loads(lmd("decompose", "ok.pt", "--json", *words).stdout) for words in ([], ["--builder", "build.py:make"])
    )
    assert built["network"]["sha256"] == bare["network"]["sha256"]
    assert [layer["confidence"] for layer in built["layers"]] == ["declared", "declared"]
    assert [layer["singular_values"] for layer in built["layers"]] == [
        layer["singular_values"] for layer in bare["layers"]
    ]


def test_hints_go_to_stderr_and_quiet_takes_them_away(lmd: Lmd, files: Path) -> None:
    loud, quiet = lmd("decompose", "ok.pt"), lmd("decompose", "ok.pt", "--quiet")
    assert loud.stderr.count("\n") == 1
    assert "--out" in loud.stderr
    assert quiet.stderr == ""
    assert quiet.stdout == loud.stdout
    assert quiet.stdout.startswith("ok.pt: 83 parameters")


def test_threads_are_given_back(lmd: Lmd, files: Path) -> None:
    before = torch.get_num_threads()
    assert lmd("decompose", "ok.pt", "--threads", "2").exit_code == 0
    assert torch.get_num_threads() == before


def test_report_of_an_atlas_and_of_anything_else(lmd: Lmd, files: Path) -> None:
    assert lmd("decompose", "ok.pt", "--out", "atlas").exit_code == 0
    page = lmd("report", "atlas/atlas.json")
    assert (page.exit_code, page.stdout) == (0, "Page: atlas/report.html\n")
    for path in ("absent", "weightless", "ok.pt"):
        refused = lmd("report", path)
        assert refused.exit_code == 3
        assert "atlas.json" in complaint(refused)
    unwritable = lmd("report", "atlas", "--out", "ok.pt/page.html")
    assert unwritable.exit_code == 3
    (files / "atlas" / "atlas.json").write_text("[1, 2")
    damaged = lmd("report", "atlas")
    assert damaged.exit_code == 3
    assert "damaged" in complaint(damaged)


@pytest.mark.parametrize("body", ["raise OSError('x')", "raise SystemExit(7)", "return 1 / 0", "def"])
def test_builders_that_fail_end_with_2_and_one_line(lmd: Lmd, files: Path, body: str) -> None:
    (files / "b.py").write_text(f"def boom():\n    {body}\n")
    result = lmd("decompose", "ok.pt", "--builder", "b.py:boom")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "mend the builder" in result.stderr


def test_pages_replace_nothing_unasked(lmd: Lmd, files: Path) -> None:
    lmd("decompose", "ok.pt", "--out", "atlas")
    (files / "keep.txt").write_text("mine")
    assert lmd("report", "atlas", "--out", "keep.txt").exit_code == 2
    assert (files / "keep.txt").read_text() == "mine"
    assert lmd("report", "atlas", "--out", "keep.txt", "--force").exit_code == 0
    assert lmd("report", "atlas").exit_code == lmd("report", "atlas").exit_code == 0
