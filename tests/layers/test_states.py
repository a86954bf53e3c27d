"""State spaces from files, their eigenvalues and rates, and what is said of other forms."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lmd.factors.svd import factors_of
from lmd.findings.geometry.decay import decay
from lmd.findings.geometry.maps.square_map import square_map
from lmd.layers.states.diagonal_states import DiagonalStates, SteppedStates
from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes
from lmd.testing import layers_of
from tests.kind_modules import Mixer
from tests.seeds import data, seeded
from tests.state_examples import STATES
from tests.state_modules import DiagonalKernel, GatedStates, LinearRecurrentUnit


def rows(network, **wishes):
    return {row.name: row for row in walk(replace(network, wishes=Wishes(**wishes))).layers}


@pytest.mark.parametrize("example", STATES, ids=lambda e: e.name)
def test_a_file_gives_the_rows_of_its_module(example, tmp_path):
    save_file({f"mixer.{n}": t for n, t in example.module.state_dict().items()}, tmp_path / "model.safetensors")
    live, file = rows(from_module(example.module)), rows(open_network(tmp_path / "model.safetensors"))
    assert set(file) == {f"mixer.{name}" for name in live}
    for name, row in live.items():
        assert torch.equal(file[f"mixer.{name}"].load(), row.load()), name


def test_everything_of_a_state_space_is_decomposed():
    for example in STATES:
        assert decompose(example.module).coverage.decomposed == 1.0, example.name


def test_the_eigenvalues_are_those_of_the_dense_map():
    for row in (*layers_of(seeded(LinearRecurrentUnit)).values(), *layers_of(seeded(DiagonalKernel)).values()):
        if not isinstance(row, DiagonalStates):
            continue
        own = row.eigenvalues()
        dense = torch.linalg.eigvals(row.load())
        for value in torch.cat([own, own.conj()]):
            assert (dense - value).abs().min() < 1e-12
        if isinstance(row, SteppedStates):
            found = square_map(row, factors_of(row))
            assert found.spectral_radius.value == pytest.approx(dense.abs().max().item(), abs=1e-12)
            assert len(found.eigenvalues) == row.shape[0]
            assert found.henrici_departure.value == 0.0


def test_rates_of_a_step_are_those_of_the_states_times_its_length():
    module = seeded(DiagonalKernel)
    found = layers_of(module)
    A, step = decay(found["A"]), decay(found["step"])
    dt = module.log_dt.detach().double().exp()
    assert torch.allclose(step.rates[:, 0].reshape(3, 2), A.rates[:, 0].reshape(3, 2) * dt[:, None])
    assert A.slowest_rate.value == pytest.approx(-module.log_A_real.exp().min().item(), rel=1e-6)


def test_mamba_has_rates_and_no_spectral_radius():
    findings = next(row for row in decompose(seeded(Mixer)).layers if row.name == "A").entry["findings"]
    assert findings["slowest_rate"]["value"] < 0
    assert "growth rates" in findings["spectral_radius"]["reason"]


def test_a_state_that_is_forgotten_at_once_says_so():
    module = seeded(GatedStates)
    module.recurrent_param.data.fill_(1e4)
    found = decay(layers_of(module)["decay"])
    assert "at once" in found.slowest_rate.reason


def test_gates_take_their_biases():
    module = seeded(GatedStates)
    found = rows(from_module(module), fold_bias=True)
    assert set(found) == {"decay", "input_gate", "recurrent_gate"}
    x = data(4, 6)
    entering = torch.cat([x.unflatten(1, (2, 3)), torch.ones(4, 2, 1)], dim=2).flatten(1)
    with torch.no_grad():
        own = module.gate("input", x)
    assert torch.allclose(torch.sigmoid(entering @ found["input_gate"].load().T), own, atol=1e-6)


class Own(nn.Module):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))


@pytest.mark.parametrize(
    ("shapes", "sure"),
    [
        ({"inv_A_real": (3, 4), "A_imag": (3, 4), "P": (3, 4, 2), "B": (3, 4, 2), "C": (2, 3, 4, 2)}, "guess"),
        ({"Lambda_log_neg_re": (4,), "Lambda_im": (4,), "log_dt": (3,), "W": (2, 3, 4, 2)}, "declared"),
        ({"Lambda_re": (4,), "Lambda_im": (4,), "B": (4, 3, 2), "C": (3, 4, 2)}, "guess"),
    ],
)
def test_other_forms_are_decomposed_and_say_how_sure_they_are(shapes, sure):
    module = seeded(lambda: Own(**shapes))
    found = layers_of(module)
    assert found["A"].confidence == sure
    assert "A = " in found["A"].note
    assert decompose(module).coverage.decomposed == 1.0


def test_a_rank_one_part_is_said():
    found = layers_of(seeded(lambda: Own(inv_A_real=(3, 4), A_imag=(3, 4), P=(3, 4, 2))))
    assert "P P*" in found["A"].note


def test_complex_layers_are_real_maps_of_both_parts(tmp_path):
    module = seeded(lambda: nn.Linear(3, 2, bias=False, dtype=torch.complex64))
    row = layers_of(module)["weight"]
    x = torch.complex(data(4, 3), data(3, 4).T)
    with torch.no_grad():
        y = module(x)
    mapped = torch.cat([x.real, x.imag], dim=1) @ row.load().T
    assert torch.allclose(mapped, torch.cat([y.real, y.imag], dim=1), atol=1e-6)
    save_file(
        {"head.weight": module.weight.detach(), "filter": module.weight.detach().clone()},
        tmp_path / "model.safetensors",
    )
    coverage = decompose(tmp_path / "model.safetensors").coverage
    assert {t.name: t.status for t in coverage.tensors} == {"head.weight": "decomposed", "filter": "unsupported"}
    assert any("complex numbers" in t.reason for t in coverage.tensors)
    assert coverage.accounted == 1.0


def parts(z):
    return torch.cat([z.real, z.imag], dim=-1)


@pytest.mark.parametrize("build", [nn.Conv1d, nn.ConvTranspose1d])
def test_complex_convolutions_are_real_maps_of_patches(build):
    module = seeded(lambda: build(4, 6, 3, groups=2, dtype=torch.complex64))
    network = replace(from_module(module), wishes=Wishes(fold_bias=True))
    (row,) = walk(network).layers
    assert "no operator and no symbol" in row.note
    # one patch: of a transposed convolution the position that the whole kernel reaches, read back to front
    x = torch.complex(data(1, 12), data(1, 12).flip(1)).reshape(1, 4, 3)
    with torch.no_grad():
        y = module(x)[0, :, 2 if build is nn.ConvTranspose1d else 0]
    # each of the two groups has its own channels, in both parts, and its own constant
    entering = torch.cat([torch.cat([parts(group.flatten()), torch.ones(1)]) for group in x[0].chunk(2)])
    assert torch.allclose(row.load() @ entering, torch.cat([parts(group) for group in y.chunk(2)]), atol=1e-5)


def test_complex_recurrent_maps_are_real_ones():
    module = seeded(lambda: nn.RNNCell(3, 2, bias=True, dtype=torch.complex64))
    rows = layers_of(module)
    x, h = torch.complex(data(1, 3), data(1, 3).flip(1)), torch.complex(data(1, 2), data(1, 2).flip(1))
    biases = parts((module.bias_ih + module.bias_hh).detach())
    own = rows["input"].load() @ parts(x[0]) + rows["hidden"].load() @ parts(h[0]) + biases
    with torch.no_grad():
        expected = torch.atanh(module(x, h))
    assert torch.allclose(own, parts(expected[0]), atol=1e-4)
    eigenvalues = torch.linalg.eigvals(module.weight_hh.detach())
    assert torch.isclose(torch.linalg.eigvals(rows["hidden"].transition()).abs().max().float(), eigenvalues.abs().max())


def test_one_rate_for_each_head_says_so():
    found = layers_of(seeded(lambda: Own(A_log=(4,), dt_bias=(4,), D=(4,))))
    assert "all states of each of 4 heads" in found["A"].note
