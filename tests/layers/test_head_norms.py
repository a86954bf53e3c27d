"""Norms of queries and keys with a shift, over all heads, and without anything stored; what rows say of the rest."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from lmd.layers.attention.families import HALVES, NEIGHBOURS
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from tests.attention_examples import Grouped, Normed, heads_first
from tests.examples import data, seeded

EXACT = 1e-5
"""Modules compute in float32."""
EPSILON = 1e-5


class Shifted(Grouped):
    """Queries and keys through layer norms with gain and shift, of each head or of all heads at once; then turned."""

    def __init__(self, *, bias: bool, over_all: bool) -> None:
        super().__init__(bias=bias)
        self.over_all = over_all
        self.q_norm, self.k_norm = (nn.LayerNorm(n if over_all else 4, EPSILON) for n in (16, 8))
        for norm in (self.q_norm, self.k_norm):
            norm.weight.data, norm.bias.data = torch.rand(norm.weight.shape) + 0.5, torch.randn(norm.bias.shape)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = []
        for layer, norm, heads in ((self.q_proj, self.q_norm, 4), (self.k_proj, self.k_norm, 2)):
            part = layer(x)
            parts.append(heads_first(norm(part), heads) if self.over_all else norm(heads_first(part, heads)))
        return parts[0], parts[1], heads_first(self.v_proj(x), 2)

    def spread(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the norms divide by, for each query head."""
        found = []
        for layer, heads in ((self.q_proj, 4), (self.k_proj, 2)):
            part = layer(x) if self.over_all else heads_first(layer(x), heads)
            size = (part.var(-1, unbiased=False) + EPSILON).sqrt()
            found.append((size.expand(heads, -1) if self.over_all else size).repeat_interleave(4 // heads, 0))
        return found[0], found[1]


def circuits(module: nn.Module, **wishes: int) -> dict[str, LayerMatrix]:
    rows = walk(replace(from_module(module), wishes=Wishes(**wishes))).layers
    return {row.name: row for row in rows if row.kind in ("query_key", "value_output")}


@pytest.mark.parametrize("over_all", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_shift_of_a_norm_belongs_to_what_the_norm_divides_by(bias: bool, over_all: bool) -> None:
    module = seeded(lambda: Shifted(bias=bias, over_all=over_all))
    rows, x = circuits(module, fold_bias=True, distance=3), data(6, 10)
    with torch.no_grad():
        logits = module.logits(x, torch.tensor([7.0, 7, 7, 4, 4, 4])).double()
        queries, keys = (size.double() for size in module.spread(x))
    one = torch.ones(6, int(bias), dtype=torch.float64)
    for head in range(4):
        row = rows[f"query_key.{head}"]
        assert row.shape == (11 + bias, 11 + bias)
        assert "whose input is what the norm divides by" in row.note
        a, b = (torch.cat([x.double(), one, size[head][:, None]], dim=1) for size in (queries, keys))
        expected = logits[head] * queries[head][:, None] * keys[head]
        torch.testing.assert_close((a @ row.load() @ b.T)[:3, 3:], expected[:3, 3:], rtol=EXACT, atol=1e-4)


def test_shifts_and_biases_that_are_not_folded_are_said() -> None:
    rows = circuits(seeded(lambda: Shifted(bias=True, over_all=False)))
    assert rows["query_key.0"].shape == (10, 10)
    assert "without the shifts of the query and key norms" in rows["query_key.0"].note
    assert "without the biases of query and key" in rows["query_key.0"].note
    assert "without the bias of the value" in rows["value_output.0"].note
    packed = circuits(nn.MultiheadAttention(6, 2, add_bias_kv=True))
    assert "without the biases of query and key" in packed["query_key.0"].note
    assert "bias_k, bias_v of the layer left out" in packed["query_key.0"].note
    assert "without" not in circuits(nn.MultiheadAttention(6, 2, bias=False))["query_key.0"].note


class Cosine(Grouped):
    """As the second Swin, which divides queries and keys by their lengths and keeps a scale of each head."""

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.ones(4, 1, 1))


class Unweighted(Grouped):
    """Norms that store nothing, one that normalises the values, one behind them, and one that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.q_norm, self.v_norm = nn.RMSNorm(4, elementwise_affine=False), nn.RMSNorm(4, elementwise_affine=False)
        self.k_norm, self.attn_sub_norm = nn.Identity(), nn.RMSNorm(16)


class Strange(Grouped):
    """A norm of a form that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.q_norm = nn.RMSNorm(3)


@pytest.mark.parametrize(
    ("build", "circuit", "text"),
    [
        (Cosine, "query_key", "the lengths by which it divides each query and key"),
        (Unweighted, "query_key", "what the norms divide by, another number for each token, is left out"),
        (Unweighted, "value_output", "what the norms divide by, another number for each token, is left out"),
        (Unweighted, "value_output", "attn_sub_norm of the layer left out"),
        (Strange, "query_key", "q_norm has a form that is not known and is left out"),
        (Grouped, "query_key", "nothing tells which coordinates turn together: the two halves assumed"),
    ],
)
def test_what_is_not_in_a_circuit_is_in_its_note(build: Callable[[], nn.Module], circuit: str, text: str) -> None:
    assert text in circuits(seeded(build), distance=2)[f"{circuit}.1"].note


def test_nothing_is_missing_where_nothing_is() -> None:
    rows = circuits(seeded(Grouped))
    assert rows["query_key.0"].note == "before scaling and softmax; rotary positions at distance 0"
    assert rows["value_output.0"].note == ""


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Normed()
        self.attention.sinks = nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize(
    ("family", "one", "said"),
    [("gemma3_text", 1.0, ""), ("qwen3", 0.0, ""), ("nobody_knows", 0.0, "gain taken as it is stored")],
)
def test_a_bare_file_leaves_the_family_to_tell_what_a_gain_is(
    family: str, one: float, said: str, tmp_path: Path
) -> None:
    module = seeded(Inner)
    save_model(module, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 2, "model_type": family}))
    rows = {row.name: row for row in walk(open_network(tmp_path)).layers}
    row, inside = rows["attention.query_key.1"], module.attention
    gain = (inside.q_norm.weight + one) * (inside.k_norm.weight + one)
    expected = inside.q_proj.weight[3:].T @ gain.diag() @ inside.k_proj.weight[3:]
    torch.testing.assert_close(row.load(), expected.double(), rtol=EXACT, atol=EXACT)
    assert "sinks of the layer left out" in row.note
    assert ("taken as it is stored" in row.note) == bool(said)


