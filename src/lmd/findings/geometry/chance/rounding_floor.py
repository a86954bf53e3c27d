"""What the rounding of the stored numbers alone would put into a layer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import baseline_spectrum, counted
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.chance.gaussian import bulk_edge, gaussian_spectrum
from lmd.linalg.chance.uneven_noise import uneven_noise_edge
from lmd.sources.rounding import rounding_of

__all__ = ["RoundingFloor", "rounding_floor"]

_NOT_ROUNDED = "its numbers are not read as they are from a quantised or half-precision tensor"
_NO_RANDOM = "the floor is that of a random matrix already"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundingFloor(Finding):
    """The noise that rounding to the stored codes leaves, and how much of the layer stands above it."""

    floor_spectral_norm: Measured = quantity(
        "‖E‖₂",
        unit="output/input",
        meaning="Largest singular value that rounding alone would give; a value below it may be rounding",
        source="Bennett 1948; Couillet & Hachem 2014",
    )
    floor_ratio: Measured = quantity(
        "‖E‖_F/‖W‖_F",
        unit="1",
        meaning="Size of the rounding noise beside the layer",
        source="Bennett 1948",
    )
    above_floor: Measured = quantity(
        "#{σ > ‖E‖₂}",
        unit="directions",
        meaning="Singular values above everything that rounding alone would give",
        source="Weyl 1912",
    )
    floor_spectrum: Float64[Tensor, " rank"] = array(
        meaning="singular values of independent noise of that size, even over the matrix, descending", shape="(rank,)"
    )


@analysis
def rounding_floor(factors: Factors, layer: LayerMatrix) -> RoundingFloor:
    """Spectrum of the rounding noise of a layer, from how finely each of its numbers was stored.

    Each number's error is independent of the others', of mean 0, and of the root mean square that its block's step
    gives. The baseline of the floor is even noise of the same Frobenius norm.
    """
    rows, columns = _variances(layer)
    size = rows.sum().sqrt().item()
    floor = uneven_noise_edge(rows.numpy(), columns.numpy())
    norm = factors.frobenius_norm
    return RoundingFloor(
        layer=factors.layer,
        floor_spectral_norm=Measured(floor, bulk_edge(layer.shape, size), None, "estimate"),
        floor_ratio=Measured(
            size / norm if norm > 0 else None,
            None,
            None,
            "estimate",
            _NO_RANDOM if norm > 0 else "undefined for the zero matrix",
        ),
        above_floor=_above(factors, floor),
        floor_spectrum=gaussian_spectrum(layer.shape, size),
    )


def _variances(layer: LayerMatrix) -> tuple[Float64[Tensor, " out"], Float64[Tensor, " in"]]:
    """Sums of the variances of the rounding errors, by row and by column, from panels.

    Vectors along the longer side that are stored equal have equal errors, as those of tokens that were never trained:
    ``k`` of them count as one of ``k`` times the variance.

    Raises:
        InapplicableError: the layer is of another form, or its numbers are not rounded as far as anybody says.
    """
    if layer.groups > 1 or isinstance(layer, ThinProduct):
        raise InapplicableError("only for maps that are one stored matrix")
    rounding = rounding_of(layer.loader)
    if rounding is None:
        raise InapplicableError(_NOT_ROUNDED)
    axis = 0 if layer.shape[0] >= layer.shape[1] else 1
    across = torch.zeros(layer.shape[1 - axis], dtype=torch.float64)
    along: list[float] = []
    first: dict[bytes, int] = {}
    for numbers, errors in zip(layer.panels(), replace(layer, loader=rounding).panels(), strict=True):
        squares = errors.double().square()
        if not torch.isfinite(squares).all():
            raise InapplicableError("a block of it has a scale that is no number")
        across += squares.sum(dim=axis)
        for place, variance in zip(_places(numbers, axis, first), squares.sum(dim=1 - axis).tolist(), strict=True):
            along.extend([0.0] * (place + 1 - len(along)))
            along[place] += variance
    merged = torch.tensor(along, dtype=torch.float64)
    return (merged, across) if axis == 0 else (across, merged)


def _places(panel: Tensor, axis: int, first: dict[bytes, int]) -> Iterator[int]:
    """For each vector of a panel the place of the first one that equals it."""
    vectors = (panel if axis == 0 else panel.T).contiguous().view(torch.uint8).numpy()
    for vector in vectors:
        yield first.setdefault(blake2b(vector, digest_size=16).digest(), len(first))


def _above(factors: Factors, floor: float) -> Measured:
    if factors.spectrum is not None:
        return counted(factors, lambda S: int((floor < S).sum()), baseline_spectrum(factors))
    found = int((floor < factors.S).sum())
    if found < factors.rank:
        return Measured(found, None, 0.0, reason="only the leading singular values are known")
    return Measured(found, None, None, "lower", "only the leading singular values are known; all of them are above")
