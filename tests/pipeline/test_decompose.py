"""One result, whatever the network came from; the network stays as it was."""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lmd.atlas.atlas import Atlas
from lmd.engines.local import Engine
from lmd.findings.analysis import NotApplicable
from lmd.findings.manifold.projection import Projection
from lmd.pipeline.decompose import decompose
from lmd.pipeline.options import Options


class Pickling:
    """Sends every task and every result through plain pickle, as another process would."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply to all."""
        sent = pickle.loads(pickle.dumps(function))
        for item in items:
            yield pickle.loads(pickle.dumps(sent(pickle.loads(pickle.dumps(item)))))


def content(atlas: Atlas, *, without: tuple[str, ...] = ()) -> list[tuple[dict[str, Any], dict[str, bytes]]]:
    """All that an atlas holds of its layers."""
    return [
        (
            {key: value for key, value in record.entry.items() if key not in without},
            {key: tensor.numpy().tobytes() for key, tensor in record.arrays().items()},
        )
        for record in atlas.layers
    ]


def mixed() -> nn.Module:
    """A module of many kinds."""
    torch.manual_seed(5)
    return nn.ModuleDict(
        {
            "dense": nn.Linear(5, 4),
            "grouped": nn.Conv2d(4, 6, 3, groups=2),
            "up": nn.ConvTranspose1d(3, 5, 2),
            "embed": nn.Embedding(9, 4),
            "norm": nn.LayerNorm(6),
            "attn": nn.MultiheadAttention(8, 2),
            "rnn": nn.LSTM(4, 3),
            "spectral": parametrizations.spectral_norm(nn.Linear(4, 4)),
        }
    )


def test_tasks_and_results_travel_by_pickle() -> None:
    model = mixed()
    assert content(decompose(model, engine=Pickling())) == content(decompose(model))


def test_any_pool_with_map_is_an_engine(tmp_path: Path) -> None:
    torch.save(mixed().state_dict(), tmp_path / "m.pt")
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        # the executor calls its parameters otherwise; engines are called by place
        spread = decompose(tmp_path / "m.pt", engine=cast("Engine", pool), out=tmp_path / "a")
    assert content(spread) == content(decompose(tmp_path / "m.pt", out=tmp_path / "b"))
    assert [p.name for p in sorted((tmp_path / "a").iterdir())] == [p.name for p in sorted((tmp_path / "b").iterdir())]


BLOCKS: dict[str, Callable[[int, int], nn.Module]] = {
    "dense": nn.Linear,
    "conv1d": lambda a, b: nn.Conv1d(a, b, 3),
    "conv2d": lambda a, b: nn.Conv2d(a, b, (2, 3)),
    "conv3d": lambda a, b: nn.Conv3d(a, b, 2),
    "lstm": nn.LSTM,
    "gru": lambda a, b: nn.GRU(a, b, num_layers=2),
}


def chained(blocks: list[tuple[str, int]], dtype: torch.dtype) -> nn.Module:
    """A network whose widths grow: in a bare file of equal widths some layers have two readings."""
    torch.manual_seed(0)
    width, made = 3, OrderedDict[str, nn.Module]()
    for place, (kind, more) in enumerate(blocks):
        made[f"{kind}{place}"] = BLOCKS[kind](width, width + more)
        width += more
        if kind == "conv2d":
            made[f"norm{place}"] = nn.BatchNorm2d(width)
    return nn.Sequential(made).to(dtype)


