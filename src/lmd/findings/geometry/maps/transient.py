"""How far a state can grow before it fades."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.recurrence import RecurrentMatrix
from lmd.linalg.maps.resolvent import kreiss_constant, numerical_abscissa, pseudospectrum

__all__ = ["PseudospectraOption", "Transient", "transient"]

_LARGEST = 2048
_SIDE = 41
_NO_RANDOM = "depends on how near the spectrum comes to the unit circle: compare it with the norm of the powers"


@dataclass(frozen=True, slots=True)
class PseudospectraOption:
    """What asks for pseudospectra, which take long.

    Attributes:
        side: points of the grid along the real axis.
    """

    side: int = _SIDE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transient(Finding):
    """Growth on the way, which eigenvalues do not show."""

    numerical_abscissa: Measured = quantity(
        "λ_max((W+Wᵀ)/2)",
        unit="output/input",
        meaning="Largest part along a unit state of what one pass makes of it; of a rate the growth at once",
        source="Trefethen & Embree 2005, 17",
    )
    kreiss_constant: Measured = quantity(
        "sup_{|z|>1}(|z|−1)‖(zI−W)⁻¹‖",
        unit="1",
        meaning="Some power of the map stretches a state by at least this; 1 for a normal map that does not grow",
        source="Kreiss 1962; Trefethen & Embree 2005, 18",
    )
    kreiss_radius: Measured = quantity(
        "|z*|",
        unit="1",
        meaning="Distance from 0 of the point that proves the Kreiss constant; near 1 the growth takes many steps",
        source="Trefethen & Embree 2005, 18",
    )
    pseudospectrum: Float64[Tensor, "im re"] = array(
        meaning="log10 of the smallest singular value of zI − W on a grid of the upper half plane out to ±reach",
        shape="(21, 41)",
    )
    reach: Float64[Tensor, " one"] = array(meaning="end of the grid along both axes", shape="(1,)")


@analysis
def transient(matrix: RecurrentMatrix, option: PseudospectraOption) -> Transient:
    """Numerical abscissa, Kreiss constant (from below, with its witness) and pseudospectrum of a recurrent map.

    The baseline of the numerical abscissa is that of a Gaussian matrix of the same Frobenius norm, ``sqrt(2 / n)
    ||W||_F`` (semicircle law).
    """
    n = matrix.shape[0]
    if n > _LARGEST:
        raise InapplicableError(f"the pseudospectrum of {n} states takes too long; at most {_LARGEST}")
    W = matrix.transition()
    norm = torch.linalg.matrix_norm(W).item()
    error = 6 * n * torch.finfo(torch.float64).eps * norm
    grid, reach = pseudospectrum(W, option.side)
    constant, radius = _kreiss(W)
    return Transient(
        layer=matrix.name,
        numerical_abscissa=Measured(numerical_abscissa(W), sqrt(2 / n) * norm, error),
        kreiss_constant=constant,
        kreiss_radius=radius,
        pseudospectrum=grid,
        reach=torch.tensor([reach], dtype=torch.float64),
    )


def _kreiss(W: Tensor) -> tuple[Measured, Measured]:
    try:
        found = kreiss_constant(W)
    except ValueError:
        absent = Measured(None, reason="infinite: the spectral radius is above 1, so that powers grow without bound")
        return absent, absent
    said = f"{_NO_RANDOM}; proved by z = {found.witness:.4g}"
    constant = Measured(found.value, None, None, "lower", said)
    return constant, Measured(abs(found.witness), None, None, "estimate", _NO_RANDOM)
