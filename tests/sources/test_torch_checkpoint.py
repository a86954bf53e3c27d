"""Torch checkpoints are read as torch.load reads them, without reading them."""

import argparse
import io
import os
import pathlib
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmd.sources import torch_checkpoint
from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from tests.shared_models import shared_model

REAL = {
    "resnet20-cifar10/resnet20-12fca82f.th": "conv1.weight",
    "mnist-mlp-6x100/mnist_6_100_nat.pth": "1.weight",
    "cifar-conv-twins/cifar_base.pth": "0.weight",
    "cgcnn/formation-energy-per-atom.pth.tar": "embedding.weight",
    "nerf-lego/checkpoint199999.ckpt": "model_coarse_state_dict.layer1.weight",
    "ppo-lunar-lander/PPO_LunarLander-v2_0_0.pth": "actor.0.weight",
    "vae-mnist/model.pt": "encoder.conv1.weight",
}
CONTAINERS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield ".".join(path), node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from leaves(value, (*path, str(index)))


def saved(folder: Path, value: object, *, zipped: bool = True) -> str:
    path = folder / "model.pt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return str(path)


def names(archive: Archive, role: str = "parameter") -> list[str]:
    return [record.name for record in archive.records if record.role == role]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.mark.parametrize("file", REAL)
def test_real_files_hold_what_torch_load_finds(file: str) -> None:
    path = shared_model(file)
    archive = torch_checkpoint.read(str(path))
    expected = dict(leaves(torch.load(path, map_location="cpu", weights_only=True)))
    found = {record.file_name or record.name: archive.loaders[record.name]() for record in archive.records}
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    assert archive.records[0].name == REAL[file]


@pytest.mark.parametrize(
    ("file", "word"), [("vdsr/model_epoch_50.pth", "vdsr.Net"), ("silero-vad/silero_vad.jit", "TorchScript")]
)
def test_real_files_that_would_run_code_are_refused(file: str, word: str) -> None:
    path = shared_model(file)
    with pytest.raises(UnsafeModelError, match=word):
        torch_checkpoint.read(str(path))


DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.uint16,
]


@CONTAINERS
@settings(deadline=None)  # files on a disk that others use
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 4), max_size=4),
    form=st.sampled_from(["plain", "transposed", "narrowed", "expanded"]),
    seed=st.integers(0, 99),
)
def test_any_dense_tensor_is_read_as_torch_reads_it(
    tmp_path_factory: pytest.TempPathFactory, zipped: bool, dtype: torch.dtype, shape: list[int], form: str, seed: int
) -> None:
    count = int(numpy.prod(shape)) * dtype.itemsize
    raw = torch.randint(0, 2, (count,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    tensor = raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
    if form == "transposed":
        tensor = tensor.mT if tensor.ndim >= 2 else tensor
    elif form == "narrowed" and tensor.ndim and tensor.shape[0] > 1:
        tensor = tensor[1:]
    elif form == "expanded":
        tensor = tensor.unsqueeze(0).expand(3, *tensor.shape)
    path = saved(tmp_path_factory.mktemp("dense"), {"a.weight": tensor, "b.weight": torch.ones(2, 2)}, zipped=zipped)
    read = torch_checkpoint.read(path).loaders["a.weight"]()
    assert read.dtype == tensor.dtype
    assert read.shape == tensor.shape
    # as bytes: float8 has no comparison, and NaN is not equal to itself
    assert torch.equal(read.reshape(-1).view(torch.uint8), tensor.contiguous().reshape(-1).view(torch.uint8))


@CONTAINERS
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "model": {"net": [state]}},
        lambda state: [[state]],
        lambda state: ({"ema": state}, 7),
        lambda state: {"module." + key: value for key, value in state.items()},
        lambda state: {"state_dict": {"_orig_mod.module." + key: value for key, value in state.items()}},
        lambda state: {"_fsdp_wrapped_module." + key: value for key, value in state.items()},
    ],
)
def test_one_network_has_its_own_names_wherever_it_is(tmp_path: Path, zipped: bool, wrap: Callable[[Any], Any]) -> None:
    state = network().state_dict()
    archive = torch_checkpoint.read(saved(tmp_path, wrap(state), zipped=zipped))
    assert names(archive) == list(state)
    for name, tensor in state.items():
        assert torch.equal(archive.loaders[name](), tensor)


def test_several_networks_are_named_by_their_keys(tmp_path: Path) -> None:
    state = network().state_dict()
    archive = torch_checkpoint.read(
        saved(tmp_path, {"coarse": state, "fine": network().state_dict(), "loss": torch.tensor(1.0)})
    )
    assert names(archive) == [f"{key}.{name}" for key in ("coarse", "fine") for name in state]
    assert names(archive, "buffer") == ["loss"]
    assert archive.facts["networks"] == ["coarse", "fine"]


@CONTAINERS
def test_optimiser_state_is_listed_apart_and_its_settings_are_facts(tmp_path: Path, zipped: bool) -> None:
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    model(torch.ones(2, 4)).sum().backward()
    optimiser.step()
    value = {
        "model": model.state_dict(),
        "optimizer": optimiser.state_dict(),
        "rng": torch.get_rng_state(),
        "best": 0.5,
    }
    archive = torch_checkpoint.read(saved(tmp_path, value, zipped=zipped))
    assert names(archive) == list(model.state_dict())
    assert "optimizer.state.0.exp_avg" in names(archive, "optimiser")
    assert torch.equal(archive.loaders["optimizer.state.0.exp_avg"](), optimiser.state[model[0].weight]["exp_avg"])
    assert names(archive, "buffer") == ["rng"]
    settings = archive.facts["optimisers"]["optimizer"][0]  # pyright: ignore[reportIndexIssue]
    assert (settings["lr"], settings["weight_decay"], settings["betas"], settings["params"]) == (
        0.01,
        0.1,
        [0.9, 0.999],
        6,
    )
    assert archive.facts["recorded"] == {"best": 0.5}


