"""Folded biases: the map applied to the input and a 1 is the module's own answer; with a norm its shift too."""

import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional

from lmd.factors.svd import factors_of
from lmd.findings.geometry.maps.square_map import square_map
from lmd.layers.recurrence import AffineRecurrentMatrix
from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from tests.seeds import data, seeded


def rows(model, **wishes):
    network = from_module(model) if isinstance(model, nn.Module) else model
    wished = Wishes(fold_bias=True, **wishes)
    return {row.name: row for row in walk(replace(network, wishes=wished)).layers}


def with_one(x, axis=-1):
    return torch.cat([x, torch.ones_like(x.narrow(axis, 0, 1))], dim=axis)


def answer(module, *inputs):
    with torch.no_grad():
        return module(*inputs)


def agrees(row, x, own):
    matrix = row.load()
    assert tuple(matrix.shape) == row.shape
    assert torch.equal(pickle.loads(pickle.dumps(row)).load(), matrix)
    assert torch.allclose((x.double() @ matrix.double().T).float(), own, atol=1e-5)


def test_a_linear_layer():
    model = seeded(lambda: nn.Linear(5, 3))
    row = rows(model)["weight"]
    assert "constant 1" in row.note
    agrees(row, with_one(data(4, 5)), answer(model, data(4, 5)))


def test_without_a_bias_nothing_is_added():
    assert rows(seeded(lambda: nn.Linear(5, 3, bias=False)))["weight"].shape == (3, 5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("form", [nn.Conv2d, nn.ConvTranspose2d])
def test_the_kernel_matrix_of_a_convolution(groups, form):
    model = seeded(lambda: form(4, 6, 3, groups=groups, padding=2 if form is nn.ConvTranspose2d else 0))
    row = rows(model)["weight"]
    x = data(2, 4, 3, 3)
    patches = with_one(x.unflatten(1, (groups, -1)).flatten(2)).flatten(1)
    centre = answer(model, x)[:, :, 0, 0]
    if form is nn.ConvTranspose2d:
        # with this padding the one output is the flipped kernel on the whole input
        assert answer(model, x).shape[2:] == (1, 1)
    agrees(row, patches, centre)
    assert row.groups == groups
    assert rows(model)["symbol"].note.endswith("the linear part alone")


def test_the_gates_of_a_gru_cell():
    model = seeded(lambda: nn.GRUCell(3, 4))
    found, x, h = rows(model), data(5, 3), data(5, 4)
    inputs = {g: with_one(x) @ found[f"input.{g}"].load().T for g in "rzn"}
    hidden = {g: with_one(h) @ found[f"hidden.{g}"].load().T for g in "rzn"}
    r, z = (torch.sigmoid(inputs[g] + hidden[g]) for g in "rz")
    n = torch.tanh(inputs["n"] + r * hidden["n"])
    assert torch.allclose((1 - z) * n + z * h, answer(model, x, h), atol=1e-5)


def test_a_recurrent_gate_keeps_its_eigenvalues():
    model = seeded(lambda: nn.RNN(3, 4))
    plain = {row.name: row for row in walk(from_module(model)).layers}["l0.hidden"]
    row = rows(model)["l0.hidden"]
    assert isinstance(row, AffineRecurrentMatrix)
    assert row.shape == (4, 5)
    assert torch.equal(square_map(row, factors_of(row)).eigenvalues, square_map(plain, factors_of(plain)).eigenvalues)
    assert square_map(row, factors_of(row)).spectral_radius == square_map(plain, factors_of(plain)).spectral_radius


def test_a_bilinear_layer():
    model = seeded(lambda: nn.Bilinear(3, 2, 4))
    x, y = data(5, 3), data(5, 2)
    agrees(rows(model)["weight"], with_one(torch.einsum("ni,nj->nij", x, y).flatten(1)), answer(model, x, y))


def test_coverage_counts_a_folded_bias_as_decomposed():
    coverage = decompose(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), fold_bias=True).coverage
    assert coverage.decomposed == coverage.accounted == 1.0


def test_data_come_with_the_constant():
    atlas = decompose(nn.Linear(3, 2), data(20, 3), fold_bias=True)
    assert "projection_energy" in atlas.layers[0].entry["findings"]


BOTH = {
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 3)), "1"),
    "layer norm, no bias": (lambda: nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 3, bias=False)), "1"),
    "batch norm before": (lambda: nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)), "1"),
    "batch norm behind": (lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), "0"),
    "batch norm behind, no bias": (lambda: nn.Sequential(nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3)), "0"),
    "norm without shift": (lambda: nn.Sequential(nn.RMSNorm(5), nn.Linear(5, 3)), "1"),
}


