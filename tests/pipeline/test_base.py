"""A difference from a base is the SVD of the subtracted matrices; what cannot be subtracted says why."""

import copy
import pickle
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from lmd.atlas.atlas import Atlas
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.differences import Unpaired, compared
from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.derived_loaders import Difference, Transposed
from lmd.sources.loaders import Held
from lmd.sources.open_network import open_network
from tests.examples import KINDS, NETWORKS
from tests.references.matrices import matrices

# adapters stay as they are; torch cannot copy a module with the old weight norm
COMPARED = [one for one in KINDS if not one.name.startswith(("LoRA", "DoRA", "LoKr", "weight norm, old"))]


def moved(module: nn.Module, step: float = 0.1) -> nn.Module:
    other = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(17)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(step * torch.randn(parameter.shape, generator=generator))
    return other


def whole(module: nn.Module) -> dict[str, LayerMatrix]:
    return {row.name: row for row in walk(open_network(module)).layers if row.view_of is None}


@given(matrices(max_side=9), st.integers(0, 99), st.sampled_from([0.0, 1e-6, 1.0]))
@settings(max_examples=60)
def test_a_dense_difference_is_that_of_the_matrices(W: Tensor, seed: int, step: float) -> None:
    out, inn = W.shape
    noise = torch.randn(out, inn, generator=torch.Generator().manual_seed(seed)).to(W.dtype)
    mine, base = (nn.Linear(inn, out, bias=False, dtype=W.dtype) for _ in range(2))
    mine.weight.data, base.weight.data = W + step * noise, W
    reference = torch.linalg.svdvals(mine.weight.detach().double() - W.double())
    atlas = decompose(mine, base=base, vectors=None)
    factors = atlas.factors("weight")
    assert factors.spectrum is not None
    # 1e-11 of the largest value: what the Gram matrix gives where it is used
    assert (factors.spectrum - reference).abs().max() <= 1e-11 * max(reference[0].item(), 1e-300)
    assert atlas.layers[0].entry["kind"] == "difference"
    assert atlas.coverage.decomposed == 1.0


@pytest.mark.parametrize("example", COMPARED, ids=lambda e: e.name)
def test_every_kind_subtracts_to_the_difference_of_its_matrices(example) -> None:
    other = moved(example.module)
    mine, theirs = whole(other), whole(example.module)
    found = compared(walk(open_network(other)), open_network(example.module)).layers
    assert [row.name for row in found] == list(mine)
    for row in found:
        assert not isinstance(row, Unpaired)
        difference = mine[row.name].load().double() - theirs[row.name].load().double()
        assert torch.equal(row.load(), difference)
        assert row.loader.tensors == mine[row.name].loader.tensors
        panels = torch.cat(list(row.panels()), dim=0 if row.shape[0] >= row.shape[1] else 1)
        assert torch.equal(panels, difference)
        assert torch.equal(pickle.loads(pickle.dumps(row)).load(), difference)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_network_against_itself_is_zero_everywhere(network: str) -> None:
    module = NETWORKS[network]
    atlas = decompose(module, base=module)
    assert {record.failed for record in atlas.layers} == {False}
    assert all(record.arrays()["spectrum"].abs().max() == 0 for record in atlas.layers)
    for record in atlas.layers:
        found = record.entry["findings"]
        assert found["update_ratio"]["value"] == 0
        assert found["base_overlap_in"]["value"] is None
        assert "zero" in found["base_overlap_in"]["reason"]
        assert not any(value.get("failed") for value in found.values())
    assert atlas.coverage.accounted == 1.0


def test_files_and_modules_are_compared_alike(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    other = moved(module)
    save_file(module.state_dict(), tmp_path / "base.safetensors")
    torch.save(other.state_dict(), tmp_path / "mine.pt")
    read = decompose(tmp_path / "mine.pt", base=tmp_path / "base.safetensors")
    live = decompose(other, base=module)
    assert [r.name for r in read.layers] == ["0", "1"]
    for ours, theirs in zip(read.layers, live.layers, strict=True):
        assert torch.equal(ours.arrays()["spectrum"], theirs.arrays()["spectrum"])
        assert ours.entry["findings"] == theirs.entry["findings"]
    assert read.provenance["base"]["sha256"] == open_network(tmp_path / "base.safetensors").sha256


class Grown(nn.Module):
    def __init__(self, width: int, extra: str) -> None:
        super().__init__()
        self.same = nn.Linear(4, 4)
        self.wider = nn.Linear(4, width)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2 if width == 5 else 1)
        self.add_module(extra, nn.Linear(4, 2))


