"""Live attention of one's own: what its forward pass does decides which circuits there are, not its names alone."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, normalize

from lmd.layers.attention import choice
from tests.examples import data, seeded
from tests.layers.test_attention import EXACT, layers

Split = tuple[Tensor, Tensor, Tensor]


class Usual(nn.Module):
    """Four heads, block by block."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 4
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8, bias=False) for _ in range(4))

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, 2)).transpose(1, 2)

    def split(self, x: Tensor) -> Split:
        q, k, v = (self.heads(layer(x)) for layer in (self.q, self.k, self.v))
        return q, k, v

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(-1) @ v

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.mixed(*self.split(x)).transpose(1, 2).flatten(2))


class HeadsInside(Usual):
    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (2, 4)).permute(0, 3, 1, 2)


class Grouped(Usual):
    def __init__(self) -> None:
        super().__init__()
        self.k, self.v = nn.Linear(8, 4, bias=False), nn.Linear(8, 4, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        found = super().heads(x)
        return found if found.shape[1] == 4 else found.repeat_interleave(2, dim=1)


class Tiled(Grouped):
    def heads(self, x: Tensor) -> Tensor:
        found = Usual.heads(self, x)
        return found if found.shape[1] == 4 else found.repeat(1, 2, 1, 1)


class Linear(Usual):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.softmax(-1) @ (k.softmax(-2).mT @ v)


class Sigmoid(Usual):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).sigmoid() @ v


class Cosine(Usual):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (normalize(q, dim=-1) @ normalize(k, dim=-1).mT).softmax(-1) @ v


class Centred(Usual):
    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, 4)).transpose(1, 2)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (layer_norm(q, (4,)) @ layer_norm(k, (4,)).mT).softmax(-1) @ v


class Bent(Usual):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(-1) @ gelu(v)


class NoAttention(Usual):
    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.v(x) + torch.relu(self.k(torch.relu(self.q(x)))))


class Miscounted(Usual):
    def __init__(self) -> None:
        super().__init__()
        del self.num_heads
        self.h = 8


class AsksForMore(Usual):
    def forward(self, x: Tensor, *, mask: Tensor) -> Tensor:
        return super().forward(x) * mask


class Fused(Usual):
    """All of the keys, all of the values, all of the queries."""

    def __init__(self) -> None:
        super().__init__()
        del self.q, self.k, self.v, self.o
        self.qkv, self.proj = nn.Linear(8, 24, bias=False), nn.Linear(8, 8, bias=False)

    def split(self, x: Tensor) -> Split:
        k, v, q = (self.heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.mixed(*self.split(x)).transpose(1, 2).flatten(2))


