"""Where the process matters: what is imported, signals, full disks, closed pipes."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmd.atlas.atlas import Atlas
from tests.cli.conftest import Lmd

LMD = [sys.executable, "-m", "lmd.cli.app"]


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False, timeout=120
    )


LOADED = """
import sys
from typer.testing import CliRunner
from lmd.cli.app import app
result = CliRunner().invoke(app, sys.argv[1:])
print(result.exit_code, *sorted({"torch", "scipy", "plotly", "numpy", "sklearn"} & set(sys.modules)))
"""


def test_help_loads_nothing_heavy() -> None:
    assert python(LOADED, "--help").stdout == "0\n"


def test_inspecting_safetensors_loads_no_torch(tmp_path: Path) -> None:
    save_file({"l.weight": torch.eye(3)}, tmp_path / "l.safetensors")
    assert python(LOADED, "inspect", tmp_path / "l.safetensors").stdout == "0 numpy\n"


def _few_bytes() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_ends_with_3_and_leaves_no_half_file(tmp_path: Path) -> None:
    big = {"a.weight": torch.eye(4), "b.weight": torch.randn(200, 150), "c.weight": torch.eye(5)}
    torch.save(big, tmp_path / "m.pt")
    words = [*LMD, "decompose", "m.pt", "--out", "atlas", "--vectors", "all"]
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, preexec_fn=_few_bytes, check=False)
    assert run.returncode == 3
    assert run.stdout == ""
    assert re.fullmatch(r"lmd: File too large: atlas/00001-\w+\.safetensors; check the path, .*\.\n", run.stderr)
    held = Atlas.load(tmp_path / "atlas")
    assert [record.name for record in held.layers] == ["a"]
    assert not held.complete
    assert not list((tmp_path / "atlas").glob(".*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_a_full_stdout_ends_with_3_and_one_line(tmp_path: Path) -> None:
    save_file({"l.weight": torch.eye(3)}, tmp_path / "l.safetensors")
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [*LMD, "inspect", tmp_path / "l.safetensors"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert run.returncode == 3
    assert run.stderr == "lmd: No space left on device: output; check the path, its rights and the disk.\n"


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_closed_pipe_ends_quietly(tmp_path: Path, words: list[str]) -> None:
    save_file({"l.weight": torch.eye(3)}, tmp_path / "l.safetensors")
    command = [*LMD, "inspect", tmp_path / "l.safetensors", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 3


SIGNALLED = """
import os, signal, sys
import lmd.cli.progress as shown
from contextlib import contextmanager

@contextmanager
def at_layer(*, quiet):
    def stop(done, total, name):
        if done == 40:
            os.kill(os.getpid(), sent)
    yield stop

shown.layer_progress = at_layer
from lmd.cli.app import app
sent = getattr(signal, sys.argv[1])
app(sys.argv[2:])
"""


def contents(folder: Path) -> dict[str, object]:
    """Every file of an atlas, times left out."""
    index = json.loads((folder / "atlas.json").read_text())
    for key in ("started", "seconds"):
        index["provenance"].pop(key)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "atlas.json"}
    return {**files, "atlas.json": index}


@pytest.fixture(name="many", scope="module")
def _many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    generator = torch.Generator().manual_seed(0)
    layers = {f"l{i:03d}.weight": torch.randn(3, 4, generator=generator) for i in range(60)}
    save_file(layers, folder / "m.safetensors")
    return folder


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGKILL", -signal.SIGKILL)])
def test_interrupted_runs_resume_to_the_same_bytes(lmd: Lmd, many: Path, name: str, code: int) -> None:
    out = many / name
    words = ["decompose", many / "m.safetensors", "--quiet", "--threads", "1", "--out"]
    run = python(SIGNALLED, name, *words, out)
    assert run.returncode == code, run.stderr
    assert run.stdout == ""
    assert run.stderr.count("\n") == (1 if code == 130 else 0)
    held = Atlas.load(out)
    assert not held.complete
    # the law: at most the layer in flight is lost
    assert len(held.layers) >= 39
    assert 0.6 < held.coverage.decomposed < 0.7
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert lmd(*words, out, "--resume").exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors") if path.name in stamps} == stamps
    assert lmd(*words, many / f"whole-{name}").exit_code == 0
    assert contents(out) == contents(many / f"whole-{name}")
