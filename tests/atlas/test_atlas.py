"""What is saved is what is loaded, bit for bit."""

import csv
import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import lmd.atlas.folder
from lmd.atlas.atlas import Atlas
from lmd.atlas.folder import write_tensors
from lmd.factors.factors import Factors
from lmd.factors.truncated import truncate
from lmd.pipeline.decompose import decompose


def network() -> nn.Module:
    """Dense, blocks, a diagonal, heads."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(9, 7), nn.LayerNorm(7), nn.Linear(7, 4, bias=False), nn.Conv1d(4, 6, 2, groups=2), nn.GRU(6, 3)
    )


@pytest.fixture(name="atlas", scope="module")
def _atlas() -> Atlas:
    return decompose(network(), vectors=3)


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, records and tensors included."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def assert_same(a: Atlas, b: Atlas) -> None:
    """Two atlases hold the same."""
    assert a.document() == b.document()
    assert a.rows() == b.rows()
    for one, other in zip(a.layers, b.layers, strict=True):
        assert one.arrays().keys() == other.arrays().keys()
        assert all(same(one.arrays()[key], other.arrays()[key]) for key in one.arrays())
        if not one.failed:
            assert same(one.factors(), other.factors())
    assert all(same(x, y) for x, y in zip(a.findings(), b.findings(), strict=True))


def test_loaded_is_saved(atlas: Atlas, tmp_path: Path) -> None:
    folder = atlas.save(tmp_path / "a")
    loaded = Atlas.load(folder)
    assert_same(atlas, loaded)
    assert loaded.complete
    assert_same(loaded, Atlas.load(loaded.save(tmp_path / "b")))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()
    }


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=12)


@given(
    names=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    out=st.integers(1, 5),
    inn=st.integers(1, 5),
    scale=st.sampled_from([0.0, 5e-324, 1e-200, 1.0, 1e150, 1.7e308]),
)
def test_any_name_and_any_numbers_come_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], out: int, inn: int, scale: float
) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict()
    for name in names:
        layer = nn.Linear(inn, out, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.rand(out, inn, dtype=torch.float64) * scale)
        # add_module refuses some names that checkpoints have
        model._modules[name] = layer
    folder = tmp_path_factory.mktemp("names") / "atlas"
    atlas = decompose(model, out=folder)
    assert [record.name for record in atlas.layers] == names
    assert_same(atlas, Atlas.load(folder))
    assert all(path.parent == folder for path in folder.rglob("*"))


def test_atlases_of_rows_that_failed_come_back(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model.get_parameter("0.weight")[0, 0] = float("nan")
    atlas = decompose(model, out=tmp_path / "a")
    assert [record.failed for record in atlas.layers] == [True, False]
    assert_same(atlas, Atlas.load(tmp_path / "a"))
    assert all(finding.failed for finding in atlas.findings() if finding.layer == "0")  # type: ignore[attr-defined]


def test_frames_and_exports_hold_the_rows(atlas: Atlas, tmp_path: Path) -> None:
    rows = atlas.rows()
    frame = atlas.to_frame()
    assert list(frame.index) == [row["name"] for row in rows]
    assert list(frame["spectral_norm"]) == [row["spectral_norm"] for row in rows]
    parquet = pandas.read_parquet(atlas.export(tmp_path / "x.parquet", "parquet"))
    pandas.testing.assert_frame_equal(parquet, frame, check_dtype=False)
    text = atlas.export(tmp_path / "x.csv", "csv").read_text()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["frobenius_norm"]) for row in read] == [row["frobenius_norm"] for row in rows]
    assert json.loads(atlas.export(tmp_path / "x.json", "json").read_text()) == atlas.document()
    with pytest.raises(ValueError, match="csv, parquet or json"):
        atlas.export(tmp_path / "x.xml", "xml")


def test_curves_are_left_out_of_rows_wherever_they_are_missing() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model.get_parameter("0.weight").zero_()
    zero, other = decompose(model).rows()
    assert "eckart_young" not in other
    assert zero.keys() == other.keys()


def test_an_atlas_without_layers(tmp_path: Path) -> None:
    atlas = decompose(nn.Sequential(nn.ReLU()), out=tmp_path / "a")
    assert_same(atlas, Atlas.load(tmp_path / "a"))
    assert (atlas.rows(), len(atlas.to_frame())) == ([], 0)
    atlas.export(tmp_path / "x.csv", "csv")


def test_saving_refuses_and_replaces(atlas: Atlas, tmp_path: Path) -> None:
    folder = atlas.save(tmp_path / "a")
    with pytest.raises(FileExistsError, match="force=True"):
        atlas.save(folder)
    small = replace(atlas, layers=atlas.layers[:2])
    assert_same(small, Atlas.load(small.save(folder, force=True)))
    assert len(list(folder.iterdir())) == 3


def test_other_schemas_are_refused(atlas: Atlas, tmp_path: Path) -> None:
    path = atlas.save(tmp_path / "a") / "atlas.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(ValueError, match="schema version 99, this lmd reads 1; decompose the network again"):
        Atlas.load(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"schema_version": 1}', "[" * 100_000])
def test_damaged_indexes_are_refused(atlas: Atlas, tmp_path: Path, text: str) -> None:
    (atlas.save(tmp_path / "a") / "atlas.json").write_text(text)
    with pytest.raises(ValueError, match=r"decompose the network again|Decompose the network again"):
        Atlas.load(tmp_path / "a")


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:100], lambda b: b[:-1], lambda b: b"\0" * len(b)])
def test_damaged_layers_are_refused_and_can_be_made_again(tmp_path: Path, damage: Any) -> None:
    folder = tmp_path / "a"
    decompose(network(), out=folder)
    path = sorted(folder.glob("00001-*"))[0]
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(ValueError, match=r"missing or damaged.*--resume"):
        Atlas.load(folder)
    decompose(network(), out=folder, resume=True)
    assert path.read_bytes() == whole


def test_missing_atlases_and_layers(atlas: Atlas, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="lmd decompose --out"):
        Atlas.load(tmp_path)
    with pytest.raises(KeyError, match=r"no layer 'x'.*there are 0"):
        atlas.factors("x")


def test_absent_vectors_are_asked_for_with_advice(tmp_path: Path) -> None:
    atlas = decompose(network(), vectors=0, out=tmp_path / "a")
    for held in (atlas, Atlas.load(tmp_path / "a")):
        factors = held.factors("0")
        values = torch.linalg.svdvals(network().get_parameter("0.weight").double())
        assert factors.rank == 0
        for rank in range(8):
            errors = factors.errors(rank)
            assert errors.direction == "exact"
            # 1e-12: float64, sides below 10
            assert errors.frobenius == pytest.approx(values[rank:].square().sum().sqrt().item(), abs=1e-12)
            assert errors.nuclear == pytest.approx(values[rank:].sum().item(), abs=1e-12)
        with pytest.raises(ValueError, match="vectors"):
            truncate(factors, rank=2)


def test_nothing_half_written_stays(atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = atlas.save(tmp_path / "a")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("replace", "chmod", "fdopen"):
        monkeypatch.setattr(lmd.atlas.folder.os, name, fail)
        with pytest.raises(OSError, match="No space"):
            lmd.atlas.folder.write_bytes(folder / "atlas.json", b"other")
        monkeypatch.undo()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_factors_of_a_loaded_atlas_are_factors(atlas: Atlas, tmp_path: Path) -> None:
    factors = Atlas.load(atlas.save(tmp_path / "a")).factors("2")
    assert isinstance(factors, Factors)
    W = network().get_parameter("2.weight").double()
    # float64, sides below 10
    assert torch.linalg.norm(W - (factors.U * factors.S) @ factors.Vh).item() == pytest.approx(
        factors.errors(3).frobenius, abs=1e-12
    )


def test_an_interrupted_replacement_is_no_atlas(atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = decompose(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    other.save(tmp_path / "a")
    writes = iter([False, True])

    def full(path: Path, tensors: Any, record: Any) -> None:
        if next(writes):
            raise OSError(28, "No space left on device", str(path))
        write_tensors(path, tensors, record)

    monkeypatch.setattr("lmd.atlas.atlas.write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        atlas.save(tmp_path / "a", force=True)
    with pytest.raises(FileNotFoundError):
        Atlas.load(tmp_path / "a")


def test_an_atlas_can_replace_itself(atlas: Atlas, tmp_path: Path) -> None:
    loaded = Atlas.load(atlas.save(tmp_path / "a"))
    assert_same(atlas, Atlas.load(loaded.save(tmp_path / "a", force=True)))
