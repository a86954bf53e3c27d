"""Attention that is found by its form, what is said where a form does not tell everything, and what is no attention."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from tests.attention_examples import heads_first
from tests.attention_forms import FORMS, OTHERS, ByHead, Disentangled, Latent, OneByOne, Tutorial, WithHeadsFirst
from tests.examples import data, seeded
from tests.layers.test_attention import EXACT, layers, with_one

SQUARE = ("q", "k", "v")


def kinds(module: nn.Module) -> set[str]:
    return {row.kind for row in layers(module).values()}


def linears(*names: str) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(4, 4) for name in names})


class Counted(nn.Module):
    """Four square maps in a list, with a count that is none of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_layers = 4
        self.linears = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))


class Critics(nn.Module):
    """A list of modules of which none is an attention."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(linears("key", "query") for _ in range(3))
        self.proj = nn.Linear(12, 4)


def wide_pictures() -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Conv2d(4, 4, 3) for name in ("query", "key", "value")})


FALSE_FRIENDS = {
    "an MLP": (lambda: linears("q", "k", "out"), {"dense"}),
    "gates": (lambda: linears("reset", "refresh", "candidate", "out"), {"dense"}),
    "retrieval": (lambda: linears("query", "key"), {"dense"}),
    "retrieval with an output": (lambda: linears("query_proj", "key_proj", "output"), {"dense"}),
    "a mixer": (lambda: nn.ModuleDict({"in_proj": nn.Linear(4, 12), "out_proj": nn.Linear(4, 4)}), {"dense"}),
    "convolutions of neighbours": (wide_pictures, {"kernel_matrix", "conv_symbol"}),
    "networks": (
        lambda: nn.ModuleDict({n: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for n in SQUARE}),
        {"dense"},
    ),
    "widths that cannot meet": (
        lambda: nn.ModuleDict({n: nn.Linear(4, size) for n, size in zip(SQUARE, (6, 4, 4), strict=True)}),
        {"dense"},
    ),
    "a list of maps": (Counted, {"dense"}),
    "a list of heads without values": (Critics, {"dense"}),
    "raw matrices": (lambda: nn.ParameterDict({n: nn.Parameter(torch.ones(4, 4)) for n in (*SQUARE, "o")}), {"dense"}),
}


@pytest.mark.parametrize("name", FALSE_FRIENDS)
def test_what_only_looks_like_attention_is_left_to_its_kinds(name: str) -> None:
    build, wanted = FALSE_FRIENDS[name]
    assert kinds(seeded(build)) == wanted


@pytest.mark.parametrize("name", [*FORMS, *OTHERS])
def test_a_bare_file_claims_no_heads_that_it_does_not_tell(name: str, tmp_path: Path) -> None:
    build, _ = {**FORMS, **OTHERS}[name]
    holder = nn.ModuleDict({"attn": seeded(build)})
    save_model(holder, str(tmp_path / "m.safetensors"))
    live = {row.name: row for row in walk(from_module(holder)).layers}
    for row in walk(open_network(tmp_path / "m.safetensors")).layers:
        assert row.confidence != "declared"
        if row.kind in ("query", "key", "value", "attention_output") and "number of heads is not known" in row.note:
            continue
        if row.name in live and live[row.name].kind == row.kind:
            assert row.confidence == "guess" or torch.equal(row.load(), live[row.name].load()), row.name
        else:
            assert row.kind in ("dense", "kernel_matrix"), row.name


def test_what_nothing_tells_is_a_guess_with_the_other_kind_named() -> None:
    silent = nn.ModuleDict({"qkv": nn.Linear(6, 18), "proj": nn.Linear(6, 6)})
    silent.num_heads = 2
    rows = layers(silent)
    assert (
        rows["qkv.query"].confidence == rows["query_key.0"].confidence == rows["value_output.1"].confidence == "guess"
    )
    assert rows["qkv.query"].alternatives == ("dense",)
    assert "by convention only" in rows["qkv.query"].note
    assert rows["proj"].confidence == "declared"


def test_a_trial_leaves_no_guess_and_no_trace() -> None:
    module = seeded(Tutorial)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.random.get_rng_state()
    rows = layers(module)
    assert {row.confidence for row in rows.values()} == {"declared"}
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


class Weighed(Tutorial):
    """Weights that are no softmax: keys and queries matter even where all tokens are alike."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(x.reshape(-1, 6))
        return self.o_proj(((q @ k.transpose(1, 2)) @ v).transpose(0, 1).flatten(1))


def test_weights_that_are_no_softmax_are_named() -> None:
    assert "no softmax" in layers(seeded(Weighed))["query_key.0"].note
    assert "no softmax" not in layers(seeded(Tutorial))["query_key.0"].note


@pytest.mark.parametrize("build", [Disentangled, lambda: WithHeadsFirst().with_biases()])
def test_biases_beside_the_projections_are_folded(build: type[nn.Module]) -> None:
    module = seeded(build)
    module.shifted = True
    rows, x = layers(module, fold_bias=True), data(4, 6)
    with torch.no_grad():
        logits, values = module.logits(x).double(), module.split(x)[2].double()
    for head in range(2):
        left, right = (with_one(x)[:, :n] for n in rows[f"query_key.{head}"].shape)
        torch.testing.assert_close(
            left @ rows[f"query_key.{head}"].load() @ right.T, logits[head], rtol=EXACT, atol=EXACT
        )
        _, V = rows[f"value_output.{head}"].thin()
        torch.testing.assert_close(with_one(x) @ V.T, values[head], rtol=EXACT, atol=EXACT)


