"""Every loader reads what a plain slice of the whole tensor holds, wherever it is cut."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.nn.utils import parametrize

from lmd.sources.loaders import Combined, Evaluated, FileTensor, Held, Loader, SafetensorsTensor

W = torch.arange(60.0).reshape(4, 5, 3)


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    return 2 * tensor


@pytest.fixture(scope="module")
def loaders(tmp_path_factory) -> dict[str, tuple[Loader, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("loaders")
    save_file({"w": W}, folder / "w.safetensors")
    (folder / "w.raw").write_bytes(b"head" + W.numpy().tobytes())
    (folder / "h.raw").write_bytes(b"x" + W.bfloat16().view(torch.uint8).numpy().tobytes())
    path = str(folder / "w.raw")
    held = Held("w", W)
    return {
        "held": (held, W),
        "safetensors": (SafetensorsTensor("w", str(folder / "w.safetensors"), "w", (4, 5, 3)), W),
        "file": (FileTensor("w", path, 4, torch.float32, (4, 5, 3), (15, 3, 1)), W),
        "transposed file": (FileTensor("w", path, 4, torch.float32, (3, 5, 4), (1, 3, 15)), W.permute(2, 1, 0)),
        "broadcast file": (FileTensor("w", path, 4, torch.float32, (4, 2, 3), (15, 0, 1)), W[:, :1].expand(4, 2, 3)),
        "odd bfloat16 file": (
            FileTensor("w", str(folder / "h.raw"), 1, torch.bfloat16, (4, 5, 3), (15, 3, 1)),
            W.bfloat16(),
        ),
        "combined": (Combined(doubled, (held,), (4, 5, 3)), 2 * W),
        "evaluated": (Evaluated(("w",), parametrised(W), "w", (4, 5, 3)), W),
    }


def parametrised(W: torch.Tensor) -> torch.nn.Module:
    module = torch.nn.ParameterDict({"w": W.clone()})
    return parametrize.register_parametrization(module, "w", torch.nn.Identity())


NAMES = [
    "held",
    "safetensors",
    "file",
    "transposed file",
    "broadcast file",
    "odd bfloat16 file",
    "combined",
    "evaluated",
]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_narrowing_twice_is_slicing_twice(name, loaders, data):
    loader, whole = loaders[name]
    for _ in range(2):
        dim = data.draw(st.integers(0, 2))
        start = data.draw(st.integers(0, whole.shape[dim]))
        length = data.draw(st.integers(0, whole.shape[dim] - start))
        loader, whole = loader.narrow(dim, start, length), whole.narrow(dim, start, length)
        assert loader.shape == tuple(whole.shape)
    assert torch.equal(loader(), whole)
    assert torch.equal(pickle.loads(pickle.dumps(loader))(), whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_outside_is_refused(name, loaders):
    loader, _ = loaders[name]
    with pytest.raises((ValueError, RuntimeError), match=r"slice|start"):
        loader.narrow(0, 3, 9)


def test_a_view_pickles_without_its_storage():
    view = Held("w", torch.zeros(1000, 1000)).narrow(0, 5, 1)
    assert len(pickle.dumps(view)) < 1000 * 4 + 10_000


def test_a_file_cut_short_says_so(tmp_path):
    (tmp_path / "w").write_bytes(b"\0" * 10)
    with pytest.raises(EOFError, match="cut short"):
        FileTensor("w", str(tmp_path / "w"), 0, torch.float32, (4,), (1,))()