@pytest.mark.parametrize("name", BOTH)
def test_a_norm_with_its_shift(name):
    build, place = BOTH[name]
    model, x = seeded(build), data(4, 5)
    row = rows(model, fold_norm=True)[place]
    inputs = x
    if isinstance(model[0], nn.LayerNorm):
        inputs = functional.layer_norm(x, (5,))
    elif isinstance(model[0], nn.RMSNorm):
        inputs = functional.rms_norm(x, (5,), eps=model[0].eps)
    agrees(row, with_one(inputs), answer(model, x))
    assert ("shift" in row.note) == ("without shift" not in name)


def test_norm_and_bias_around_a_grouped_convolution():
    for model, place in (
        (seeded(lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6))), "0"),
        (seeded(lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2))), "1"),
    ):
        x = data(2, 4, 3, 3)
        row = rows(model, fold_norm=True)[place]
        agrees(row, with_one(x.unflatten(1, (2, -1)).flatten(2)).flatten(1), answer(model, x).flatten(1))
        assert row.groups == 2


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_before_an_attention(bias):
    block = seeded(lambda: nn.TransformerEncoderLayer(8, 2, 12, norm_first=True, bias=True))
    if not bias:
        block.self_attn.in_proj_bias = None
    found = rows(block, fold_norm=True)
    x = data(5, 8)
    inputs = with_one(functional.layer_norm(x, (8,))).double()
    entering = answer(block.norm1, x)
    shifts = block.self_attn.in_proj_bias if bias else torch.zeros(24)
    Q, K, V = (
        (entering @ W.T + b).detach()
        for W, b in zip(block.self_attn.in_proj_weight.chunk(3), shifts.chunk(3), strict=True)
    )
    for name, own in (("query", Q), ("key", K), ("value", V)):
        agrees(found[f"self_attn.{name}"], inputs, own)
    for head in range(2):
        own = slice(4 * head, 4 * head + 4)
        scores = inputs @ found[f"self_attn.query_key.{head}"].load() @ inputs.T
        assert torch.allclose(scores.float(), Q[:, own] @ K[:, own].T, atol=1e-4)
        written = inputs @ found[f"self_attn.value_output.{head}"].load().T
        out = block.self_attn.out_proj.weight.detach()[:, own]
        assert torch.allclose(written.float(), V[:, own] @ out.T, atol=1e-5)


class NormedTwice(nn.Module):
    """A norm before the attention, and others of queries and keys, all with shifts."""

    def __init__(self, *, bias):
        super().__init__()
        self.input_layernorm, self.self_attn = nn.LayerNorm(8), nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.self_attn.add_module(name, nn.Linear(8, 8, bias=bias))
        self.self_attn.num_heads = 2
        self.self_attn.q_norm, self.self_attn.k_norm = nn.LayerNorm(4), nn.LayerNorm(4)


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_before_an_attention_that_normalises_queries_and_keys(bias):
    block = seeded(lambda: NormedTwice(bias=bias))
    attention, x = block.self_attn, data(5, 8)
    found = rows(block, fold_norm=True)
    plain, entering = functional.layer_norm(x, (8,)).double(), answer(block.input_layernorm, x)
    for head in range(2):
        own = slice(4 * head, 4 * head + 4)
        sides, normed = [], []
        for proj, norm in ((attention.q_proj, attention.q_norm), (attention.k_proj, attention.k_norm)):
            y = answer(proj, entering)[:, own]
            size = (y.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
            sides.append(torch.cat([with_one(plain), size.double()], dim=1))
            normed.append((answer(norm, y) * size).double())
        scores = sides[0] @ found[f"self_attn.query_key.{head}"].load() @ sides[1].T
        assert torch.allclose(scores, normed[0] @ normed[1].T, atol=1e-4)


def test_a_file_folds_as_its_module_does(tmp_path):
    model = nn.Module()
    model.conv1, model.bn1, model.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 4)
    model = seeded(lambda: model)
    save_model(model, str(tmp_path / "model.safetensors"))
    live, file = rows(model, fold_norm=True), rows(open_network(tmp_path / "model.safetensors"), fold_norm=True)
    for name in ("conv1", "head"):
        assert torch.equal(live[name].load(), file[name].load())
        assert live[name].shape[1] in (28, 7)


def test_a_bilinear_layer_of_many_outputs_says_which_forms_are_left_out():
    found = {row.name: row for row in walk(from_module(nn.Bilinear(2, 2, 260))).layers}
    assert "the last 4 outputs are left out" in found["weight"].note
    assert "255" in found
    assert "256" not in found