class LinearNorm(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.add_module("c", nn.Linear(inputs, outputs, bias=False))
        self.add_module("bn", nn.BatchNorm1d(outputs))


class Levit(nn.Module):
    """Batch norms behind the projections, an activation before the output."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.key_dim, self.attn_ratio = 2, 3, 2
        self.qkv = LinearNorm(6, 24)
        self.proj = nn.Sequential(nn.Hardswish(), LinearNorm(12, 6))

    def logits(self, x: Tensor) -> Tensor:
        q, k, _ = heads_first(self.qkv(x), 2).split([3, 3, 6], dim=2)
        return q @ k.transpose(1, 2)


def test_batch_norms_are_folded_into_circuits_and_activations_end_them() -> None:
    module = seeded(Levit).eval()
    module.qkv.bn.running_mean.copy_(data(24))
    x = data(4, 6)
    rows = layers(module, fold_bias=True)
    with torch.no_grad():
        logits = module.logits(x).double()
    for head in range(2):
        compared = with_one(x) @ rows[f"query_key.{head}"].load() @ with_one(x).T
        torch.testing.assert_close(compared, logits[head], rtol=EXACT, atol=EXACT)
    assert not [name for name in rows if name.startswith("value_output")]
    assert "Hardswish stands between" in rows["qkv.c.value"].note
    assert rows["qkv.bn"].kind == "diagonal"
    stored = module.qkv.c.weight.detach().view(2, 12, 6)
    assert torch.equal(layers(module)["qkv.c.query"].load(), stored[:, :3].reshape(6, 6))


class SelfAttention2d(nn.Module):
    """As in SAGAN: one head, no output, a gain that starts at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.query_conv, self.key_conv = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)
        self.value_conv, self.gamma = nn.Conv2d(8, 8, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).flatten(2) for layer in (self.query_conv, self.key_conv, self.value_conv))
        weights = torch.softmax(q.transpose(1, 2) @ k, dim=-1)
        return self.gamma * (v @ weights.transpose(1, 2)).reshape(x.shape) + x


def test_a_single_head_without_an_output_is_compared_and_its_values_say_why_nothing_is_written() -> None:
    module = seeded(SelfAttention2d)
    rows = layers(module)
    x = data(1, 8, 2, 2)
    tokens = x[0].flatten(1).T.double()
    with torch.no_grad():
        q, k = (
            (layer(x) - layer.bias[:, None, None])[0].flatten(1).T.double() for layer in list(module.children())[:2]
        )
    torch.testing.assert_close(tokens @ rows["query_key.0"].load() @ tokens.T, q @ k.T, rtol=EXACT, atol=EXACT)
    assert {name for name in rows if "." in name} == {"query_key.0"}
    assert "no output projection" in rows["value_conv"].note
    assert rows["gamma"].kind == "diagonal"


def test_a_child_of_a_subclass_leaves_each_row_a_name_of_its_own() -> None:
    class Extended(nn.MultiheadAttention):
        def __init__(self) -> None:
            super().__init__(6, 2)
            self.query, self.output = nn.Linear(6, 6), nn.Linear(6, 6)

    names = [row.name for row in walk(from_module(seeded(Extended))).layers]
    assert len(names) == len(set(names))
    assert {"query", "in_proj.query", "in_proj.query.1", "key", "out_proj", "output"} <= set(names)


def test_a_head_of_its_own_module_needs_no_count_and_no_output() -> None:
    module = seeded(OneByOne)
    del module.proj
    rows = layers(module)
    assert [name for name in rows if "query_key" in name] == ["query_key.0", "query_key.1"]
    assert rows["query_key.1"].view_of == "heads.1.query"
    assert "no value_output" in rows["heads.0.value"].note
    assert layers(seeded(OneByOne))["value_output.1"].view_of == "proj"


def test_a_latent_tells_its_heads_by_its_shapes_and_turns_its_rotary_part(tmp_path: Path) -> None:
    module = seeded(Latent)
    x = data(2, 6)
    far = layers(module, distance=3)
    with torch.no_grad():
        _, rotary = module.logits(x, torch.tensor([11.0, 8.0]))
    for head in range(2):
        compared = x[0].double() @ far[f"rotary.query_key.{head}"].load() @ x[1].double()
        torch.testing.assert_close(compared, rotary[head, 0, 1].double(), rtol=EXACT, atol=EXACT)
    assert torch.equal(far["query_key.0"].load(), layers(module)["query_key.0"].load())
    save_model(nn.ModuleDict({"attn": module}), str(tmp_path / "m.safetensors"))
    bare = {row.name: row for row in walk(open_network(tmp_path / "m.safetensors")).layers}
    for name, row in layers(module).items():
        assert torch.equal(bare[f"attn.{name}"].load(), row.load()), name


def test_heads_of_unequal_widths_are_not_read_as_blocks(tmp_path: Path) -> None:
    save_model(nn.ModuleDict({"attn": seeded(ByHead)}), str(tmp_path / "m.safetensors"))
    rows: dict[str, LayerMatrix] = {r.name: r for r in walk(open_network(tmp_path / "m.safetensors")).layers}
    assert rows["attn.qkv"].kind == "dense"
    assert "divided in no known way" in rows["attn.qkv"].note
