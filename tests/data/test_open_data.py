"""Examples come back as they were written, batch by batch, again and again; what is hostile or damaged is refused."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from lmd.data.errors import UnreadableDataError, UnsafeDataError
from lmd.data.open_data import open_data
from tests.shared_models import shared_model

X = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def npy(folder: Path) -> dict[str, Any]:
    numpy.save(folder / "x.npy", X.numpy())
    numpy.save(folder / "y.npy", Y.numpy())
    return {"source": folder / "x.npy", "targets": folder / "y.npy"}


def npz(folder: Path) -> dict[str, Any]:
    numpy.savez_compressed(folder / "d.npz", x=X.numpy(), y=Y.numpy())
    return {"source": folder / "d.npz"}


def csv(folder: Path) -> dict[str, Any]:
    rows = [[*map(repr, x.tolist()), "abc"[y]] for x, y in zip(X, Y.tolist(), strict=True)]
    (folder / "d.csv").write_text("\n".join(",".join(row) for row in [["a", "b", "c", "kind"], *rows]))
    return {"source": folder / "d.csv", "label": "kind"}


def parquet(folder: Path) -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.numpy(), columns=["a", "b", "c"]).assign(kind=Y.numpy())
    frame.to_parquet(folder / "d.parquet")
    return {"source": folder / "d.parquet", "label": -1}


FORMS = {
    "tensor": lambda folder: {"source": X, "targets": Y},
    "pair": lambda folder: {"source": (X, Y)},
    "loader": lambda folder: {"source": DataLoader(TensorDataset(X, Y), batch_size=4)},
    "iterator": lambda folder: {"source": iter([{"x": X[:5], "y": Y[:5]}, {"x": X[5:], "y": Y[5:]}])},
    "npy": npy,
    "npz": npz,
    "csv": csv,
    "parquet": parquet,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [2, 100])
def test_every_form_gives_the_same_examples_twice(form: str, size: int, tmp_path: Path) -> None:
    examples = open_data(**FORMS[form](tmp_path))
    for _ in range(2):
        batches = list(examples.batches(size))
        assert torch.allclose(torch.cat([b.inputs for b in batches]).float(), X)
        assert torch.equal(torch.cat([b.targets for b in batches]), Y)
        assert all(len(b.inputs) <= size for b in batches)
    assert examples.count == 7
    assert len(examples.fingerprint) == 64


@given(st.integers(1, 9), st.integers(1, 9))
def test_rows_are_the_first_ones(rows: int, size: int) -> None:
    found = [batch.inputs for batch in open_data(X, rows=rows).batches(size)]
    assert torch.equal(torch.cat(found), X[:rows])


def test_channels_last_scale_mean_and_std() -> None:
    pictures = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    examples = open_data(pictures, layout="HWC", scale="1/255", mean=[0.1, 0.2, 0.3], std="1,2,4")
    wanted = pictures.permute(0, 3, 1, 2) / 255
    wanted = (wanted - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([1.0, 2.0, 4.0])[:, None, None]
    assert torch.allclose(examples.head(2).inputs, wanted, atol=1e-6)  # float32
    flat = open_data(pictures.reshape(2, -1), layout="HWC").prepared(shape=(3, 4, 5))
    assert torch.equal(flat.head(2).inputs, pictures.permute(0, 3, 1, 2))


def test_the_users_function_comes_last(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def double(x):\n    return x * 2\n")
    examples = open_data(X, scale=0.5, transform=f"{tmp_path / 't.py'}:double")
    assert torch.allclose(examples.head(7).inputs, X)
    assert examples.how["transform"].endswith("t.py:double")


def test_idx_plain_and_packed(tmp_path: Path) -> None:
    raw = struct.pack(">HBB3I", 0, 8, 3, 2, 2, 3) + bytes(range(12))
    (tmp_path / "a-ubyte").write_bytes(raw)
    (tmp_path / "a-ubyte.gz").write_bytes(gzip.compress(raw))
    for name in ("a-ubyte", "a-ubyte.gz"):
        found = open_data(tmp_path / name).head(9).inputs
        assert torch.equal(found, torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3))


def test_pictures_in_folders_named_after_classes(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number, kind in enumerate(("cat", "dog")):
        (tmp_path / kind).mkdir()
        image.fromarray(numpy.full((4, 6, 3), 100 * number, numpy.uint8)).save(tmp_path / kind / "a.png")
    examples = open_data(tmp_path)
    assert (examples.classes, examples.shape) == (("cat", "dog"), (3, 4, 6))
    assert examples.head(2).inputs[:, 0, 0, 0].tolist() == [0, 100]


def test_a_text_with_the_models_own_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Once upon a time there was a little girl. " * 4)
    tokenizer = shared_model("stories260k/tok512.bin")
    batch = open_data(tmp_path / "t.txt", tokenizer=tokenizer, length=8).head(1)
    assert batch.targets is not None
    # what llama2.c itself makes of these words
    assert batch.inputs[0, :4].tolist() == [403, 407, 261, 378]
    assert torch.equal(batch.inputs[0, 1:], batch.targets[0, :-1])


def pickled(folder: Path) -> Path:
    numpy.save(folder / "p.npy", numpy.array([{}], dtype=object), allow_pickle=True)
    return folder / "p.npy"


def forged_npy(folder: Path) -> Path:
    numpy.save(folder / "f.npy", X.numpy())
    held = (folder / "f.npy").read_bytes().replace(b"(7, 3)", b"(9, 9)")
    (folder / "f.npy").write_bytes(held)
    return folder / "f.npy"


def forged_idx(folder: Path) -> Path:
    (folder / "f-ubyte").write_bytes(struct.pack(">HBB2I", 0, 8, 2, 2**31, 2**31) + bytes(10))
    return folder / "f-ubyte"


def forged_idx_gz(folder: Path) -> Path:
    (folder / "f.idx.gz").write_bytes(gzip.compress(struct.pack(">HBB2I", 0, 8, 2, 2**31, 2**31)))
    return folder / "f.idx.gz"


def text_of(name: str, words: str) -> Any:
    def write(folder: Path) -> Path:
        (folder / name).write_text(words)
        return folder / name

    return write


def huge_picture(folder: Path) -> Path:
    (folder / "h.ppm").write_bytes(b"P6 100000 100000 255\n" + bytes(100))
    return folder / "h.ppm"


def long_line(folder: Path) -> Path:
    (folder / "l.csv.gz").write_bytes(gzip.compress(b"1" * (70 << 20), 1))
    return folder / "l.csv.gz"


@pytest.mark.parametrize(
    ("write", "error", "words"),
    [
        (pickled, UnsafeDataError, "pickled"),
        (forged_npy, UnreadableDataError, "cut or forged"),
        (forged_idx, UnreadableDataError, "forged"),
        (forged_idx_gz, UnreadableDataError, "forged"),
        (huge_picture, UnsafeDataError, "pixels"),
        (long_line, UnsafeDataError, "line of more than"),
        (text_of("e.csv", ""), UnreadableDataError, "empty"),
        (text_of("w.csv", "1,2\n3,x\n"), UnreadableDataError, "row 2, column '1' holds 'x'"),
        (text_of("r.csv", "1,2\n3,4,5\n"), UnreadableDataError, "each line needs 2"),
        (text_of("n.csv", "1,2\n3,inf\n"), UnreadableDataError, "is inf"),
        (text_of("b.npy", "no array"), UnreadableDataError, "no NumPy array"),
        (text_of("b.npz", "no archive"), UnreadableDataError, "no npz archive"),
        (text_of("b.png", "no picture"), UnreadableDataError, "no picture"),
        (text_of("b.parquet", "no table"), UnreadableDataError, "no Parquet file"),
        (text_of("b.xyz", "?"), UnreadableDataError, "no known form"),
        (lambda folder: folder / "absent.csv", UnreadableDataError, "does not exist"),
    ],
)
def test_what_cannot_be_read_is_refused(write: Any, error: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        list(open_data(write(tmp_path)).batches())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"label": "kind"}, "names a column"),
        ({"targets": Y[:3]}, "3 entries and data 7"),
        ({"layout": "WHC"}, "one of HWC, CHW"),
        ({"std": 0.0}, "holds a 0"),
        ({"rows": 0}, "whole number from 1"),
        ({"scale": "one"}, "no number"),
        ({"transform": "no.py"}, r"FILE\.py:FUNCTION"),
    ],
)
def test_options_that_do_not_fit_are_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_data(X, **how)