class KeysFirst(Fused):
    def split(self, x: Tensor) -> Split:
        k, q, v = (self.heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return q, k, v


class ThreesInside(Fused):
    def split(self, x: Tensor) -> Split:
        q, k, v = self.qkv(x).unflatten(2, (4, 2, 3)).transpose(1, 2).unbind(-1)
        return q, k, v


class HeadsAndThreesInside(Fused):
    def split(self, x: Tensor) -> Split:
        q, k, v = self.qkv(x).unflatten(2, (2, 4, 3)).permute(0, 3, 1, 2, 4).unbind(-1)
        return q, k, v


@pytest.mark.parametrize("build", [Usual, Grouped, Miscounted, Fused, KeysFirst, ThreesInside])
def test_what_a_trial_confirms_is_declared_and_is_what_the_module_compares_and_gives(build: type[Usual]) -> None:
    module = seeded(build)
    rows, x = layers(module), data(1, 5, 8)
    with torch.no_grad():
        q, k = module.split(x)[:2]
        whole, weights = module(x)[0].double(), (q @ k.mT).softmax(-1)[0].double()
        compared = (q @ k.mT)[0].double()
    assert len([name for name in rows if name.startswith("query_key.")]) == 4
    assert {row.confidence for row in rows.values()} == {"declared"}
    given = torch.zeros_like(whole)
    for head in range(4):
        found = x[0].double() @ rows[f"query_key.{head}"].load() @ x[0].double().T
        torch.testing.assert_close(found, compared[head], rtol=EXACT, atol=EXACT)
        given += weights[head] @ x[0].double() @ rows[f"value_output.{head}"].load().T
    torch.testing.assert_close(given, whole, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("build", [HeadsInside, Tiled, NoAttention, HeadsAndThreesInside])
def test_what_a_trial_refutes_has_no_circuits_and_says_so(build: type[nn.Module]) -> None:
    rows = layers(seeded(build))
    assert not {row.kind for row in rows.values()} & {"query_key", "value_output"}
    assert all(row.confidence == "guess" for row in rows.values() if row.kind in ("query", "key", "value"))
    first = rows["qkv" if "qkv" in rows else "q"]
    assert "a trial of the module refutes" in first.note


@pytest.mark.parametrize(
    ("build", "missing", "reason"),
    [
        (Linear, "query_key", "otherwise than by products"),
        (Centred, "query_key", "takes a mean out"),
        (Bent, "value_output", "no linear map of the values"),
    ],
)
def test_a_circuit_that_a_trial_refutes_is_left_out_with_the_reason(
    build: type[nn.Module], missing: str, reason: str
) -> None:
    rows = layers(seeded(build))
    circuits = {row.kind for row in rows.values()} & {"query_key", "value_output"}
    assert circuits == {"query_key", "value_output"} - {missing}
    assert f"no {missing}" in rows["q" if missing == "query_key" else "v"].note
    assert reason in rows["q" if missing == "query_key" else "v"].note


def test_what_circuits_leave_out_is_said_as_a_trial_shows_it() -> None:
    assert "no softmax" in layers(seeded(Sigmoid))["query_key.0"].note
    assert "divides queries or keys by their lengths" in layers(seeded(Cosine))["query_key.3"].note
    assert "divides" not in layers(seeded(Usual))["query_key.3"].note


def test_what_cannot_be_tried_is_a_guess_with_the_reason() -> None:
    rows = layers(seeded(AsksForMore))
    assert rows["query_key.0"].confidence == rows["value_output.0"].confidence == "guess"
    assert "asks for more than tokens" in rows["query_key.0"].note
    assert rows["q"].confidence == "declared"


def test_layers_that_repeat_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(choice, "trial_of", lambda *given: tried.append(given[1]))
    rows = layers(nn.Sequential(*(seeded(Usual) for _ in range(3)), seeded(Grouped)))
    assert tried == ["0", "3"]
    assert "2.query_key.3" in rows


class Listed(Usual):
    """As in diffusers."""

    def __init__(self) -> None:
        super().__init__()
        self.to_out = nn.ModuleList([nn.Linear(8, 8, bias=False), nn.Dropout(0.5)])
        del self.o

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out[1](self.to_out[0](self.mixed(*self.split(x)).transpose(1, 2).flatten(2)))


def test_an_output_in_a_list_with_its_dropout_is_the_output() -> None:
    module = seeded(Listed).eval()
    rows, x = layers(module), data(1, 5, 8)
    with torch.no_grad():
        q, k, _ = module.split(x)
        weights, whole = (q @ k.mT).softmax(-1)[0].double(), module(x)[0].double()
    given = sum(weights[head] @ x[0].double() @ rows[f"value_output.{head}"].load().T for head in range(4))
    torch.testing.assert_close(given, whole, rtol=EXACT, atol=EXACT)
    assert rows["to_out.0"].kind == "attention_output"


class Turning(nn.Module):
    """As in the first code of Llama: what turns is made outside."""

    def __init__(self) -> None:
        super().__init__()
        self.n_local_heads, self.head_dim = 2, 4
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(8, 8, bias=False) for _ in range(4))

    def compared(self, x: Tensor, freqs_cis: Tensor) -> Tensor:
        turned = [
            torch.view_as_complex(layer(x).unflatten(-1, (2, 2, 2))) * freqs_cis[:, None]
            for layer in (self.wq, self.wk)
        ]
        q, k = (torch.view_as_real(part).flatten(2).transpose(0, 1) for part in turned)
        return q @ k.mT


ANGLES = torch.arange(6)[:, None] * torch.tensor([1.0, 0.3])


def around(how: str) -> nn.Module:
    model = nn.Module()
    model.layers = nn.ModuleList([Turning()])
    if how == "a complex buffer":
        model.register_buffer("freqs_cis", torch.polar(torch.ones(6, 2), ANGLES), persistent=False)
    elif how == "a plain attribute":
        model.freqs_cis = torch.polar(torch.ones(6, 2), ANGLES)
    elif how == "cosines and sines":
        twice = ANGLES.repeat_interleave(2, dim=1)[None, None]
        model.layers[0].register_buffer("cos_cached", twice.cos())
        model.layers[0].register_buffer("sin_cached", twice.sin())
    return model


@pytest.mark.parametrize("how", ["a complex buffer", "a plain attribute", "cosines and sines"])
@pytest.mark.parametrize("distance", [3, -2])
def test_frequencies_are_read_off_what_is_kept_for_each_position(how: str, distance: int) -> None:
    model = around(how)
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    rows, x = layers(model, distance=distance), data(6, 8)
    with torch.no_grad():
        compared = model.layers[0].compared(x, torch.polar(torch.ones(6, 2), ANGLES)).double()
    for head in range(2):
        W = rows[f"layers.0.query_key.{head}"].load()
        query, key = (4, 1) if distance > 0 else (1, 3)
        found = x[query].double() @ W @ x[key].double()
        torch.testing.assert_close(found, compared[head, query, key], rtol=EXACT, atol=EXACT)
    assert "neighbours assumed" in rows["layers.0.query_key.0"].note


def test_without_frequencies_nobody_says_that_positions_do_not_turn() -> None:
    note = layers(around("nothing"), distance=3)["layers.0.query_key.0"].note
    assert "no rotary positions" not in note
    assert "no frequencies are found, and whether positions turn is not known: distance 3 has no effect" in note


def test_a_table_of_positions_beside_the_layer_is_named() -> None:
    layer = nn.Module()
    layer.attention, layer.relative_position_bias = seeded(Usual), nn.Embedding(5, 4)
    rows = layers(nn.ModuleDict({"0": layer}))
    assert "0.relative_position_bias beside the layer left out" in rows["0.attention.query_key.0"].note
    assert "beside" not in rows["0.attention.value_output.0"].note
