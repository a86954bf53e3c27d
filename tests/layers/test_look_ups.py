"""Tables give what a look-up gives: entries that are left out, vectors that are shortened."""

import copy

import torch
from torch import nn

from lmd.layers.walk import walk
from lmd.sources.torch_module import from_module
from tests.seeds import seeded


def test_a_bag_leaves_out_its_padding_and_shortens_long_vectors():
    bag = seeded(lambda: nn.EmbeddingBag(6, 3, padding_idx=2, max_norm=1.0, mode="sum"))
    bag.weight.data.normal_(generator=torch.Generator().manual_seed(3))
    before = bag.weight.detach().clone()
    (row,) = walk(from_module(bag)).layers
    W = row.load()
    assert torch.equal(bag.weight, before)
    own = copy.deepcopy(bag)(torch.arange(6)[:, None]).detach().double()
    assert torch.allclose(W.T, own, atol=1e-6)
    assert "entry 2 is padding" in row.note
    assert "max_norm 1" in row.note


def test_a_table_keeps_the_vector_of_its_padding():
    table = seeded(lambda: nn.Embedding(5, 3, padding_idx=0))
    table.weight.data[0] = 1.0
    (row,) = walk(from_module(table)).layers
    assert torch.equal(row.load().T, table(torch.arange(5)).detach())
    assert "not trained" in row.note
