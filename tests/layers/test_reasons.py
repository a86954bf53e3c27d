"""What is no map has the right status and reason, and notes say what a layer really does."""

import pytest
from torch import nn

from lmd.pipeline.decompose import decompose


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_is_not_initialised_is_unsupported():
    tensors = decompose(nn.Sequential(nn.LazyConv2d(4, 3), nn.Linear(2, 2))).coverage.tensors
    lazy = [tensor for tensor in tensors if tensor.name.startswith("0.")]
    assert {tensor.status for tensor in lazy} == {"unsupported"}
    assert all("not initialised yet" in tensor.reason for tensor in lazy)


def test_a_bias_of_several_axes_is_a_vector():
    (bias,) = (t for t in decompose(nn.LayerNorm((3, 4))).coverage.tensors if t.name == "bias")
    assert (bias.status, bias.reason) == ("vector", "a bias: it shifts, it is no linear map")


def test_an_instance_norm_normalises_each_example():
    (row,) = decompose(nn.InstanceNorm2d(3, affine=True)).layers
    assert "each example" in row.entry["note"]
