"""Fused gates: from files as from modules, with biases, and guesses that say so."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from tests.gate_examples import FUSED_GATES
from tests.gate_modules import FeedForward, Halved, Latent
from tests.seeds import data, seeded


def rows(network, **wishes):
    return {row.name: row for row in walk(replace(network, wishes=Wishes(**wishes))).layers}


@pytest.mark.parametrize("example", FUSED_GATES, ids=lambda e: e.name)
def test_a_file_has_the_rows_of_its_module(example, tmp_path):
    save_file({f"ff.{n}": t for n, t in example.module.state_dict().items()}, tmp_path / "model.safetensors")
    live, file = rows(from_module(example.module)), rows(open_network(tmp_path / "model.safetensors"))
    told = "torch" in example.name or "last" in example.name
    if told:
        # a file tells neither the unit between the layers nor a setting of the module: a guess that says so
        assert all(row.alternatives for name, row in file.items() if name.endswith((".gate", ".up")))
        return
    assert {f"ff.{name}": row.load().tolist() for name, row in live.items()} == {
        name: row.load().tolist() for name, row in file.items()
    }


def test_what_is_guessed_has_alternatives():
    for names, sure in ((("fc1", "fc2"), "guess"), (("into", "back"), "guess"), (("w12", "w3"), "declared")):
        row = rows(from_module(Halved(*names)))[f"{names[0]}.gate"]
        assert row.confidence == sure
        assert bool(row.alternatives) == (sure == "guess")
    assert rows(from_module(Halved("fc1", "fc2", last=True, told=True)))["fc1.gate"].confidence == "declared"


def test_mean_and_variance_are_no_gate():
    assert set(rows(from_module(Latent()))) == {"encoder", "decoder"}


def test_halves_take_their_biases():
    module = seeded(FeedForward)
    found, x = rows(from_module(module), fold_bias=True), data(3, 4)
    entering = torch.cat([x, torch.ones(3, 1)], dim=1)
    up, gate = (entering @ found[f"net.0.proj.{word}"].load().T for word in ("up", "gate"))
    with torch.no_grad():
        own = module.net[0](x)
    assert torch.allclose(up * functional.gelu(gate), own, atol=1e-6)


def test_layers_of_torch_in_a_row_are_no_gate():
    model = torch.nn.Sequential(
        *(torch.nn.Linear(4, 12), torch.nn.ReLU(), torch.nn.MaxPool1d(2), torch.nn.Linear(6, 4))
    )
    assert set(rows(from_module(model))) == {"0", "3"}