def test_a_gain_of_values_is_in_what_a_head_writes() -> None:
    module = seeded(Grouped)
    plain = circuits(module)["value_output.3"].load()
    module.v_norm = nn.RMSNorm(4)
    module.v_norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    written, V = module.o_proj.weight[:, 12:].double(), module.v_proj.weight[4:].double()
    torch.testing.assert_close(plain, written @ V)
    torch.testing.assert_close(circuits(module)["value_output.3"].load(), (written * module.v_norm.weight.double()) @ V)


def turning(source: str) -> str:
    """Whether the functions of a modelling file that turn know halves, neighbours, both or neither."""
    functions = re.findall(r"^def \w*(?:rotat|rotary)\w*\(.*?\n(?=\S)", source, re.DOTALL | re.MULTILINE)
    text = "".join(functions)
    neighbours = "::2" in text or "view_as_complex" in text
    halves = "def rotate_half" in text and "shape[-1] // 2" in text
    return {(True, False): "neighbours", (False, True): "halves"}.get((neighbours, halves), "")


def test_the_lists_of_families_are_what_the_library_does() -> None:
    transformers = pytest.importorskip("transformers")
    checked = 0
    for path in sorted((Path(transformers.__file__).parent / "models").glob("*/modeling_*.py")):
        name, way = path.parent.name.replace("_", ""), turning(path.read_text(encoding="utf-8"))
        if name in HALVES | NEIGHBOURS and way:
            assert (name in NEIGHBOURS) == (way == "neighbours"), name
            checked += 1
    assert checked > 100
