"""Moments against the slow way, gates and folds of networks with a known answer, and no trace."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lmd.activations.observing.observe import Watch, observe
from lmd.data.open_data import open_data
from lmd.pipeline.decompose import decompose

G = torch.Generator().manual_seed(0)


def test_moments_and_deltas_of_a_dense_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    X, Y = torch.randn(50, 4, generator=G), torch.randint(2, (50,), generator=G)
    found = observe(model, open_data((X, Y)), [Watch("0", "", (3, 4))]).moments["0"]
    z = model[0](X).detach().requires_grad_()
    functional.cross_entropy(model[2](z.relu()), Y, reduction="sum").backward()
    assert z.grad is not None
    assert found.delta_second is not None
    for mine, slow in (
        (found.input_second, X.T @ X / 50),
        (found.output_mean, z.mean(dim=0)),
        (found.delta_second, z.grad.T @ z.grad / 50),
    ):
        assert torch.allclose(mine.float(), slow, atol=1e-5)  # float32 sums of 50 terms


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, (1, 3), dilation=2, padding="same", groups=2),
        nn.Conv1d(2, 3, 5, padding=2, padding_mode="circular"),
        nn.Conv3d(2, 2, 2),
    ],
    ids=str,
)
def test_patches_are_what_the_kernel_matrix_maps(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
    data = torch.randn(3, layer.in_channels, *(8 for _ in layer.kernel_size), generator=G)
    row = decompose(nn.Sequential(layer), data, parts=False).rows()[0]
    out = layer(data).movedim(1, -1)
    bias = 0 if layer.bias is None else layer.bias
    moments = observe(layer, open_data(data), [Watch("", "", (row["out"], row["in"]))]).moments[""]
    gain = ((out - bias).square().sum() / (moments.input_second.diagonal().sum() * moments.vectors)).sqrt().item()
    assert row["data_gain"] == pytest.approx(gain, rel=1e-5)  # float32


def test_steps_of_a_recurrent_layer() -> None:
    model = nn.LSTM(3, 4, batch_first=True)
    data = torch.randn(5, 7, 3, generator=G)
    found = observe(model, open_data(data), [Watch("", "l0.hidden", (4, 4))]).moments[".l0.hidden"]
    states = model(data)[0].detach()
    before = torch.cat([torch.zeros(5, 1, 4), states[:, :-1]], dim=1).reshape(-1, 4)
    assert torch.allclose(found.input_second.float(), before.T @ before / 35, atol=1e-6)


def test_entries_of_an_embedding_are_counted() -> None:
    model = nn.Sequential(nn.Embedding(5, 2))
    row = decompose(model, torch.tensor([[0, 0], [0, 3]])).rows()[0]
    W = model[0].weight.detach().double()
    assert row["data_gain"] == pytest.approx(((3 * W[0] @ W[0] + W[3] @ W[3]) / 4).sqrt().item())


def test_functional_gates_behind_a_normalisation() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.gelu(self.norm(self.conv(x)))

    model, data = Net().eval(), torch.randn(9, 1, 6, 6, generator=G)
    gates = observe(model, open_data(data), []).gates["conv"]
    share = (model.norm(model.conv(data)) > 0).double().mean(dim=(0, 2, 3))
    # the slope of gelu is 1/2 at 0 exactly
    assert torch.allclose(gates.open_share, share)
    assert (gates.function, gates.positions) == ("gelu", 16)


def test_a_fold_between_two_points_is_seen() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model[0].weight.data, model[0].bias.data = torch.ones(1, 1), torch.zeros(1)
    whole = observe(model, open_data(torch.tensor([[-1.0], [1.0]])), []).whole
    assert whole.near is not None
    assert whole.near.whole.tolist() == [1.0]
    assert whole.patterns == 2


def test_a_rotation_is_an_isometry_with_a_constant_derivative() -> None:
    turn = nn.Linear(6, 6, bias=False)
    turn.weight.data = torch.linalg.qr(torch.randn(6, 6, generator=G)).Q
    found = decompose(nn.Sequential(turn), torch.randn(30, 6, generator=G)).whole
    for key in ("jacobian_norm", "jacobian_spread", "largest_expansion", "smallest_expansion"):
        assert found[key]["value"] == pytest.approx(1, abs=1e-5)  # float32


def test_no_trace_is_left() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    observe(model, open_data(torch.randn(8, 3, generator=G), targets=torch.arange(8) % 4), [Watch("0", "", (4, 3))])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_network_that_insists_on_another_shape_says_so_in_words() -> None:
    class Particular(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name for it
            assert input.shape[0] == 1, "one at a time"
            return super().forward(input)

    with pytest.raises(ValueError, match=r"does not take data of shape .*one at a time"):
        observe(Particular(3, 2), open_data(torch.ones(4, 3)), [])
