"""Circuits at a distance, with biases, of heads that nobody or only config.json counts."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from tests.attention_examples import LAYOUTS, Attention, Bert, Gpt2, Grouped, Neighbours, NeoX, RMSNorm
from tests.examples import data, seeded

EXACT = 1e-5
"""Modules compute in float32."""


def layers(module: nn.Module, **wishes: int) -> dict[str, LayerMatrix]:
    network = replace(from_module(module), wishes=Wishes(**wishes))
    return {layer.name: layer for layer in walk(network).layers}


def with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], dim=1).double()


@pytest.mark.parametrize("build", [Grouped, Neighbours, NeoX])
@pytest.mark.parametrize("distance", [-3, 1, 7])
def test_circuits_at_a_distance_are_what_rotary_positions_compare(build: type[Attention], distance: int) -> None:
    module = seeded(build)
    rows = layers(module, distance=distance)
    width = rows["query_key.0"].shape[1]
    x = data(2, width)
    with torch.no_grad():
        logits = module.logits(x, torch.tensor([11.0 + distance, 11.0]))
    for head in range(len(logits)):
        row = rows[f"query_key.{head}"]
        assert f"distance {distance}" in row.note
        torch.testing.assert_close(
            x[0].double() @ row.load() @ x[1].double(), logits[head, 0, 1].double(), rtol=EXACT, atol=EXACT
        )
    at_zero = layers(module)["query_key.0"]
    assert (rows["query_key.0"].load() - at_zero.load()).abs().max() > 0.01


@pytest.mark.parametrize("build", [Grouped, Gpt2, NeoX])
def test_biases_are_folded_into_rows_and_circuits(build: type[Attention]) -> None:
    module = seeded(lambda: build(bias=True))
    rows = layers(module, fold_bias=True)
    x = data(4, rows["value_output.0"].shape[0])
    with torch.no_grad():
        logits, whole = module.logits(x).double(), module(x).double()
        parts = module.split(x)
    circuits = [name for name in rows if name.startswith("query_key.")]
    projections = [row.load().double() for row in rows.values() if row.view_of is None]
    for W, part in zip(projections[:3], parts, strict=True):
        torch.testing.assert_close(with_one(x) @ W.T, part.transpose(0, 1).flatten(1).double(), rtol=EXACT, atol=EXACT)
    total = projections[3][:, -1]
    for head in range(len(circuits)):
        compared = with_one(x) @ rows[f"query_key.{head}"].load() @ with_one(x).T
        torch.testing.assert_close(compared, logits[head], rtol=EXACT, atol=EXACT)
        weights = torch.softmax(compared / 3.0, dim=-1)
        total = total + weights @ with_one(x) @ rows[f"value_output.{head}"].load().T
    torch.testing.assert_close(total, whole, rtol=EXACT, atol=EXACT)


def test_biases_of_packed_projections_are_folded() -> None:
    module = seeded(lambda: nn.MultiheadAttention(6, 2))
    rows = layers(module, fold_bias=True)
    x, size = data(5, 6), 3
    total = rows["output"].load()[:, -1].double()
    for head in range(2):
        compared = with_one(x) @ rows[f"query_key.{head}"].load() @ with_one(x).T
        total = (
            total + torch.softmax(compared / size**0.5, dim=-1) @ with_one(x) @ rows[f"value_output.{head}"].load().T
        )
    with torch.no_grad():
        torch.testing.assert_close(total, module(x, x, x)[0].double(), rtol=EXACT, atol=EXACT)
    assert rows["query.1"].shape == (3, 7)
    assert rows["output.1"].shape == (6, 3)


def test_without_rotary_positions_a_distance_has_no_effect_and_that_is_said() -> None:
    module = seeded(Gpt2)
    far, near = layers(module, distance=5)["query_key.1"], layers(module)["query_key.1"]
    assert "distance 5 has no effect" in far.note
    assert torch.equal(far.load(), near.load())


@pytest.mark.parametrize("name", LAYOUTS)
def test_without_parts_each_weight_is_there_and_no_view(name: str) -> None:
    build, names = LAYOUTS[name]
    rows = layers(seeded(build), parts=False)
    assert tuple(rows) == tuple(n for n in names if not n.startswith(("query_key.", "value_output.")))


def test_heads_nobody_counts_leave_the_projections_with_a_note() -> None:
    module = nn.ModuleDict({name: nn.Linear(6, 6) for name in ("q_proj", "k_proj", "v_proj", "o_proj")})
    rows = layers(module)
    assert [row.kind for row in rows.values()] == ["query", "key", "value", "attention_output"]
    assert all("number of heads" in row.note for row in rows.values())
    fused = layers(nn.ModuleDict({"query_key_value": nn.Linear(6, 18), "dense": nn.Linear(6, 6)}))
    assert [row.kind for row in fused.values()] == ["dense", "attention_output"]
    blocks = layers(nn.ModuleDict({"c_attn": nn.Linear(6, 18), "c_proj": nn.Linear(6, 6)}))
    assert list(blocks) == ["c_attn.query", "c_attn.key", "c_attn.value", "c_proj"]


def test_heads_that_do_not_fit_are_not_believed() -> None:
    module = seeded(Grouped)
    module.num_heads, module.head_dim = 3, 7
    # what a trial of the module shows is believed
    assert len([name for name in layers(module) if name.startswith("query_key.")]) == 4
    silent = nn.ModuleDict(dict(module.named_children()))
    silent.num_heads, silent.head_dim = 3, 7
    assert not [name for name in layers(silent) if name.startswith("query_key.")]


class Named(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.attention = inner


@pytest.mark.parametrize(("build", "heads"), [(Bert, 3), (partial(Gpt2, bias=True), 2), (NeoX, 2), (Grouped, 4)])
def test_a_bare_checkpoint_learns_its_heads_from_config_json(
    build: Callable[[], Attention], heads: int, tmp_path: Path
) -> None:
    module = Named(seeded(build))
    save_model(module, str(tmp_path / "model.safetensors"))
    bare = [layer.name for layer in walk(open_network(tmp_path)).layers]
    assert not [name for name in bare if "query_key." in name.replace("query_key_value", "")]
    known = {"num_attention_heads": heads, "rope_theta": 10.0, "rotary_ndims": 2}
    (tmp_path / "config.json").write_text(json.dumps(known if build is NeoX else {"num_attention_heads": heads}))
    ours = {layer.name: layer for layer in walk(from_module(module)).layers}
    theirs = {layer.name: layer for layer in walk(open_network(tmp_path)).layers}
    assert set(theirs) == set(ours)
    for name, layer in theirs.items():
        assert torch.equal(layer.load(), ours[name].load()), name


def test_gains_of_a_family_that_stores_them_from_one() -> None:
    class OneMore(RMSNorm):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1.0 + self.weight)

    module = seeded(LAYOUTS["normalised queries"][0])
    plain = layers(module)["query_key.0"]
    assert "gains of the query and key norms" in plain.note
    norm = OneMore(3)
    norm.weight.data = module.q_norm.weight.data - 1.0
    module.q_norm = norm
    torch.testing.assert_close(layers(module)["query_key.0"].load(), plain.load(), rtol=EXACT, atol=EXACT)
    assert "q_norm" in layers(module)


def test_a_view_of_a_norm_does_not_take_its_row() -> None:
    rows = layers(seeded(LAYOUTS["normalised queries"][0]))
    assert rows["q_norm"].kind == "diagonal"
    assert "q_norm.weight" in rows["query_key.0"].loader.tensors


def test_a_person_says_how_many_heads_a_bare_file_has(tmp_path: Path) -> None:
    model = nn.ModuleDict(
        {"attn": nn.ModuleDict({n: nn.Linear(8, 8) for n in ("q_proj", "k_proj", "v_proj", "o_proj")})}
    )
    save_model(model, str(tmp_path / "m.safetensors"))
    untold = {row.name for row in walk(open_network(tmp_path / "m.safetensors")).layers}
    told = {row.name: row for row in walk(open_network(tmp_path / "m.safetensors", kinds={"att*": "heads:2"})).layers}
    assert set(told) - untold == {
        f"attn.{circuit}.{head}" for circuit in ("query_key", "value_output") for head in (0, 1)
    }
    q, k = model["attn"]["q_proj"].weight.double(), model["attn"]["k_proj"].weight.double()
    assert torch.allclose(told["attn.query_key.1"].load(), q[4:].T @ k[4:])