@given(
    blocks=st.lists(st.tuples(st.sampled_from(sorted(BLOCKS)), st.integers(1, 4)), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
@settings(max_examples=20)
def test_module_safetensors_and_checkpoints_agree(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[str, int]], dtype: torch.dtype
) -> None:
    model = chained(blocks, dtype)
    folder = tmp_path_factory.mktemp("sources")
    save_file(model.state_dict(), folder / "m.safetensors")
    torch.save(model.state_dict(), folder / "zip.pt")
    torch.save({"model": model.state_dict()}, folder / "old.pt", _use_new_zipfile_serialization=False)
    live = content(decompose(model), without=("confidence", "alternatives", "note"))
    for name in ("m.safetensors", "zip.pt", "old.pt"):
        read = decompose(folder / name)
        assert content(read, without=("confidence", "alternatives", "note")) == live
        assert read.coverage.accounted == 1.0


def state(model: nn.Module) -> dict[str, Any]:
    """All that could change in a model."""
    return {
        "tensors": {k: (v.detach().clone(), v.dtype, v.shape) for k, v in model.state_dict(keep_vars=True).items()},
        "identity": {k: id(v) for k, v in model.state_dict(keep_vars=True).items()},
        "versions": {k: v._version for k, v in model.state_dict(keep_vars=True).items()},
        "grads": {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()},
        "requires": {k: p.requires_grad for k, p in model.named_parameters()},
        "modes": {k: m.training for k, m in model.named_modules()},
        "hooks": {
            k: [len(v) for name, v in sorted(vars(m).items()) if name.endswith("_hooks") and v is not None]
            for k, m in model.named_modules()
        },
        "names": {k: sorted(vars(m)) for k, m in model.named_modules()},
    }


def assert_untouched(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Bit by bit."""
    assert before.keys() == after.keys()
    for key in ("identity", "versions", "requires", "modes", "hooks", "names"):
        assert before[key] == after[key], key
    for name, (tensor, dtype, shape) in before["tensors"].items():
        now = after["tensors"][name]
        assert (dtype, shape) == now[1:]
        assert tensor.numpy().tobytes() == now[0].numpy().tobytes()
    for name, grad in before["grads"].items():
        assert (grad is None) == (after["grads"][name] is None)
        assert grad is None or torch.equal(grad, after["grads"][name])


def old_weight_norm(layer: nn.Module) -> nn.Module:
    """The hook that torch deprecates and checkpoints still hold."""
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(layer)


PARAMETRISED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda layer: layer,
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "old spectral_norm": nn.utils.spectral_norm,
    "old weight_norm": old_weight_norm,
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", PARAMETRISED)
def test_the_users_model_is_left_alone(kind: str, training: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    wrap = PARAMETRISED[kind]
    model = nn.Sequential(wrap(nn.Linear(6, 5)), nn.BatchNorm1d(5), nn.Dropout(), wrap(nn.Linear(5, 3)))
    model.register_forward_hook(lambda *_: None)
    data = torch.rand(7, 6)
    model(data).sum().backward()
    next(model.parameters()).requires_grad_(False)
    model.train(training)
    model[3].eval()
    before, random = state(model), torch.get_rng_state()
    atlas = decompose(model, data, labels=torch.arange(7), out=tmp_path / "atlas", vectors=None)
    assert not any(record.failed for record in atlas.layers)
    assert_untouched(before, state(model))
    assert torch.equal(random, torch.get_rng_state())
    twin = deepcopy(model).eval() if "old" not in kind else None
    if twin is not None:
        expected = torch.linalg.svdvals(twin[0].weight.detach().double())  # type: ignore[union-attr, operator]
        found = next(r for r in atlas.layers if r.name == "0").factors().spectrum
        # float64 of float32 weights, of size 1
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)  # type: ignore[arg-type]


def network() -> tuple[nn.Module, Tensor]:
    """A network with a branch that never runs, and its data."""
    torch.manual_seed(2)
    layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), nn.LayerNorm(3))
    return layers, torch.randn(50, 6) * torch.tensor([5.0, 1, 1, 1, 1, 0.1])


def test_projections_hold_the_share_the_directions_see() -> None:
    model, data = network()
    labels = torch.arange(50) % 3
    atlas = decompose(model, data, labels=labels)
    found = {f.layer: f for f in atlas.findings() if isinstance(f, Projection)}
    assert set(found) == {"0", "2"}
    inputs = {"0": data, "2": model[:2](data).detach()}  # type: ignore[index]
    for name, finding in found.items():
        x = inputs[name].double()
        V = torch.linalg.svd(model.get_parameter(f"{name}.weight").double())[2][:3].T
        covariance = torch.cov(x.T, correction=0)
        share = torch.trace(V.T @ covariance @ V) / torch.trace(covariance)
        # float64, 50 inputs
        assert finding.projection_energy.value == pytest.approx(share.item(), abs=1e-10)
        assert finding.projection_energy.baseline == 3 / x.shape[1]
        assert finding.coordinates.abs().allclose((x @ V).abs(), atol=1e-10)
        assert torch.equal(finding.labels, labels)
    absent = {
        f.layer: f.reason for f in atlas.findings() if isinstance(f, NotApplicable) and f.analysis == "projection"
    }
    assert set(absent) == {"3"}
    assert absent["3"]


def test_without_data_projections_say_what_they_need() -> None:
    model, _ = network()
    absent = [f for f in decompose(model).findings() if isinstance(f, NotApplicable) and f.analysis == "projection"]
    assert {f.reason for f in absent} == {"needs Activations"}


def test_bare_checkpoints_refuse_data_with_advice(tmp_path: Path) -> None:
    model, data = network()
    torch.save(model.state_dict(), tmp_path / "m.pt")
    words = r"m\.pt cannot be called on data: it is a bare checkpoint.*pass the module itself, or builder='FILE\.py"
    with pytest.raises(ValueError, match=words):
        decompose(tmp_path / "m.pt", data)
    (tmp_path / "build.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), nn.LayerNorm(3))\n"
    )
    built = decompose(tmp_path / "m.pt", data, builder=f"{tmp_path / 'build.py'}:make")
    assert content(built) == content(decompose(model, data))


def test_labels_are_one_for_each_example() -> None:
    model, data = network()
    with pytest.raises(ValueError, match="labels has 3 entries, data 50 examples; give one label for each"):
        decompose(model, data, labels=torch.arange(3))


class Broken(nn.Linear):
    """Fails in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        """Refuse."""
        raise ZeroDivisionError("broken on purpose")


def test_a_model_that_fails_on_its_data_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Broken(3, 3)).train()
    before = state(model)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        decompose(model, torch.ones(2, 3))
    assert_untouched(before, state(model))


def test_layers_left_out_are_accounted_for() -> None:
    model, _ = network()
    atlas = decompose(model, layers="2")
    assert [record.name for record in atlas.layers] == ["2"]
    status = {t.name: (t.status, t.reason) for t in atlas.coverage.tensors}
    assert status["2.weight"] == ("decomposed", "")
    assert status["0.weight"] == ("unsupported", "left out by the choice of layers")
    assert atlas.coverage.accounted == 1.0


@given(
    rank=st.none() | st.integers(-2, 9),
    energy=st.none() | st.floats(allow_nan=True),
    error=st.none() | st.floats(allow_nan=True),
    vectors=st.none() | st.integers(-2, 9),
)
def test_options_agree_or_are_refused(
    rank: int | None, energy: float | None, error: float | None, vectors: int | None
) -> None:
    rules = [rule for rule in (rank, energy, error) if rule is not None]
    allowed = (
        len(rules) < 2
        and (rank is None or rank >= 1)
        and (energy is None or 0 < energy <= 1)
        and (error is None or 0 <= error < 1)
        and (vectors is None or vectors >= 0)
    )
    if not allowed:
        with pytest.raises(ValueError, match=r"exclude each other|must be"):
            Options(rank=rank, energy=energy, error=error, vectors=vectors)
        return
    options = Options(rank=rank, energy=energy, error=error, vectors=vectors)
    model = nn.Linear(6, 4)
    factors = decompose(model, rank=rank, energy=energy, error=error, vectors=vectors).factors("weight")
    assert options.truncation(4).keys() <= {"rank", "energy", "error", "vectors"}
    if energy is not None:
        assert factors.errors(factors.rank).frobenius ** 2 <= (1 - energy) * factors.frobenius_norm**2 + 1e-12
    elif error is not None:
        assert factors.errors(factors.rank).frobenius <= error * factors.frobenius_norm + 1e-12
    else:
        wanted = rank if rank is not None else vectors
        assert factors.rank == (4 if wanted is None else min(4, wanted))


def test_equal_runs_are_equal() -> None:
    model, data = network()
    assert content(decompose(model, data)) == content(decompose(model, data))


def test_progress_is_told_of_every_layer() -> None:
    told: list[tuple[int, int, str]] = []
    decompose(network()[0], progress=lambda *words: told.append(words))
    assert told == [(1, 3, "0"), (2, 3, "2"), (3, 3, "3")]


def test_a_network_that_is_one_layer_sees_its_data() -> None:
    data = torch.rand(9, 3, generator=torch.Generator().manual_seed(0))
    found = [f for f in decompose(nn.Linear(3, 2), data).findings() if isinstance(f, Projection)]
    assert [tuple(f.coordinates.shape) for f in found] == [(9, 2)]


class Cutting:
    """Cuts a file short before its second item, as a disk or a neighbour may."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply to all."""
        for place, item in enumerate(items):
            if place == 1:
                # legacy checkpoints end with 36 bytes and a count for each matrix, in any order
                self.path.write_bytes(self.path.read_bytes()[:-60])
            yield function(item)


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt"])
def test_a_file_that_shrinks_meanwhile_costs_rows(tmp_path: Path, name: str) -> None:
    path, state_dict = tmp_path / name, {f"l{i}.weight": torch.eye(3) for i in range(3)}
    if name == "m.pt":
        torch.save(state_dict, path, _use_new_zipfile_serialization=False)
    else:
        save_file(state_dict, path)
    atlas = decompose(path, engine=Cutting(path))
    assert not atlas.layers[0].failed
    failed = [record for record in atlas.layers[1:] if record.failed]
    assert failed
    assert all(record.entry["reason"] for record in failed)


def test_models_and_data_of_other_types_are_refused() -> None:
    model, number = cast("Any", (nn.Linear(3, 2), 3))
    with pytest.raises(TypeError, match=r"model is of type OrderedDict; give a torch\.nn\.Module"):
        decompose(model.state_dict())
    with pytest.raises(TypeError, match="data is of type int; give a tensor, an array"):
        decompose(model, number)
