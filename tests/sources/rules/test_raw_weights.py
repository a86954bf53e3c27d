"""Raw weights of bare files lie as those of live modules do, whatever the bias beside them is called."""

import pytest
import torch
from torch import nn

from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.rules.raw_tensors import bias_of
from lmd.sources.torch_module import from_module
from tests.sources.rules.zoo_parts import tree


@pytest.mark.parametrize(
    ("weight", "bias"),
    [("W1", "b1"), ("w", "b"), ("kernel", "bias"), ("fc1_weight", "fc1_bias"), ("W_xh", "b_xh"), ("weights", "biases")],
)
def test_the_bias_of_a_weight(weight, bias):
    assert bias_of(weight, {weight: (3, 5), bias: (5,), "other": (3,)}) == (5,)


@pytest.mark.parametrize(
    ("names", "shape"), [(("W1", "b1"), (5, 3)), (("kernel", "bias"), (5, 3)), (("M", "x"), (3, 5))]
)
def test_file_and_live_module_agree(names, shape, tmp_path):
    module = tree(inner=tree(**{names[0]: nn.Parameter(torch.randn(3, 5)), names[1]: nn.Parameter(torch.randn(5))}))
    torch.save(module.state_dict(), tmp_path / "m.pt")
    rows = [walk(network).layers for network in (from_module(module), open_network(tmp_path / "m.pt"))]
    assert [(row.name, row.shape, row.confidence) for row in rows[0]] == [
        (row.name, row.shape, row.confidence) for row in rows[1]
    ]
    assert (rows[0][0].name, rows[0][0].shape) == (f"inner.{names[0]}", shape)


def test_a_kind_for_a_raw_tensor(tmp_path):
    weight = torch.randn(3, 5)
    torch.save({"W1": weight, "b1": torch.randn(5)}, tmp_path / "m.pt")
    (row,) = walk(open_network(tmp_path / "m.pt", kinds={"W1": "dense"})).layers
    assert (row.name, row.kind, row.shape, row.confidence) == ("W1", "dense", (3, 5), "declared")
    assert torch.equal(row.load(), weight)
