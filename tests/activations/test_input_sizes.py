"""Sizes of inputs from a forward pass that leaves no trace."""

import pytest
import torch
from torch import nn

from lmd.activations.input_sizes import _attempts, input_sizes
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


EXPECTED = {"shared": ((12, 10), (6, 5)), "named": ((6, 5),)}


def sizes(model, *given):
    network = model if not isinstance(model, nn.Module) else from_module(model)
    return input_sizes(network, *given).sizes


def test_every_size_is_found_once():
    network = from_module(Twice())
    for given in ((None, (3, 12, 10)), (torch.zeros(4, 3, 12, 10),)):
        found = input_sizes(network, *given)
        assert found.sizes == EXPECTED
        assert found.reasons == {"idle": "the layer was not called on this input"}
    assert input_sizes(network).sizes == {}
    assert "--input-shape" in input_sizes(network).reasons["shared"]


@pytest.mark.parametrize("attempt", ["copy", "ghost", "itself"])
def test_each_way_to_run_gives_the_same(attempt, monkeypatch):
    monkeypatch.setattr("lmd.activations.input_sizes._attempts", lambda network: (attempt,))
    assert sizes(Twice(), None, (3, 12, 10)) == EXPECTED


class Captioned(nn.Module):
    """A picture, a text of tokens, a step in time and an option by name."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.table = nn.Parameter(torch.ones(5, 4))
        self.picture = nn.Conv2d(3, 4, 3)
        self.text = nn.Conv1d(4, 4, 2)

    def forward(self, x, tokens, step, *, scale):
        y = self.text(self.words(tokens[:, 1:]).transpose(1, 2))
        return self.picture(x * scale).mean() + y.mean() + self.table[step.long()].mean()


@pytest.mark.parametrize("attempt", ["copy", "ghost"])
@pytest.mark.parametrize(
    "given",
    [
        [(3, 8, 9), (6,), (), "scale=3x8x9"],
        ["3x8x9", "6", "scalar", "scale=3x8x9"],
        ["3x8x9", "6:int", "scalar:int", "scale=1x1x1:float32"],
        {"x": (3, 8, 9), "tokens": "6", "step": "scalar", "scale": (1, 1, 1)},
    ],
)
def test_inputs_come_by_place_or_by_name_and_tokens_are_whole_numbers(attempt, given, monkeypatch):
    monkeypatch.setattr("lmd.activations.input_sizes._attempts", lambda network: (attempt,))
    assert sizes(Captioned(), None, given) == {"picture": ((8, 9),), "text": ((5,),)}


def test_whole_numbers_are_tried_where_nothing_else_runs():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.ones(5, 4))
            self.conv = nn.Conv1d(4, 2, 3)

        def forward(self, x):
            return self.conv(self.table[x].transpose(1, 2))

    assert sizes(Table(), None, (9,)) == {"conv": ((9,),)}


@pytest.mark.parametrize("wrong", [(), (3, 0, 9), "3y4", "x=3x4:nothing", [(3, 4), (0,)], {"x": (0,)}])
def test_what_is_no_shape_is_refused(wrong):
    with pytest.raises(ValueError, match="positive numbers"):
        decompose(nn.Conv2d(3, 4, 3), input_shape=wrong)


def test_layers_that_have_no_weights_yet_are_left_as_they_are():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Conv2d(4, 2, 3))
    assert sizes(model, None, (3, 9, 9)) == {"0": ((9, 9),), "1": ((7, 7),)}
    assert isinstance(model[0], nn.LazyConv2d)
    assert [r.name for r in decompose(model, input_shape=(3, 9, 9)).layers] == ["1", "1.operator", "1.symbol"]


def test_a_complex_convolution_has_no_operator_and_says_so():
    (row,) = decompose(nn.Sequential(nn.Conv1d(2, 2, 3, dtype=torch.complex64)), input_shape=(2, 9)).layers
    assert row.entry["shape"] == [4, 12]
    assert "no operator and no symbol" in row.entry["note"]


def test_a_convolution_called_on_several_sizes_has_an_operator_for_each():
    rows = {r.name: r.entry for r in decompose(Twice(), input_shape=(3, 12, 10)).layers}
    assert rows["shared.operator"]["shape"] == [360, 360]
    assert rows["shared.operator.6x5"]["shape"] == [90, 90]
    assert "the first call; it is called on 6 x 5 too" in rows["shared.operator"]["note"]
    assert "it is called on 12 x 10 too" in rows["shared.operator.6x5"]["note"]
    assert "too" not in rows["named.operator"]["note"]
    assert "not called" in rows["idle"]["note"]


def test_very_many_sizes_do_not_all_have_rows():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3)

        def forward(self, x):
            return [self.conv(x[..., : 4 + n]) for n in range(12)]

    rows = [r.entry for r in decompose(Pyramid(), input_shape=(1, 20)).layers]
    assert [row["kind"] for row in rows].count("conv_operator") == 8
    assert "of 12 sizes the first 8 have rows" in rows[1]["note"]


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


def test_a_shape_that_does_not_fit_costs_the_operators_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    rows = decompose(model, input_shape=(3, 9, 9)).layers
    assert [row.entry["kind"] for row in rows] == ["kernel_matrix", "conv_symbol", "dense"]
    assert "no operator: the forward pass failed with RuntimeError: mat1 and mat2" in rows[0].entry["note"]
    assert (
        "no operator: the forward pass failed"
        in decompose(model, input_shape=[(3, 9, 9), (2,)]).layers[0].entry["note"]
    )


def test_a_bare_checkpoint_cannot_be_run(tmp_path):
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3)).state_dict(), tmp_path / "m.pt")
    for shape in (None, (3, 9, 9)):
        rows = decompose(tmp_path / "m.pt", input_shape=shape).layers
        assert [row.entry["kind"] for row in rows] == ["kernel_matrix", "conv_symbol"]
        assert "stride 1" in rows[0].entry["note"]
        assert "--builder" in rows[0].entry["note"]


def test_a_folder_tells_the_size_of_its_pictures(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ConvNextConfig(
        num_channels=3, image_size=32, hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, patch_size=4
    )
    model = transformers.ConvNextModel(config).eval()
    model.save_pretrained(tmp_path)
    found = sizes(open_network(tmp_path))
    assert found["encoder.stages.0.layers.0.dwconv"] == ((8, 8),)
    assert sizes(model) == found
    assert sizes(open_network(tmp_path), None, (3, 16, 16))["encoder.stages.0.layers.0.dwconv"] == ((4, 4),)
