"""Every analysis is documented, sourced, finite, repeatable, picklable, and says when it lacks its inputs."""

import pytest
import torch

from lmd.activations.activations import Activations
from lmd.activations.observing.gates import Gates
from lmd.activations.observing.moments import Moments
from lmd.activations.observing.observe import Watch, observe
from lmd.activations.observing.whole import WholeNetwork
from lmd.data.open_data import open_data
from lmd.factors.factors import Factors
from lmd.factors.sides import Sides
from lmd.factors.svd import factors_of
from lmd.findings.analysis import analyses
from lmd.findings.geometry.chance.identifiability import Rounding
from lmd.findings.geometry.chance.power_law import PowerLawOption
from lmd.findings.geometry.maps.coupling import Upstream
from lmd.findings.geometry.maps.transient import PseudospectraOption
from lmd.findings.quantity import quantities_of
from lmd.layers.convolutions.convolution_maps import ConvolutionOperator, ConvolutionSymbol
from lmd.layers.initialised.law import InitialLaw
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix
from lmd.layers.states.diagonal_states import DiagonalStates
from lmd.layers.updates.against_base import AgainstBase, with_base
from lmd.layers.updates.differences import compared
from lmd.layers.updates.pairs import Pair, paired
from lmd.layers.walk import walk
from lmd.sources.loaders import Held
from lmd.sources.open_network import open_network
from lmd.testing import check_analysis, layers_of
from tests.seeds import seeded
from tests.state_modules import LinearRecurrentUnit

GENERATOR = torch.Generator().manual_seed(0)
W = torch.randn(6, 4, generator=GENERATOR)
X = torch.randn(20, 4, generator=GENERATOR)
LAYER = LayerMatrix("layer", "dense", (6, 4), Held("layer.weight", W))
ROUNDED = LayerMatrix("layer", "dense", (6, 4), Held("layer.weight", W.half()))
H = RecurrentMatrix("layer", "gate", (5, 5), Held("h", torch.randn(5, 5, generator=GENERATOR)))
CONVOLUTION = layers_of(torch.nn.Conv2d(2, 3, 3, padding=1), (2, 5, 6))
STATES = layers_of(seeded(LinearRecurrentUnit))["decay"]
EARLIER, LATER = torch.nn.Linear(4, 6, bias=False), torch.nn.Linear(4, 6, bias=False)
for _module, _weights in ((EARLIER, W), (LATER, W + 0.1 * W.flip(0))):
    _module.weight.data = _weights.clone()
NETWORK = torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False), torch.nn.ReLU(), torch.nn.Linear(6, 3))
NETWORK[0].weight.data = W
SEEN = observe(NETWORK, open_data(X, targets=torch.arange(20) % 3), [Watch("0", "", (6, 4))])
GIVEN = {
    Moments: SEEN.moments["0"],
    Gates: SEEN.gates["0"],
    WholeNetwork: SEEN.whole,
    Factors: factors_of(W),
    LayerMatrix: ROUNDED,
    Activations: Activations("layer", X, X @ W.T, None),
    AgainstBase: with_base(LAYER, LAYER),
    RecurrentMatrix: H,
    DiagonalStates: STATES,
    Pair: paired(compared(walk(open_network(LATER)), open_network(EARLIER)).layers[0]),
    Sides: Sides(factors_of(EARLIER.weight.detach()), factors_of(LATER.weight.detach())),
    ConvolutionOperator: CONVOLUTION["operator"],
    ConvolutionSymbol: CONVOLUTION["symbol"],
    Rounding: Rounding(),
    InitialLaw: InitialLaw("uniform", 1.0, "a test"),
    PseudospectraOption: PseudospectraOption(),
    PowerLawOption: PowerLawOption(draws=3),
    Upstream: Upstream(factors_of(torch.randn(4, 3, generator=GENERATOR)), "a test"),
}
SQUARE = LayerMatrix("layer", "dense", (9, 9), Held("w", torch.randn(9, 9, generator=GENERATOR)))
OTHER_LAYERS = {
    "square_map": {LayerMatrix: H, Factors: factors_of(H)},
    # a tail needs ten values
    "power_law": {Factors: factors_of(torch.randn(20, 30, generator=GENERATOR))},
    "initial": {LayerMatrix: SQUARE, Factors: factors_of(SQUARE)},
}


@pytest.mark.parametrize("name", list(analyses()))
def test_analysis_keeps_its_contract(name):
    chosen = analyses()[name]
    check_analysis(chosen, {**GIVEN, **OTHER_LAYERS.get(name, {})})


def test_no_two_analyses_share_a_key():
    keys = [q.key for chosen in analyses().values() for q in quantities_of(chosen.finds)]
    assert len(keys) == len(set(keys))


def test_the_keys_of_the_first_set_are_there():
    keys = {q.key for chosen in analyses().values() for q in quantities_of(chosen.finds)}
    promised = """spectral_norm frobenius_norm nuclear_norm smallest_gain condition_number numerical_rank stable_rank
    effective_rank participation_ratio rank_90 rank_95 rank_99 rank_99_9 eckart_young noise_edge spikes"""
    assert set(promised.split()) <= keys
