"""The module tree of a bare file: names torch refuses, names that are tensors and prefixes at once."""

import pytest
import torch
from safetensors.torch import save_file

from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network


@pytest.mark.parametrize(
    "name", ["type", "half", "train", "forward", "a.type.b", "x..y", "", "ein-fach.ü", "parameters"]
)
def test_awkward_names_come_back_as_the_file_has_them(name, tmp_path):
    prefix = f"{name}." if name else ""
    save_file({f"{prefix}weight": torch.randn(3, 2), f"{prefix}bias": torch.zeros(3)}, tmp_path / "m.safetensors")
    atlas = decompose(tmp_path / "m.safetensors")
    assert [record.name for record in atlas.layers] == [name or "weight"]
    assert atlas.coverage.accounted == 1.0


def test_a_layer_inside_a_layer_is_kept(tmp_path):
    tensors = {
        "fc.weight": torch.randn(4, 3),
        "fc.bias": torch.zeros(4),
        "fc.inner.weight": torch.randn(2, 4),
        "fc.inner.bias": torch.zeros(2),
        "fc.inner.deep.weight": torch.randn(5, 2),
        "fc.inner.deep.bias": torch.zeros(5),
    }
    for order in (list(tensors), list(reversed(tensors))):
        torch.save({name: tensors[name] for name in order}, tmp_path / "m.pt")
        assert {r.name for r in decompose(tmp_path / "m.pt").layers} == {"fc", "fc.inner", "fc.inner.deep"}


def test_the_skeleton_holds_no_numbers(tmp_path):
    torch.save({"fc.weight": torch.randn(4, 3), "fc.bias": torch.zeros(4)}, tmp_path / "m.pt")
    network = open_network(tmp_path / "m.pt")
    assert all(parameter.is_meta for parameter in network.skeleton.parameters())
    assert not network.runs