def test_layers_without_a_counterpart_are_rows_with_a_reason(tmp_path: Path) -> None:
    atlas = decompose(Grown(5, "mine"), base=Grown(6, "theirs"), out=tmp_path / "atlas")
    reasons = {record.name: record.entry["reason"] for record in atlas.layers}
    assert reasons["same"] == ""
    assert reasons["wider"] == "5 x 4 here and 6 x 4 in the base"
    assert "in 2 groups" in reasons["grouped"]
    assert reasons["mine"] == "the base has no layer of this name"
    assert reasons["theirs"] == "only the base has a layer of this name"
    assert not any(record.failed for record in atlas.layers)
    statuses = {t.name: (t.status, t.reason) for t in atlas.coverage.tensors if t.name.endswith("weight")}
    assert statuses["same.weight"] == ("decomposed", "")
    assert statuses["wider.weight"] == ("unsupported", reasons["wider"])
    assert atlas.coverage.accounted == 1.0
    loaded = Atlas.load(tmp_path / "atlas")
    assert [r.entry for r in loaded.layers] == [r.entry for r in atlas.layers]
    with pytest.raises(ValueError, match="only the base"):
        loaded.factors("theirs")


def test_another_network_altogether_is_refused() -> None:
    with pytest.raises(ValueError, match="the base has none of the 2 layers"):
        decompose(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), base=nn.ModuleDict({"x": nn.Linear(5, 5)}))
    with pytest.raises(TypeError, match="base is of type dict"):
        decompose(nn.Linear(3, 2), base=cast(Any, {}))


def test_resume_refuses_another_base(tmp_path: Path) -> None:
    module, base = nn.Linear(4, 3), nn.Linear(4, 3)
    decompose(module, base=base, out=tmp_path / "a")
    decompose(module, base=base, out=tmp_path / "a", resume=True)
    for other in (moved(base), None):
        with pytest.raises(ValueError, match="base"):
            decompose(module, base=other, out=tmp_path / "a", resume=True)


class Counting:
    """A loader that remembers how much was read at once."""

    def __init__(self, inner: Held, most: list[int]) -> None:
        self.inner, self.most = inner, most
        self.tensors, self.shape = inner.tensors, inner.shape

    def __call__(self) -> Tensor:
        read = self.inner()
        self.most.append(read.numel())
        return read

    def narrow(self, dim: int, start: int, length: int) -> "Counting":
        return Counting(self.inner.narrow(dim, start, length), self.most)


@pytest.mark.parametrize("turned", [False, True])
def test_no_more_than_a_panel_of_either_is_read(turned: bool) -> None:
    shape = (70_000, 40)
    read: list[int] = []
    mine, theirs = (Counting(Held("w", torch.ones(shape)), read) for _ in range(2))
    loader = Difference(*(Transposed(one) if turned else one for one in (mine, theirs)))
    row = LayerMatrix("w", "difference", loader.shape, loader)
    assert sum(panel.abs().sum().item() for panel in row.panels()) == 0
    # a panel holds about a million elements
    assert max(read) <= 1 << 20
    assert sum(read) == 2 * shape[0] * shape[1]


def test_layers_of_two_kinds_say_so_and_a_kernel_does_not_ask_for_a_size() -> None:
    mine = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Conv2d(2, 2, 3))
    base = nn.Sequential(nn.Embedding(4, 4), nn.Conv2d(2, 2, 3))
    table, kernel = decompose(mine, base=base).layers
    assert "dense here, embedding in the base" in table.entry["note"]
    assert "no operator" not in kernel.entry["note"]
