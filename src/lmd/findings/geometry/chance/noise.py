"""What stands out of a random spectrum."""

from dataclasses import dataclass

from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, NotApplicable, analysis
from lmd.findings.measure import baseline_spectrum, counted, no_baseline, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.linalg.chance.gaussian import bulk_edge
from lmd.linalg.scaled_norm import scaled_norm

__all__ = ["Noise", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise(Finding):
    """The end of the noise spectrum, and the singular values beyond it."""

    noise_edge: Measured = quantity(
        "s(√out+√in)",
        unit="output/input",
        meaning="Where the spectrum of a large random layer with the same mean square weight ends",
        source="Marchenko & Pastur 1967",
    )
    spikes: Measured = quantity(
        "#{σ > edge}",
        unit="directions",
        meaning="Singular values beyond the noise edge: correlated or very large weights, which of the two is not told",
        source="Baik, Ben Arous & Péché 2005",
    )


@analysis
def noise(factors: Factors) -> Noise | NotApplicable:
    """The Marchenko-Pastur edge, its scale taken from the Frobenius norm, so that spikes raise it (conservative).

    Of a product of thin factors: the largest value of a random product.
    """
    base = baseline_spectrum(factors)
    if base is None:
        return NotApplicable(layer=factors.layer, analysis="noise", reason=no_baseline(factors))
    S, error = spectrum_of(factors)
    edge = base[0].item() if factors.inner else bulk_edge(factors.shape, factors.frobenius_norm, groups=factors.groups)

    def beyond(values: Tensor) -> int:
        return int((values > edge).sum())

    # the edge is as wrong as the Frobenius norm it is scaled by
    norm = scaled_norm(S)
    relative = (scaled_norm(error) / norm).item() if norm > 0 else 0.0
    return Noise(
        layer=factors.layer,
        noise_edge=Measured(edge, base[0].item(), relative * edge),
        spikes=counted(factors, beyond, base),
    )
