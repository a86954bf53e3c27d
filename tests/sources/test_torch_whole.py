"""Without the private unpickler the same files give the same archive, read at once."""

import io
from pathlib import Path

import pytest
import torch
from torch import nn

from lmd.sources import torch_checkpoint
from lmd.sources.errors import UnreadableModelError, UnsafeModelError


@pytest.fixture
def _future_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_checkpoint, "can_restrict", lambda: False)


@pytest.mark.parametrize("zipped", [True, False])
def test_both_ways_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    path = str(tmp_path / "model.pt")
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    value = {"model": model.state_dict(), "copy": {"a.weight": model[0].weight}, "epoch": 2}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    lazily = torch_checkpoint.read(path)
    monkeypatch.setattr(torch_checkpoint, "can_restrict", lambda: False)
    at_once = torch_checkpoint.read(path)
    assert at_once.records == lazily.records
    assert at_once.loaders.keys() == lazily.loaders.keys()
    for name, loader in lazily.loaders.items():
        assert torch.equal(loader(), at_once.loaders[name]())


@pytest.mark.usefixtures("_future_torch")
def test_what_weights_only_refuses_is_unsafe_and_the_rest_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(UnsafeModelError, match=r"torch\.nn\.modules\.linear\.Linear"):
        torch_checkpoint.read(str(path))
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.ones(2, 2)}, buffer)
    path.write_bytes(buffer.getvalue()[:-100])
    with pytest.raises(UnreadableModelError, match="Fetch or save it again"):
        torch_checkpoint.read(str(path))
