"""A folded normalisation gives the module's own answer; where none is certain the row says so."""

import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_model
from torch import nn

from lmd.activations.input_sizes import sized
from lmd.factors.svd import factors_of
from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from tests.attention_examples import Gated
from tests.seeds import data, linear_part, seeded

FOLD = Wishes(fold_norm=True)


def folded(module, wishes=FOLD):
    network = module if not isinstance(module, nn.Module) else from_module(module)
    return {row.name: row for row in walk(replace(network, wishes=wishes)).layers}


def normalised(norm, x):
    """What the normalisation gives before its gain and shift."""
    with torch.no_grad():
        return (norm(x) - norm.bias) / norm.weight


def test_a_layer_norm_before_a_linear_layer():
    model = seeded(lambda: nn.Sequential(nn.LayerNorm(5), nn.Dropout(), nn.Linear(5, 3)))
    row = folded(model)["2"]
    x = data(4, 5)
    with torch.no_grad():
        own = model(x) - model[2](model[0].bias)
    assert torch.allclose((normalised(model[0], x).double() @ row.load().T).float(), own, atol=1e-5)
    assert "gain of 0, folded in from before" in row.note


@pytest.mark.parametrize("groups", [1, 2])
def test_a_batch_norm_behind_a_convolution(groups):
    model = seeded(lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=groups), nn.BatchNorm2d(6)))
    row = folded(model)["0"]
    x = data(2, 4, 3, 3)
    assert torch.allclose((x.flatten(1).double() @ row.load().T).float(), linear_part(model, x).flatten(1), atol=1e-5)
    assert row.groups == groups
    assert torch.allclose(factors_of(row).spectrum, torch.linalg.svdvals(row.load()), atol=1e-12)


CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2),
    "transposed, grouped": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
    "reflected": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("first", [False, True], ids=["behind", "before"])
def test_operators_and_symbols_have_the_norm_too(name, first):
    conv = CONVOLUTIONS[name]
    model = seeded(
        lambda: nn.Sequential(nn.BatchNorm2d(4), conv()) if first else nn.Sequential(conv(), nn.BatchNorm2d(6))
    )
    place = "1" if first else "0"
    network = sized(from_module(model), None, (4, 5, 6))
    rows = folded(network)
    x = data(2, 4, 5, 6)
    own = linear_part(model, x)
    operator = rows[f"{place}.operator"]
    assert torch.allclose((x.flatten(1).double() @ operator.load().T).float(), own.flatten(1), atol=1e-5)
    assert f"folded in from {'before' if first else 'behind'}" in operator.note
    assert operator.view_of == place
    assert torch.equal(pickle.loads(pickle.dumps(operator)).load(), operator.load())
    symbol = rows[f"{place}.symbol"]
    assert "folded in" in symbol.note
    assert torch.equal(symbol.kernel(), operator.kernel())


def test_the_bracket_is_that_of_the_folded_kernel():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)))
    plain, scaled = (
        decompose(model, input_shape=(4, 20, 20), fold_norm=fold).layer("0.operator") for fold in (False, True)
    )
    norm = torch.linalg.matrix_norm(folded(sized(from_module(model), None, (4, 20, 20)))["0.operator"].load(), 2).item()
    found = scaled.entry["findings"]
    assert found["operator_norm_lower"]["value"] == pytest.approx(norm, rel=1e-9)
    assert found["operator_norm_lower"]["value"] <= norm * (1 + 1e-12) <= found["operator_norm_upper"]["value"]
    assert plain.entry["findings"]["operator_norm_lower"]["value"] != pytest.approx(norm, rel=1e-3)


def test_a_batch_norm_before_a_grouped_convolution():
    model = seeded(lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)))
    row = folded(model)["1"]
    x = data(2, 4, 3, 3)
    assert torch.allclose((x.flatten(1).double() @ row.load().T).float(), linear_part(model, x).flatten(1), atol=1e-5)


def test_a_norm_is_folded_once():
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    rows = folded(model)
    assert "behind" in rows["0"].note
    assert "none is certain" in rows["2"].note
    x = data(5, 3)
    assert torch.allclose(
        (x.double() @ (rows["2"].load().double() @ rows["0"].load()).T).float(), linear_part(model, x), atol=1e-5
    )


def test_a_norm_first_block_feeds_its_attention_and_its_feed_forward_part():
    block = seeded(lambda: nn.TransformerEncoderLayer(8, 2, 12, norm_first=True))
    plain, rows = folded(block, Wishes()), folded(block)
    for name in ("self_attn.query", "self_attn.key.1", "self_attn.value"):
        assert torch.allclose(rows[name].load(), plain[name].load().double() * block.norm1.weight.detach().double())
    assert torch.allclose(
        rows["linear1"].load(), plain["linear1"].load().double() * block.norm2.weight.detach().double()
    )
    for name in ("self_attn.output", "linear2"):
        assert torch.equal(rows[name].load(), plain[name].load())
    assert "none is certain" in rows["linear2"].note


