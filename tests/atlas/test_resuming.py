"""Interrupted anywhere, a run that goes on ends as if nothing had happened, or is refused."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from lmd.atlas.atlas import Atlas
from lmd.engines.local import Local
from lmd.pipeline.decompose import decompose

LAYERS = 6


class Stopping:
    """Fails before item ``stop``; counts what it did."""

    def __init__(self, stop: int, fault: type[BaseException]) -> None:
        self.stop, self.fault, self.done = stop, fault, 0

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply until the fault."""
        for item in items:
            if self.done == self.stop:
                raise self.fault
            self.done += 1
            yield function(item)


class Counting(Local):
    """The local engine, and how many items it was given."""

    given = 0

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply to all."""
        listed = list(items)
        self.given += len(listed)
        return super().map(function, listed)


def model(seed: int = 0) -> nn.Module:
    """Six small layers."""
    torch.manual_seed(seed)
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(LAYERS)))


def contents(folder: Path) -> dict[str, object]:
    """Every file of an atlas, times left out."""
    index = json.loads((folder / "atlas.json").read_text())
    for key in ("started", "seconds"):
        index["provenance"].pop(key)
    files: dict[str, object] = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "atlas.json"}
    return {**files, "atlas.json": index}


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("whole") / "atlas"
    decompose(model(), out=folder)
    return contents(folder)


FAULTS = st.sampled_from([KeyboardInterrupt, RuntimeError, SystemExit, MemoryError])


@given(stops=st.lists(st.tuples(st.integers(0, LAYERS), FAULTS), min_size=1, max_size=3))
@settings(max_examples=30)
def test_any_interruptions_end_in_the_same_bytes(
    whole: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
    stops: list[tuple[int, type[BaseException]]],
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "atlas"
    done = 0
    for turn, (stop, fault) in enumerate(stops):
        engine = Stopping(stop, fault)
        if stop < LAYERS - done:
            with pytest.raises(fault):
                decompose(model(), out=folder, resume=turn > 0, engine=engine)
            done += stop
            held = Atlas.load(folder)
            assert not held.complete
        else:
            decompose(model(), out=folder, resume=turn > 0, engine=engine)
            done = LAYERS
            held = Atlas.load(folder)
            assert held.complete
        assert [record.name for record in held.layers] == [str(i) for i in range(done)]
        assert held.coverage.decomposed == pytest.approx(done * 16 / (LAYERS * 20))
        assert held.coverage.accounted == 1.0
    engine = Counting()
    decompose(model(), out=folder, resume=True, engine=engine)
    assert engine.given == LAYERS - done
    assert contents(folder) == whole


def begun(folder: Path, **options: Any) -> Path:
    """An atlas with two layers done."""
    with pytest.raises(KeyboardInterrupt):
        decompose(model(), out=folder, engine=Stopping(2, KeyboardInterrupt), **options)
    return folder


OTHERS: dict[str, dict[str, Any]] = {
    "weights (sha256)": {"model": model(1)},
    "options": {"vectors": 2},
    "layers|options": {"layers": "[0-3]"},
    "options|seed": {"seed": 1},
    "data": {"data": torch.ones(3, 4)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_runs_are_refused_and_change_nothing(tmp_path: Path, what: str) -> None:
    folder = begun(tmp_path / "atlas")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"cannot resume .*: its (.*) (was .*, is .*|differ); use the same") as refused:
        decompose(OTHERS[what].pop("model", model()), out=folder, resume=True, **OTHERS[what])
    assert any(f"its {word} " in str(refused.value) for word in what.split("|"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("package", ["lmd", "torch", "numpy", "scipy"])
def test_other_versions_are_refused(tmp_path: Path, package: str) -> None:
    folder = begun(tmp_path / "atlas")
    index = json.loads((folder / "atlas.json").read_text())
    index["provenance"][package] = "0.0.1"
    (folder / "atlas.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=rf"its {package} version was 0\.0\.1, is .*--force"):
        decompose(model(), out=folder, resume=True)


def test_other_thread_counts_are_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path / "atlas")
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(ValueError, match=f"its threads was {before}, is {before + 1}"):
            decompose(model(), out=folder, resume=True)
    finally:
        torch.set_num_threads(before)


def test_other_data_and_labels_are_refused(tmp_path: Path) -> None:
    data, labels = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    folder = begun(tmp_path / "atlas", data=data, labels=labels)
    others: list[dict[str, Any]] = [
        {"data": data + 1, "labels": labels},
        {"data": data, "labels": labels.flip(0)},
        {"data": data},
        {},
    ]
    for other in others:
        with pytest.raises(ValueError, match="its data was"):
            decompose(model(), out=folder, resume=True, **other)
    decompose(model(), out=folder, resume=True, data=data, labels=labels)
    decompose(model(), out=tmp_path / "whole", data=data, labels=labels)
    assert contents(folder) == contents(tmp_path / "whole")


def test_other_builders_are_refused(tmp_path: Path) -> None:
    save_file(model().state_dict(), tmp_path / "m.safetensors")
    words = [
        f"import torch.nn as n\ndef make():\n  return n.Sequential(*(n.Linear(4, 4) for _ in range({LAYERS})))",
        f"import torch.nn as n\ndef made():\n  return n.Sequential(*(n.Linear(4, 4) for _ in range({LAYERS})))",
    ]
    (tmp_path / "build.py").write_text("\n".join(words))
    folder, builder = tmp_path / "atlas", f"{tmp_path / 'build.py'}:"
    with pytest.raises(KeyboardInterrupt):
        decompose(
            tmp_path / "m.safetensors", out=folder, builder=f"{builder}make", engine=Stopping(2, KeyboardInterrupt)
        )
    with pytest.raises(ValueError, match="its builder was"):
        decompose(tmp_path / "m.safetensors", out=folder, builder=f"{builder}made", resume=True)
    assert decompose(tmp_path / "m.safetensors", out=folder, builder=f"{builder}make", resume=True).complete


def test_what_a_killed_run_left_half_written_is_swept(tmp_path: Path, whole: dict[str, object]) -> None:
    folder = begun(tmp_path / "atlas")
    (folder / ".unfinished-abc").write_bytes(b"half")
    decompose(model(), out=folder, resume=True)
    assert contents(folder) == whole


def test_force_never_mixes_two_networks(tmp_path: Path, whole: dict[str, object]) -> None:
    folder = tmp_path / "atlas"
    decompose(model(1), out=folder)
    with pytest.raises(KeyboardInterrupt):
        decompose(model(), out=folder, force=True, engine=Stopping(2, KeyboardInterrupt))
    assert len(list(folder.glob("*.safetensors"))) == 2
    decompose(model(), out=folder, resume=True)
    assert contents(folder) == whole
