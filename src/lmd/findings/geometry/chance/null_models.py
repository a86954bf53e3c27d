"""How a spectrum compares with random matrices: Gaussian ones, and the layer's own weights shuffled."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import frexp, isfinite, isnan, ldexp, log, sqrt

from jaxtyping import Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import baseline_spectrum, counted, spectrum_of
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.convolutions.convolution_maps import ConvolutionOperator, ConvolutionSymbol
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.chance.correlation_tests import Moments, entries_p, lines_p, moments_of
from lmd.linalg.chance.gaussian import entry_scale
from lmd.linalg.chance.shuffles import Shuffle, quick_values, shuffles
from lmd.linalg.chance.spectra import kolmogorov_distance
from lmd.linalg.chance.tracy_widom import largest_value_p, tracy_widom_edge
from lmd.linalg.panels import Operator

__all__ = ["EDGE_LEVEL", "NullModels", "null_models"]

_ROUNDING = 1e-15
EDGE_LEVEL = 0.01
"""Probability that a Gaussian matrix has a singular value beyond the edge."""
_LARGEST_SIDE, _MOST_ENTRIES = 2048, 1 << 25
"""Beyond, a draw takes longer than the layer itself, and memory for three copies of it."""
_UNDRAWN = "the weights of a layer beyond 2048 x 2048 are not shuffled; its p-values need no draw"
_UNIFORM = "of a matrix of the null model it is uniform between 0 and 1"
_OWN = "a matrix of the null model has the same law"
_FEW = "fewer than 4 rows or columns"
_SOURCES = {
    "edge": "Johnstone 2001; Johnstone & Ma 2012",
    "entries": "John 1972; Wang & Yao 2013",
    "lines": "Horn 1965; Schott 2005",
    "distance": "Kolmogorov 1933",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NullModels(Finding):
    """Distances to null models, p-values, and the singular values beyond each of them."""

    gaussian_edge: Measured = quantity(
        "σ₀.₀₁",
        unit="output/input",
        meaning="What the largest value of a Gaussian layer of this shape and norm passes in 1 of 100 draws",
        source=_SOURCES["edge"],
    )
    gaussian_spikes: Measured = quantity(
        "#{σ > σ₀.₀₁}",
        unit="directions",
        meaning="Singular values beyond what a Gaussian layer of this shape and norm has",
        source=_SOURCES["edge"],
    )
    gaussian_p: Measured = quantity(
        "P(σ₁ᴳ ≥ σ₁)",
        unit="1",
        meaning="Probability that the largest value of a Gaussian layer is as large",
        source=_SOURCES["edge"] + "; Chiani 2014",
    )
    gaussian_distance: Measured = quantity(
        "sup|F − F_MP|",
        unit="1",
        meaning="Kolmogorov distance of the spectrum to the Marchenko-Pastur law",
        source=_SOURCES["distance"],
    )
    shuffled_spikes: Measured = quantity(
        "#{σ > σ₁(shuffled)}",
        unit="directions",
        meaning="Singular values beyond all of the same weights in random order: correlated weights, not large ones",
        source="Horn 1965",
    )
    shuffled_p: Measured = quantity(
        "p(entries)",
        unit="1",
        meaning="Two-sided p-value of weights that are independent of each other, whatever their law",
        source=_SOURCES["entries"],
    )
    shuffled_distance: Measured = quantity(
        "sup|F − F(shuffled)|",
        unit="1",
        meaning="Kolmogorov distance of the spectrum to that of the same weights in random order",
        source=_SOURCES["distance"],
    )
    row_spikes: Measured = quantity(
        "#{σ > σ₁(rows shuffled)}",
        unit="directions",
        meaning="Singular values beyond all of the layer with the weights of each row in random order",
        source="Horn 1965",
    )
    row_p: Measured = quantity(
        "p(rows)",
        unit="1",
        meaning="Two-sided p-value of rows whose orders have nothing to do with each other",
        source=_SOURCES["lines"],
    )
    row_distance: Measured = quantity(
        "sup|F − F(rows shuffled)|",
        unit="1",
        meaning="Kolmogorov distance of the spectrum to that with each row in random order",
        source=_SOURCES["distance"],
    )
    column_spikes: Measured = quantity(
        "#{σ > σ₁(columns shuffled)}",
        unit="directions",
        meaning="Singular values beyond all of the layer with the weights of each column in random order",
        source="Horn 1965",
    )
    column_p: Measured = quantity(
        "p(columns)",
        unit="1",
        meaning="Two-sided p-value of columns whose orders have nothing to do with each other",
        source=_SOURCES["lines"],
    )
    column_distance: Measured = quantity(
        "sup|F − F(columns shuffled)|",
        unit="1",
        meaning="Kolmogorov distance of the spectrum to that with each column in random order",
        source=_SOURCES["distance"],
    )
    outlier_spikes: Measured = quantity(
        "#{σ₀.₀₁ < σ ≤ σ₁(shuffled)}",
        unit="directions",
        meaning="Singular values beyond a Gaussian layer that the weights have in any order: huge ones, or a mean",
        source="Horn 1965; Baik, Ben Arous & Péché 2005",
    )
    parallel_rank: Measured = quantity(
        "#{leading σᵢ > σᵢ(shuffled)}",
        unit="directions",
        meaning="Leading singular values that each exceed that of their rank in the shuffled layer (parallel analysis)",
        source="Horn 1965",
    )
    excess_kurtosis: Measured = quantity(
        "m₄/m₂² − 3",
        unit="1",
        meaning="Weight of the tails of the weights' law: 0 Gaussian, -1.2 uniform, large with outliers",
        source="Pearson 1905",
    )
    largest_weight: Measured = quantity(
        "max|W_ij|/rms",
        unit="root mean square weights",
        meaning="The largest weight; of a Gaussian layer about √(2 log(out·in))",
        source="Cramér 1946, 28.6",
    )
    shuffled_spectrum: Float64[Tensor, " rank"] = array(
        meaning="singular values of the same weights in a seeded random order, descending", shape="(rank,)"
    )


@analysis
def null_models(factors: Factors, layer: LayerMatrix) -> NullModels:
    """Null models of one stored matrix.

    Gaussian: in closed form. Shuffled: one seeded draw each for distance and edge, so that another draw differs; the
    p-values are of closed form, from the mean and variance that the sum of the fourth powers of the singular values has
    over all shuffles.
    """
    _refuse(layer)
    S, _ = spectrum_of(factors)
    rms = entry_scale(factors.shape, factors.frobenius_norm)
    if rms == 0:
        raise InapplicableError("undefined for the zero matrix")
    if not isfinite(rms):
        raise InapplicableError("beyond the range of double precision")
    # a power of two, so that fourth powers stay in range, and squares in single precision
    operator = Operator(layer, ldexp(1.0, -frexp(rms)[1]))
    moments = moments_of(operator)
    powers = (S * operator.scale).pow(4).sum().item()
    drawn = _drawn(layer, operator.scale)
    edge = rms * tracy_widom_edge(factors.shape, EDGE_LEVEL)
    return NullModels(
        layer=factors.layer,
        **_gaussian(factors, S, edge, drawn),
        **_against("shuffled", factors, S, drawn.get("entries"), entries_p(moments, powers)),
        **_against("row", factors, S, drawn.get("rows"), lines_p(moments, powers, axis=0)),
        **_against("column", factors, S, drawn.get("columns"), lines_p(moments, powers, axis=1)),
        **_weights(moments),
        outlier_spikes=_outliers(S, edge, drawn.get("entries")),
        parallel_rank=_parallel(S, drawn.get("entries")),
        shuffled_spectrum=drawn.get("entries", S.new_zeros(0)),
    )


def _refuse(layer: LayerMatrix) -> None:
    if isinstance(layer, ConvolutionOperator | ConvolutionSymbol):
        raise InapplicableError("the weights of a convolution are shuffled in the row of its kernel")
    if isinstance(layer, ThinProduct):
        raise InapplicableError("a product holds no weights; its factors have rows of their own")
    if layer.groups > 1:
        raise InapplicableError("only for maps that are one stored matrix, and not for blocks of them")


def _drawn(layer: LayerMatrix, scale: float) -> dict[Shuffle, Float64[Tensor, " rank"]]:
    if min(layer.shape) > _LARGEST_SIDE or layer.shape[0] * layer.shape[1] > _MOST_ENTRIES:
        return {}
    matrix = layer.load().double().mul(scale).float()
    return {how: quick_values(W).double() / scale for how, W in shuffles(matrix)}


def _gaussian(factors: Factors, S: Tensor, edge: float, drawn: Mapping[Shuffle, Tensor]) -> dict[str, Measured]:
    p = largest_value_p(factors.shape, S[0].item() / entry_scale(factors.shape, factors.frobenius_norm))
    quantiles = baseline_spectrum(factors)
    assert quantiles is not None, factors.kind
    # the shuffled layer is the nearest thing to a Gaussian one of this size
    chance = kolmogorov_distance(drawn["entries"], quantiles) if drawn else None
    reason = "" if drawn else _UNDRAWN
    return {
        "gaussian_edge": Measured(edge, edge, 0.0, "estimate"),
        "gaussian_spikes": _beyond(factors, edge, EDGE_LEVEL),
        "gaussian_p": Measured(p, None, None, "estimate", _UNIFORM),
        "gaussian_distance": Measured(kolmogorov_distance(S, quantiles), chance, None, "estimate", reason),
    }


def _against(word: str, factors: Factors, S: Tensor, drawn: Tensor | None, p: float | None) -> dict[str, Measured]:
    absent = Measured(None, reason=_UNDRAWN)
    return {
        f"{word}_p": Measured(p, None, None, "estimate", _FEW if p is None else _UNIFORM),
        f"{word}_spikes": absent if drawn is None else _beyond(factors, drawn[0].item()),
        f"{word}_distance": absent
        if drawn is None
        else Measured(kolmogorov_distance(S, drawn), None, None, "estimate", _OWN),
    }


def _weights(moments: Moments) -> dict[str, Measured]:
    count, kurtosis = moments.shape[0] * moments.shape[1], moments.excess_kurtosis
    largest = moments.largest / sqrt(moments.total / count)
    known = Measured(kurtosis, 0.0, sqrt(24 / count), "estimate")
    return {
        "excess_kurtosis": Measured(None, 0.0, reason="all weights are equal") if isnan(kurtosis) else known,
        "largest_weight": Measured(largest, sqrt(2 * log(max(count, 2))), _ROUNDING * largest),
    }


def _outliers(S: Tensor, edge: float, drawn: Tensor | None) -> Measured:
    if drawn is None:
        return Measured(None, reason=_UNDRAWN)
    return Measured(int(((edge < S) & (drawn[0] >= S)).sum()), 0, None, "estimate")


def _parallel(S: Tensor, drawn: Tensor | None) -> Measured:
    if drawn is None:
        return Measured(None, reason=_UNDRAWN)
    return Measured(int((drawn < S).long().cumprod(0).sum()), 0, None, "estimate")


def _beyond(factors: Factors, edge: float, baseline: float = 0.0) -> Measured:
    found = counted(factors, lambda S: int((edge < S).sum()), None)
    return Measured(found.value, baseline, found.error, "estimate")