def test_a_norm_behind_the_block_feeds_nothing():
    rows = folded(seeded(lambda: nn.TransformerEncoderLayer(8, 2, 12)))
    assert all("folded in" not in row.note for row in rows.values())


class Block(nn.Module):
    def __init__(self, *names):
        super().__init__()
        for name in names:
            width = nn.LayerNorm(4) if "norm" in name or name.startswith("bn") else None
            self.add_module(name, width or nn.ModuleDict({"q_proj": nn.Linear(4, 4), "up_proj": nn.Linear(4, 4)}))


def test_a_norm_behind_the_attention_is_told_by_the_norms_beside_it():
    pre = folded(Block("input_layernorm", "self_attn", "post_attention_layernorm", "mlp"))
    assert "input_layernorm" in pre["self_attn.q_proj"].note
    assert "post_attention_layernorm" in pre["mlp.up_proj"].note
    behind = folded(
        Block("input_layernorm", "self_attn", "post_attention_layernorm", "pre_feedforward_layernorm", "mlp")
    )
    assert "none is certain" in behind["mlp.up_proj"].note


class PreActivation(nn.Module):
    def __init__(self, *, first):
        super().__init__()
        names = ("bn1", "conv1") if first else ("conv1", "bn1")
        for name in names:
            self.add_module(name, nn.BatchNorm2d(4) if name == "bn1" else nn.Conv2d(4, 4, 3))


def test_numbered_pairs_count_where_the_convolution_comes_first():
    assert "bn1, folded in from behind" in folded(PreActivation(first=False))["conv1"].note
    assert "none is certain" in folded(PreActivation(first=True))["conv1"].note


def test_files_fold_as_their_modules_do(tmp_path):
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)))
    wrapped = nn.Module()
    wrapped.conv1, wrapped.bn1 = model[0], model[1]
    save_model(wrapped, str(tmp_path / "model.safetensors"))
    live, file = folded(wrapped)["conv1"], folded(open_network(tmp_path / "model.safetensors"))["conv1"]
    assert "folded in from behind" in live.note
    assert torch.equal(file.load(), live.load())
    assert torch.equal(pickle.loads(pickle.dumps(live)).load(), live.load())


def test_the_gate_of_gated_queries_is_folded_like_its_queries():
    block = seeded(lambda: nn.ModuleDict({"input_layernorm": nn.LayerNorm(6), "self_attn": Gated()}))
    plain, rows = folded(block, Wishes()), folded(block)
    gain = block["input_layernorm"].weight.detach().double()
    for name in ("self_attn.q_proj.gate", "self_attn.k_proj"):
        assert "folded in from before" in rows[name].note
        assert torch.allclose(rows[name].load(), plain[name].load().double() * gain)


class Elsewhere(nn.Sequential):
    def forward(self, x):
        return self[1](x) + self[0](x)


def test_a_sequence_with_a_forward_of_its_own_folds_nothing():
    rows = folded(Elsewhere(nn.LayerNorm(4), nn.Linear(4, 4)))
    assert "none is certain" in rows["1"].note


def test_of_two_norms_the_one_behind_is_named_as_left_out():
    rows = folded(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), nn.BatchNorm1d(3)))
    assert "gain of 0, folded in from before" in rows["1"].note
    assert "2 behind it is not folded in" in rows["1"].note


def test_the_gain_of_a_norm_that_is_a_guess_makes_the_folded_row_one(tmp_path):
    block = nn.ModuleDict(
        {
            "input_layernorm": nn.RMSNorm(8),
            "self_attn": nn.ModuleDict({f"{name}_proj": nn.Linear(8, 8, bias=False) for name in "qkvo"}),
        }
    )
    save_model(nn.ModuleDict({"0": block}), str(tmp_path / "bare.safetensors"))
    row = folded(open_network(tmp_path / "bare.safetensors"))["0.self_attn.q_proj"]
    assert row.confidence == "guess"
    assert "not by 1 + weight, is a guess" in row.note
    assert "is a guess" not in folded(nn.ModuleDict({"0": block}))["0.self_attn.q_proj"].note


def test_the_second_norm_of_a_vision_transformer_feeds_its_mlp():
    block = nn.ModuleDict(
        {
            "layernorm_before": nn.LayerNorm(4),
            "attention": nn.MultiheadAttention(4, 2),
            "layernorm_after": nn.LayerNorm(4),
            "mlp": nn.ModuleDict({"fc1": nn.Linear(4, 6), "fc2": nn.Linear(6, 4)}),
        }
    )
    seeded(lambda: block)
    rows, x = folded(block, Wishes(fold_norm=True, fold_bias=True)), data(3, 4)
    with torch.no_grad():
        own = block["mlp"]["fc1"](block["layernorm_after"](x))
        plain = nn.functional.layer_norm(x, (4,))
    one = torch.cat([plain, torch.ones(3, 1)], dim=1).double()
    assert torch.allclose((one @ rows["mlp.fc1"].load().T).float(), own, atol=1e-5)
    assert "in its column" in rows["attention.value_output.0"].note
    assert "no normalisation folded" in rows["attention.output"].note
