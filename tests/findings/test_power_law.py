"""Power laws in spectra whose tail is known."""

import numpy
import pytest
import torch
from torch import nn

from lmd.factors.svd import factors_of
from lmd.findings.analysis import InapplicableError
from lmd.findings.geometry.chance.power_law import PowerLaw, PowerLawOption, power_law
from lmd.findings.quantity import quantities_of
from lmd.pipeline.decompose import decompose


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_eigenvalues(values: torch.Tensor) -> torch.Tensor:
    """A matrix whose squared singular values these are."""
    U, V = (torch.linalg.qr(gaussian(len(values), len(values), seed=seed))[0] for seed in (1, 2))
    return (U * values.sqrt()) @ V


def pareto(exponent: float, count: int, seed: int = 0) -> torch.Tensor:
    uniform = numpy.random.default_rng(seed).random(count)
    return torch.from_numpy((1 - uniform) ** (-1 / (exponent - 1)))


def found(W: torch.Tensor, draws: int = 0) -> PowerLaw:
    return power_law(factors_of(W, vectors=0), PowerLawOption(draws))


@pytest.mark.parametrize("exponent", [1.7, 2.5, 4.0])
def test_a_known_exponent_is_inside_its_interval(exponent):
    # one of twenty samples is not, as that of seed 0
    one = found(with_eigenvalues(pareto(exponent, 300, seed=1)), draws=30)
    assert one.tail_exponent_low.value < exponent < one.tail_exponent_high.value
    assert one.tail_p.value > 0.1
    assert one.tail_log_normal_p.value > 0.02
    assert one.tail_exponential_ratio.value > 1


@pytest.mark.parametrize("freedom", [1.0, 1.5])
def test_heavy_weights_make_a_heavy_spectrum(freedom):
    # of entries with the tail P(|w| > x) ~ x^-freedom the largest eigenvalues have the density x^-(1 + freedom / 2)
    entries = numpy.random.default_rng(0).pareto(freedom, (300, 300)) + 1
    one = found(torch.from_numpy(entries * numpy.random.default_rng(1).choice([-1, 1], (300, 300))))
    assert one.tail_exponent.value == pytest.approx(1 + freedom / 2, abs=3 * one.tail_exponent.error)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e6])
def test_the_unit_of_the_weights_does_not_matter(scale):
    W = gaussian(60, 80)
    one, other = found(W), found(W * scale)
    assert other.tail_exponent.value == pytest.approx(one.tail_exponent.value, rel=1e-9)
    assert other.tail_start.value == pytest.approx(one.tail_start.value * scale**2, rel=1e-9)
    assert other.spectral_entropy.value == pytest.approx(one.spectral_entropy.value, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_matrix_has_an_exponent_too(seed):
    one = found(gaussian(200, 200, seed=seed))
    # its edge is no power law: the exponent is large, scatters, and so does that of the law's quantiles
    assert one.tail_exponent.value > 2.5
    assert one.tail_exponent.baseline == pytest.approx(6.4, abs=1.5)
    assert one.spectral_entropy.value == pytest.approx(one.spectral_entropy.baseline, abs=0.005)
    assert one.log_alpha_norm.baseline > 0


def test_shares_and_norms_are_their_definitions():
    W = gaussian(30, 50)
    one = found(W)
    values = numpy.linalg.svd(W.numpy(), compute_uv=False) ** 2
    q = values / values.sum()
    assert one.spectral_entropy.value == pytest.approx(-(q * numpy.log(q)).sum() / numpy.log(30), rel=1e-10)
    assert one.log_alpha_norm.value == pytest.approx(numpy.log10((values**one.tail_exponent.value).sum()), rel=1e-10)
    assert one.tail_count.value == (values >= one.tail_start.value * (1 - 1e-9)).sum()


def test_directions_that_rounding_left_are_no_tail():
    W = gaussian(60, 12) @ gaussian(12, 50, seed=1)
    assert found(W).tail_count.value <= 12
    few = found(gaussian(60, 5) @ gaussian(5, 50, seed=1))
    assert "5 positive values" in few.tail_exponent.reason
    assert 0 < few.spectral_entropy.value <= 1


def test_maps_without_a_tail_have_reasons():
    assert "alike" in found(torch.linalg.qr(gaussian(40, 40))[0]).tail_exponent.reason
    assert found(torch.eye(30)).spectral_entropy.value == pytest.approx(1.0)
    assert "one direction" in found(torch.ones(20, 20)).spectral_entropy.reason
    with pytest.raises(InapplicableError, match="zero"):
        found(torch.zeros(20, 20))


def test_samples_are_seeded_and_only_drawn_when_asked_for():
    W = gaussian(40, 40)
    first, second = found(W, draws=10).tail_p, found(W, draws=10).tail_p
    assert first == second
    assert first.error > 0
    assert "no samples" in found(W).tail_p.reason


def test_only_whoever_asks_gets_a_fit():
    layer, keys = nn.Linear(20, 20), [q.key for q in quantities_of(PowerLaw)]
    assert not set(keys) & set(decompose(layer).layers[0].entry["findings"])
    asked = decompose(layer, power_law=True).layers[0].entry["findings"]
    assert set(keys) <= set(asked)
    assert asked["tail_exponent"]["value"] > 1
    with pytest.raises(ValueError, match="--weightwatcher-columns"):
        decompose(layer, power_law_draws=5)


def test_of_a_convolution_the_kernel_and_the_operator_have_tails_and_the_symbol_none():
    torch.manual_seed(0)
    atlas = decompose(nn.Conv2d(4, 12, 3, padding=1), input_shape=(4, 6, 6), power_law=True)
    told = {record.entry["kind"]: record.entry["findings"]["tail_exponent"] for record in atlas.layers}
    assert told["kernel_matrix"]["value"] > 1
    assert told["conv_operator"]["value"] > 1
    assert told["conv_operator"]["baseline"] is None
    assert "smooth curves" in told["conv_symbol"]["reason"]
