"""Every layer kind keeps its contract; nothing that owns a matrix is passed over in silence."""

import pytest
import torch
from torch import nn

from lmd.layers import registry
from lmd.pipeline.decompose import decompose
from lmd.testing import Example, check_kind
from tests.examples import KINDS


@pytest.mark.parametrize("example", KINDS, ids=lambda e: e.name)
def test_kind_keeps_its_contract(example: Example):
    check_kind(example)


class Owner(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(3, 4, dtype=torch.complex64))
        self.number = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.ones(5))


def test_a_matrix_nobody_claims_is_a_row_with_a_reason():
    coverage = decompose(Owner()).coverage
    by_name = {t.name: t for t in coverage.tensors}
    assert coverage.accounted == 1.0
    assert coverage.decomposed == 0.0
    assert by_name["table"].status == "unsupported"
    assert "complex" in by_name["table"].reason
    assert by_name["number"].status == "vector"
    assert "Owner" in by_name["shift"].reason


def test_a_matrix_no_kind_is_asked_about_is_a_row_with_a_reason(monkeypatch):
    monkeypatch.setattr(registry, "_remainders", [])
    coverage = decompose(nn.ParameterList([torch.randn(3, 4)])).coverage
    assert [t.status for t in coverage.tensors] == ["unsupported"]
    assert "ParameterList" in coverage.tensors[0].reason


def test_tied_weights_are_decomposed_once_with_both_roles_named():
    model = nn.ModuleDict({"embed": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    model["head"].weight = model["embed"].weight
    atlas = decompose(model)
    assert [r.name for r in atlas.layers] == ["embed"]
    assert "head.weight" in atlas.layers[0].entry["note"]
    assert atlas.coverage.parameters == 28
    assert {t.name: t.status for t in atlas.coverage.tensors} == {"embed.weight": "decomposed", "head.weight": "tied"}


def test_parametrised_modules_in_training_mode_stay_bit_identical():
    norms = (
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.orthogonal,
    )
    model = nn.Sequential(*(norm(nn.Linear(5, 4)) for norm in norms)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    atlas = decompose(model)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())
    # an orthogonal map has all singular values 1, to the precision it is computed in
    assert atlas.factors("2").spectrum.sub(1).abs().max() < 1e-6


def test_a_lazy_layer_costs_one_row():
    atlas = decompose(nn.Sequential(nn.Linear(3, 2), nn.LazyLinear(4)))
    assert [r.name for r in atlas.layers if not r.failed] == ["0"]
    reasons = {t.name: t.reason for t in atlas.coverage.tensors}
    assert "not initialised" in reasons["1.weight"]
