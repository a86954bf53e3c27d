"""Files good and bad, and the command line in this process."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner, Result

from lmd.cli.app import app

Lmd = Callable[..., Result]


@pytest.fixture(name="lmd")
def _lmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lmd:
    """Run the command line in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("trapped",)


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> Path:
    """A folder of models, whole and broken."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    state = model.state_dict()
    torch.save(state, tmp_path / "ok.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "ok.safetensors")
    for name in ("ok.pt", "old.pt", "ok.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"half_{name}").write_bytes(whole[: len(whole) // 2])
        (tmp_path / f"almost_{name}").write_bytes(whole[:-9])
    (tmp_path / "empty.pt").touch()
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "notes.txt").write_text("weights: see attachment\n")
    (tmp_path / "notes.pt").write_text("weights: see attachment\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (tmp_path / "weightless").mkdir()
    (tmp_path / "weightless" / "config.json").write_text("{}")
    torch.save({"epoch": 3}, tmp_path / "tensorless.pt")
    torch.save({"w": torch.ones(2, 2), "trap": _Trap()}, tmp_path / "trap.pt")
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(_Trap()))
    for name, value in (("nan", float("nan")), ("inf", float("inf"))):
        broken = {key: tensor.clone() for key, tensor in state.items()}
        broken["0.weight"][0, 0] = value
        torch.save(broken, tmp_path / f"{name}.pt")
    torch.save({"a.weight": torch.zeros(4, 5), "b.weight": torch.randn(4, 5)}, tmp_path / "zero.pt")
    odd = {"scale": torch.tensor(2.0), "vector": torch.ones(7), "one.weight": torch.ones(1, 1)}
    torch.save(odd, tmp_path / "small.pt")
    return tmp_path
