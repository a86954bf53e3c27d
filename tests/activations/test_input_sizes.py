"""Sizes of inputs from a forward pass that leaves no trace."""

import pytest
import torch
from torch import nn

from lmd.activations.input_sizes import _attempts, _Call, _run, input_sizes
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module


class Twice(nn.Module):
    """A shared convolution, one called by name, one never called; a buffer and an attribute written on the way."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.named = nn.Conv2d(3, 2, 3, stride=2)
        self.idle = nn.Conv1d(2, 2, 2)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.last = None

    def forward(self, x):
        self.calls += 1
        x = self.norm(self.shared(x))
        self.last = x
        x = self.shared(nn.functional.avg_pool2d(x, 2))
        return self.named(input=self.drop(x) + torch.rand(1))


def test_sizes_are_those_of_the_first_call():
    expected = {"shared": (12, 10), "named": (6, 5)}
    network = from_module(Twice())
    assert input_sizes(network, None, (3, 12, 10)) == expected
    assert input_sizes(network, torch.zeros(4, 3, 12, 10)) == expected
    assert input_sizes(network) == {}


@pytest.mark.parametrize("attempt", ["copy", "ghost", "itself"])
def test_each_way_to_run_gives_the_same(attempt, monkeypatch):
    monkeypatch.setattr("lmd.activations.input_sizes._attempts", lambda network: (attempt,))
    network = from_module(Twice())
    convolutions = [(p, m) for p, m in network.skeleton.named_modules() if isinstance(m, nn.Conv2d)]
    assert _run(network, convolutions, _Call(torch.empty(1, 3, 12, 10, device="meta"))) == (
        {"shared": (12, 10), "named": (6, 5)},
        None,
    )


def test_the_network_is_left_as_it_was():
    model = nn.Sequential(Twice().train(), nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 2, 2)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    input_sizes(from_module(model), None, (3, 12, 10))
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    assert all(module.training and not module._forward_pre_hooks for module in model[0].modules())
    assert model[0].last is None
    assert torch.equal(random, torch.get_rng_state())


def test_large_networks_are_not_copied():
    small, large = nn.Conv2d(1, 1, 1), nn.Linear(3000, 2000)
    assert _attempts(from_module(small)) == ("copy", "ghost", "itself")
    assert _attempts(from_module(large)) == ("ghost", "itself")


def test_a_shape_that_does_not_fit_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ValueError, match=r"cannot be run on one example of shape \(3, 9, 9\)"):
        decompose(model, input_shape=(3, 9, 9))
    with pytest.raises(ValueError, match="positive numbers"):
        decompose(model, input_shape=(3, 0, 9))


def test_a_bare_checkpoint_cannot_be_run(tmp_path):
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3)).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ValueError, match="--builder"):
        decompose(tmp_path / "m.pt", input_shape=(3, 9, 9))
    notes = [record.entry["note"] for record in decompose(tmp_path / "m.pt").layers]
    assert "stride 1" in notes[0]
    assert "--input-shape" in notes[0]


def test_a_folder_tells_the_size_of_its_pictures(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ConvNextConfig(
        num_channels=3, image_size=32, hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, patch_size=4
    )
    model = transformers.ConvNextModel(config).eval()
    model.save_pretrained(tmp_path)
    found = input_sizes(open_network(tmp_path))
    assert found["encoder.stages.0.layers.0.dwconv"] == (8, 8)
    assert input_sizes(from_module(model)) == found
