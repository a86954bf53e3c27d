"""Stacks of experts: nothing but the expert's own slice is read, and the parts make up the whole."""

import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from lmd.layers.blocks import expert_rows
from lmd.layers.convolutions.pooled import Pooled, as_computed
from lmd.layers.walk import walk
from lmd.sources.loaders import Held
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from lmd.testing import Unreadable
from tests.expert_examples import STACKS
from tests.expert_modules import Routed, RoutedStacks
from tests.kind_modules import PairedExperts, SeparateExperts, StackedExperts
from tests.seeds import data, seeded


def rows(network, **wishes):
    return {row.name: row for row in walk(replace(network, wishes=Wishes(**wishes))).layers}


def test_an_expert_reads_its_own_slice():
    for row in rows(from_module(seeded(StackedExperts)), parts=False).values():
        assert row.loader().shape[0] == 1
        assert row.loader().numel() == row.shape[0] * row.shape[1]


def test_without_parts_there_is_a_row_for_each_expert_only():
    found = rows(from_module(seeded(StackedExperts)), parts=False)
    assert len(found) == 9
    assert all(row.view_of is None for row in found.values())


def test_an_untold_layout_is_a_guess():
    module = seeded(SeparateExperts)
    module.hidden_size = None
    found = rows(from_module(module))
    assert found["w1.0"].confidence == "guess"
    assert found["w1.0"].shape == (4, 6)
    assert rows(from_module(seeded(SeparateExperts)))["w1.0"].shape == (6, 4)


def test_a_file_gives_the_rows_of_its_module(tmp_path):
    for module in (StackedExperts(), StackedExperts(transposed=True), PairedExperts()):
        state = {f"mlp.experts.{name}": tensor for name, tensor in seeded(lambda m=module: m).state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
        live, file = rows(from_module(module)), rows(open_network(tmp_path / "model.safetensors"))
        assert {f"mlp.experts.{name}" for name in live} == set(file)
        for name, row in live.items():
            assert torch.equal(row.load(), file[f"mlp.experts.{name}"].load()), name


def test_many_experts_have_a_mean_and_no_deviations(monkeypatch):
    monkeypatch.setattr(expert_rows, "_MOST_READ", 1000)
    module = StackedExperts()
    module.gate_up_proj = torch.nn.Parameter(data(17, 10, 4))
    module.down_proj = torch.nn.Parameter(data(17, 4, 5))
    found = rows(from_module(module))
    assert "all 17 are left out" in found["down_proj.mean"].note
    assert not any(name.endswith("deviation") for name in found)


@pytest.mark.parametrize("example", STACKS, ids=lambda e: e.name)
def test_a_file_gives_the_stacks_of_its_module(example, tmp_path):
    save_file({f"block.{n}": t for n, t in example.module.state_dict().items()}, tmp_path / "model.safetensors")
    live, file = rows(from_module(example.module)), rows(open_network(tmp_path / "model.safetensors"))
    assert set(file) == {f"block.{name}" for name in live}
    for name, row in live.items():
        assert torch.equal(row.load(), file[f"block.{name}"].load()), name


def test_stacks_say_how_sure_their_layout_is():
    found = rows(from_module(seeded(Routed)))
    assert found["w_in.0"].confidence == "siblings"
    found = rows(from_module(seeded(RoutedStacks)))
    assert found["experts.wi.0.gate"].confidence == "guess"
    assert "gate and up the other way round" in found["experts.wi.0.gate"].alternatives
    square = Routed()
    square.w_in, square.w_out = torch.nn.Parameter(data(3, 4, 4)), torch.nn.Parameter(data(3, 4, 4))
    assert rows(from_module(square))["w_in.0"].alternatives == ("transposed",)


def test_experts_take_their_biases():
    for module in (seeded(Routed), seeded(PairedExperts)):
        found = rows(from_module(module), fold_bias=True)
        assert not {"b_in", "gate_up_proj_bias"} & set(found)
        x = data(4, 4)
        entering = torch.cat([x, torch.ones(4, 1)], dim=1)
        if isinstance(module, Routed):
            own = x @ module.w_in[1].detach() + module.b_in[1].detach()
            assert torch.allclose(entering @ found["w_in.1"].load().T, own, atol=1e-6)
            mean = (found["w_in.mean"].load() + found["w_in.1.deviation"].load()).float()
            assert torch.allclose(mean, found["w_in.1"].load(), atol=1e-6)
        else:
            own = (x @ module.gate_up_proj[1] + module.gate_up_proj_bias[1]).detach()
            for half, word in enumerate(("gate", "up")):
                mapped = entering @ found[f"gate_up_proj.1.{word}"].load().T
                assert torch.allclose(mapped, own[:, half::2], atol=1e-6)


def test_kernels_beside_a_gate_stay_kernels(tmp_path):
    state = {"se.gate.weight": data(4, 4), "se.conv1.weight": data(4, 4, 3), "se.conv2.weight": data(4, 4, 3)}
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    found = rows(open_network(tmp_path / "model.safetensors"))
    assert found["se.conv1"].kind == "kernel_matrix"


@given(st.integers(1, 5), st.integers(0, 100))
def test_deviations_sum_to_nothing(experts, seed):
    stack = torch.randn(experts, 3, 2, generator=torch.Generator().manual_seed(seed))
    parts = tuple(Held("stack", stack[e]) for e in range(experts))
    mean = Pooled(parts, as_computed, (3, 2))
    deviations = [Pooled(parts, as_computed, (3, 2), e) for e in range(experts)]
    assert torch.allclose(mean(), stack.double().mean(0), atol=1e-12)
    assert sum(one() for one in deviations).abs().max() < 1e-12
    assert torch.equal(mean.narrow(0, 1, 2)(), mean()[1:])
    assert mean.narrow(0, 1, 2).tensors == ("stack",)


def test_what_is_sent_is_the_result_and_not_the_stack():
    parts = tuple(Held("stack", data(40, 40)) for _ in range(30))
    sent = pickle.dumps(Pooled(parts, as_computed, (40, 40), 3))
    assert len(sent) < 40 * 40 * 8 + 10_000
    assert torch.equal(pickle.loads(sent)(), Pooled(parts, as_computed, (40, 40), 3)())
    assert pickle.loads(sent).tensors == ("stack",)
    lazy = Pooled((Unreadable(("stack",), (2, 2)),), as_computed, (2, 2))
    assert pickle.loads(pickle.dumps(lazy)).shape == (2, 2)
