"""A training that is recorded is the training that is not, and its record outlives it."""

import copy
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

import lmd
from lmd.training.journal import JOURNAL_FILE, read_journal
from lmd.training.recorded import is_recorded, recorded_trajectory

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
Y = torch.randn(32, 3, generator=torch.Generator().manual_seed(2))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


def train(model: nn.Module, steps: int, recorder: lmd.Recorder | None = None, start: int = 0) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for step in range(start, start + steps):
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(model(X), Y)
        loss.backward()
        optimiser.step()
        if recorder is not None:
            recorder.step(model, step, loss=loss)


def values(found: lmd.Trajectory, name: str, key: str) -> list[float]:
    return next(layer["quantities"][key]["values"] for layer in found.trajectory["layers"] if layer["name"] == name)


def test_a_recorded_training_is_bit_for_bit_the_unrecorded_one(tmp_path: Path) -> None:
    plain, seen = network(), network()
    torch.manual_seed(3)
    train(plain, 12)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    train(seen, 12, lmd.Recorder(tmp_path, every=3))
    assert torch.equal(torch.get_rng_state(), after)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), seen.state_dict().values(), strict=True))
    grads = zip(plain.parameters(), seen.parameters(), strict=True)
    assert all(torch.equal(cast(Any, a.grad), cast(Any, b.grad)) for a, b in grads)
    assert seen.training
    assert all(module.training for module in seen.modules())
    assert not any(module._forward_hooks or module._backward_hooks for module in seen.modules())


def test_what_is_recorded_is_what_decompose_and_compare_find() -> None:
    model = network()
    start, recorder = copy.deepcopy(model), lmd.Recorder(every=5)
    recorder.step(model, 0)
    train(model, 5, recorder, start=1)
    found = recorder.trajectory()
    assert [step["step"] for step in found.trajectory["steps"]] == [0, 5]
    assert "loss" in found.trajectory["steps"][1]
    rows = {row["name"]: row for row in lmd.decompose(model).rows()}
    for key in ("spectral_norm", "stable_rank", "effective_rank", "spikes"):
        # the one from the Gram matrix, the other by LAPACK
        assert values(found, "0", key)[-1] == pytest.approx(rows["0"][key], rel=1e-9)
    pair = {row["name"]: row for row in lmd.compare(start, model).pair()["layers"]}
    for name in ("0", "1", "4"):
        assert values(found, name, "relative_change")[-1] == pytest.approx(
            pair[name]["findings"]["relative_change"]["value"], rel=1e-6
        )
    compared = lmd.compare(start, model).trajectory
    assert compared["layers"][0].keys() == found.trajectory["layers"][0].keys()


def test_an_interrupted_record_goes_on_from_the_same_start(tmp_path: Path) -> None:
    model = network()
    train(model, 5, lmd.Recorder(tmp_path, every=2))
    with (tmp_path / JOURNAL_FILE).open("a") as file:
        file.write('{"step": 6, "layers": {"0": {"spec')
    train(model, 5, lmd.Recorder(tmp_path, every=2), start=5)
    found = recorded_trajectory(tmp_path)
    assert [step["step"] for step in found.trajectory["steps"]] == [0, 2, 4, 6, 8]
    changes = values(found, "0", "relative_change")
    assert changes[0] == 0
    assert min(changes[1:]) > 0
    assert is_recorded(tmp_path)


def test_a_diverged_layer_has_a_reason_and_the_training_goes_on() -> None:
    model, recorder = network(), lmd.Recorder(every=1)
    recorder.step(model, 0)
    with torch.no_grad():
        cast(nn.Linear, model[0]).weight[0, 0] = torch.inf
    recorder.step(model, 1)
    found = recorder.trajectory()
    assert values(found, "0", "spectral_norm")[1] is None
    assert values(found, "4", "spectral_norm")[1] is not None
    layer = found.trajectory["layers"][0]
    assert "Inf" in layer["quantities"]["spectral_norm"]["reasons"][1]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recorder = lmd.Recorder(tmp_path / "file" / "below", every=1)
    with pytest.warns(UserWarning, match="goes on in memory alone"):
        recorder.step(network(), 0)
    assert len(recorder.trajectory().trajectory["steps"]) == 1


def test_wrong_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every=0 must be a whole number"):
        lmd.Recorder(every=0)
    with pytest.raises(ValueError, match="fits none of the 3 layers"):
        lmd.Recorder(layers="q*").step(network(), 0)
    with pytest.raises(FileNotFoundError, match="holds no"):
        read_journal(tmp_path)
    (tmp_path / JOURNAL_FILE).write_text('{"schema_version": 9}\n')
    with pytest.raises(ValueError, match="schema version 9"):
        lmd.Recorder(tmp_path)


def test_a_replaced_parameter_is_seen() -> None:
    model, recorder = nn.Sequential(nn.Linear(3, 3)), lmd.Recorder(every=1, change=False)
    recorder.step(model)
    cast(nn.Linear, model[0]).weight = nn.Parameter(2 * torch.eye(3))
    recorder.step(model)
    assert values(recorder.trajectory(), "0", "spectral_norm")[1] == pytest.approx(2.0)


def test_hooks_of_transformers_answer_every_event() -> None:
    transformers = pytest.importorskip("transformers")
    recorder = lmd.Recorder(every=2)
    hooks, model = recorder.for_transformers(), network()
    for event in dir(transformers.TrainerCallback):
        if event.startswith("on_") and event not in ("on_train_begin", "on_step_end", "on_log"):
            assert getattr(hooks, event)(None, None, None, model=model) is None
    for step in range(3):
        state = SimpleNamespace(global_step=step, epoch=step / 2, is_world_process_zero=True)
        hooks.on_step_end(None, state, None, model=model)
        hooks.on_log(None, state, None, logs={"loss": 0.5 - step, "text": "no number"})
    steps = recorder.trajectory().trajectory["steps"]
    assert steps == [
        {"index": 0, "step": 0, "epoch": 0.0, "loss": 0.5},
        {"index": 1, "step": 2, "epoch": 1.0, "loss": -1.5},
    ]
    with pytest.raises(AttributeError, match="answers events"):
        _ = hooks.nothing


def test_hooks_of_lightning_derive_from_the_class_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Callback:
        """What Lightning asks every callback to be."""

    home = types.ModuleType("lightning.pytorch")
    monkeypatch.setattr(home, "Callback", Callback, raising=False)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", home)
    recorder, model = lmd.Recorder(every=1), network()
    hooks = recorder.for_lightning()
    assert isinstance(hooks, Callback)
    trainer = SimpleNamespace(global_step=0, current_epoch=0, is_global_zero=True)
    hooks.on_train_start(trainer, model)
    hooks.on_train_batch_end(trainer, model, None, None, 0)
    trainer.global_step = 1
    hooks.on_train_batch_end(trainer, model, {"loss": torch.tensor(0.25)}, None, 1)
    steps = recorder.trajectory().trajectory["steps"]
    assert [(step["step"], step.get("loss")) for step in steps] == [(0, None), (1, 0.25)]