def test_a_bare_tensor_and_a_list_of_tensors(tmp_path: Path) -> None:
    assert names(torch_checkpoint.read(saved(tmp_path, torch.ones(2, 2)))) == ["tensor"]
    assert names(torch_checkpoint.read(saved(tmp_path, [torch.ones(2, 2), torch.ones(3)]))) == ["0", "1"]
    assert names(torch_checkpoint.read(saved(tmp_path, torch.tensor(1.0)))) == ["tensor"]


@CONTAINERS
def test_one_tensor_under_two_names_is_tied(tmp_path: Path, zipped: bool) -> None:
    weight = torch.ones(5, 2)
    archive = torch_checkpoint.read(saved(tmp_path, {"embed.weight": weight, "head.weight": weight}, zipped=zipped))
    assert archive.records[1].role == "tied"
    assert archive.records[1].reason == "same tensor as embed.weight"


@CONTAINERS
@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:torch.quantize_per_tensor")  # while making the example
def test_what_is_not_dense_is_a_record_with_a_reason(tmp_path: Path, zipped: bool) -> None:
    value = {
        "dense.weight": torch.ones(2, 2),
        "coo.weight": torch.eye(3).to_sparse(),
        "csr.weight": torch.eye(3).to_sparse_csr(),
        "int8.weight": torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
    }
    archive = torch_checkpoint.read(saved(tmp_path, value, zipped=zipped))
    assert list(archive.loaders) == ["dense.weight"]
    assert all("not a dense tensor" in record.reason for record in archive.records[1:])
    assert [record.shape for record in archive.records] == [(2, 2), (3, 3), (3, 3), (3, 3)]
    torch.load(
        io.BytesIO(Path(saved(tmp_path, {"a": torch.ones(1)})).read_bytes())
    )  # its own checks see nothing of ours


def test_conjugated_tensors(tmp_path: Path) -> None:
    weight = torch.randn(2, 2, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).conj()
    assert torch.equal(torch_checkpoint.read(saved(tmp_path, {"a.weight": weight})).loaders["a.weight"](), weight)


@CONTAINERS
def test_arguments_and_numpy_values_are_read_without_their_classes(tmp_path: Path, zipped: bool) -> None:
    value = {
        "state_dict": OrderedDict({"fc.weight": nn.Parameter(torch.ones(2, 2))}),
        "args": argparse.Namespace(lr=0.1, name="x", out=pathlib.Path("runs") / "a"),
        "best": numpy.float64(0.25),
        "count": defaultdict(int, {"a": 3}),
        "mean": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
    }
    archive = torch_checkpoint.read(saved(tmp_path, value, zipped=zipped))
    assert names(archive) == ["fc.weight"]
    assert archive.facts["recorded"] == {
        "args.lr": 0.1,
        "args.name": "x",
        "args.out": "runs/a",
        "best": 0.25,
        "count.a": 3,
    }
    assert torch.equal(archive.loaders["mean"](), torch.arange(6.0).reshape(2, 3))


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch lmd-was-here",)


@CONTAINERS
def test_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    path = saved(tmp_path, {"a.weight": torch.ones(2, 2), "b": Code()}, zipped=zipped)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeModelError, match=r"posix\.system"):
        torch_checkpoint.read(path)
    assert os.listdir(tmp_path) == ["model.pt"]


@CONTAINERS
def test_whole_modules_are_refused(tmp_path: Path, zipped: bool) -> None:
    with pytest.raises(UnsafeModelError, match=r"torch\.nn\.modules\.container\.Sequential.*state_dict"):
        torch_checkpoint.read(saved(tmp_path, network(), zipped=zipped))


def test_only_an_optimiser_is_no_network(tmp_path: Path) -> None:
    optimiser = torch.optim.SGD(network().parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(UnreadableModelError, match="and no network"):
        torch_checkpoint.read(saved(tmp_path, optimiser.state_dict()))
    with pytest.raises(UnreadableModelError, match="and no network"):
        torch_checkpoint.read(saved(tmp_path, {"epoch": 3}))


def test_headers_come_without_loaders(tmp_path: Path) -> None:
    archive = torch_checkpoint.read_header(saved(tmp_path, network().state_dict()))
    assert not archive.loaders
    assert archive.records[0].shape == (3, 4)


_MEMORY = """
import sys, torch
from lmd.sources import torch_checkpoint
torch.ones(2, 2) @ torch.ones(2, 2)

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

before = peak()
archive = torch_checkpoint.read(sys.argv[1])
for loader in archive.loaders.values():
    loader()
print(peak() - before)
"""


@CONTAINERS
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_stays_below_the_largest_tensor_and_100_mb(tmp_path: Path, zipped: bool) -> None:
    path = saved(tmp_path, {f"{index}.weight": torch.empty(2048, 2048) for index in range(18)}, zipped=zipped)
    assert os.path.getsize(path) > 300e6
    result = subprocess.run([sys.executable, "-c", _MEMORY, path], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 16 + 100
