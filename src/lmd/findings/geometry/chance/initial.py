"""How far a layer is from what its weights usually start as."""

from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import counted, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.layers.initialised.law import InitialLaw
from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.chance.gaussian import entry_scale, gaussian_spectrum
from lmd.linalg.chance.initial_noise import beyond_spikes, size_p
from lmd.linalg.chance.noise_limits import noise_distance
from lmd.linalg.chance.spectra import kolmogorov_distance
from lmd.linalg.chance.tracy_widom import largest_value_p, tracy_widom_edge

__all__ = ["Initial", "initial"]

_EDGE_LEVEL = 0.01
_LEVEL = 5e-4
"""Two-sided: what is left is told from the initial noise below it."""
_SMALLEST = 8
_UNIFORM = "of a layer that has just been initialised it is uniform between 0 and 1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Initial(Finding):
    """The weights against the law that they usually start from."""

    initial_scale: Measured = quantity(
        "s₀",
        unit="output/input",
        meaning="Root mean square weight before training: what the file, or else the framework's default, tells",
        source="Glorot & Bengio 2010; He et al. 2015",
    )
    scale_ratio: Measured = quantity(
        "rms(W)/s₀",
        unit="1",
        meaning="Root mean square weight against that before training",
        source="Glorot & Bengio 2010; He et al. 2015",
    )
    initial_edge: Measured = quantity(
        "σ₀.₀₁(s₀)",
        unit="output/input",
        meaning="What the largest value before training passes in 1 of 100 draws",
        source="Johnstone 2001; Johnstone & Ma 2012",
    )
    initial_spikes: Measured = quantity(
        "#{σ > σ₀.₀₁(s₀)}",
        unit="directions",
        meaning="Singular values beyond what the layer has before training",
        source="Johnstone 2001; Johnstone & Ma 2012",
    )
    initial_p: Measured = quantity(
        "p(initial)",
        unit="1",
        meaning="Two-sided p-value of weights as they were drawn, from their mean square and their largest value",
        source="Bonferroni 1936; Johnstone 2001",
    )
    initial_distance: Measured = quantity(
        "sup|F − F_MP(s₀)|",
        unit="1",
        meaning="Kolmogorov distance of the spectrum to that before training",
        source="Kolmogorov 1933; Marchenko & Pastur 1967",
    )
    initial_from: Measured = quantity(
        "k: σ_{>k} ~ s₀",
        unit="directions",
        meaning="Leading directions beyond which the layer is not told from its initialisation",
        source="Baik, Ben Arous & Péché 2005; Benaych-Georges & Nadakuditi 2012",
    )


@analysis
def initial(factors: Factors, layer: LayerMatrix, law: InitialLaw) -> Initial:
    """Tests of a stored matrix against independent weights of a known law.

    ``initial_p`` is twice the smaller of two p-values: of the mean square, two-sided, and of the largest singular
    value, one-sided. Beyond the spikes, the energy and the law of what is left are compared with those of noise of the
    initial size; where either differs at the level of 5e-4, ``initial_from`` has no value, and the reason says which.

    Raises:
        InapplicableError: blocks, fewer than 8 rows or columns, or not all singular values are known.
    """
    if layer.groups > 1:
        raise InapplicableError("only for maps that are one stored matrix, and not for blocks of them")
    if min(layer.shape) < _SMALLEST:
        raise InapplicableError("fewer than 8 rows or columns: too few to tell")
    S, _ = spectrum_of(factors)
    scale, shape = law.deviation, factors.shape
    values, count = S / scale, shape[0] * shape[1]
    edge = tracy_widom_edge(shape, _EDGE_LEVEL)
    sizes = size_p(values.square().sum().item(), count, law.excess_kurtosis)
    p = min(1.0, 2 * min(sizes, largest_value_p(shape, values[0].item())))
    drawn = gaussian_spectrum(shape, sqrt(count))
    spikes = counted(factors, lambda found: int((found > edge * scale).sum()), None)
    return Initial(
        layer=factors.layer,
        initial_scale=Measured(scale, None, 0.0, "estimate", law.source),
        scale_ratio=Measured(entry_scale(shape, factors.frobenius_norm) / scale, 1.0, _spread(law, count), "estimate"),
        initial_edge=Measured(edge * scale, edge * scale, 0.0, "estimate"),
        initial_spikes=Measured(spikes.value, _EDGE_LEVEL, spikes.error, "estimate"),
        initial_p=Measured(p, None, None, "estimate", _UNIFORM),
        initial_distance=Measured(kolmogorov_distance(values, drawn), noise_distance(len(S)), None, "estimate"),
        initial_from=_from(values, shape, edge, law),
    )


def _spread(law: InitialLaw, count: int) -> float:
    """How much the ratio varies over draws: its standard deviation."""
    return sqrt((2 + law.excess_kurtosis) / count) / 2


def _from(values: Tensor, shape: tuple[int, int], edge: float, law: InitialLaw) -> Measured:
    spikes = int((values > edge).sum())
    if len(values) - spikes < _SMALLEST:
        return Measured(None, 0, reason="fewer than 8 directions are left beyond those above the initial edge")
    left = beyond_spikes(values, shape, spikes, law.excess_kurtosis)
    if left.p < _LEVEL:
        return Measured(None, 0, reason=f"beyond direction {spikes} the weights have another size (p = {left.p:.1g})")
    if left.distance > left.limit:
        words = f"{left.distance:.2g}, of noise at most {left.limit:.2g}"
        return Measured(None, 0, reason=f"beyond direction {spikes} the spectrum has another form (distance {words})")
    return Measured(spikes, 0, None, "estimate")
