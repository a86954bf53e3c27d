"""Every analysis is documented, sourced, finite, repeatable, picklable, and says when it lacks its inputs."""

import pytest
import torch

from lmd.activations.activations import Activations
from lmd.factors.factors import Factors
from lmd.factors.svd import factors_of
from lmd.findings.analysis import analyses
from lmd.findings.quantity import quantities_of
from lmd.layers.recurrence import RecurrentMatrix
from lmd.sources.loaders import Held
from lmd.testing import check_analysis

GENERATOR = torch.Generator().manual_seed(0)
W = torch.randn(6, 4, generator=GENERATOR)
X = torch.randn(20, 4, generator=GENERATOR)
H = RecurrentMatrix("layer", "gate", (5, 5), Held("h", torch.randn(5, 5, generator=GENERATOR)))
GIVEN = {Factors: factors_of(W), Activations: Activations("layer", X, X @ W.T, None), RecurrentMatrix: H}


@pytest.mark.parametrize("name", list(analyses()))
def test_analysis_keeps_its_contract(name):
    check_analysis(analyses()[name], GIVEN)


def test_no_two_analyses_share_a_key():
    keys = [q.key for chosen in analyses().values() for q in quantities_of(chosen.finds)]
    assert len(keys) == len(set(keys))


def test_the_keys_of_the_first_set_are_there():
    keys = {q.key for chosen in analyses().values() for q in quantities_of(chosen.finds)}
    promised = """spectral_norm frobenius_norm nuclear_norm smallest_gain condition_number numerical_rank stable_rank
    effective_rank participation_ratio rank_90 rank_95 rank_99 rank_99_9 eckart_young noise_edge spikes"""
    assert set(promised.split()) <= keys
