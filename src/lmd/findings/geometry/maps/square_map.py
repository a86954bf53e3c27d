"""Eigenvalues of a map from a space to itself, and how far it turns."""

from dataclasses import dataclass
from math import degrees, sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.convolutions.convolution_maps import ConvolutionMap
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix
from lmd.layers.states.diagonal_states import DiagonalStates, SteppedStates
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.eigenvalues import Eigenvalues, eigenvalues
from lmd.linalg.maps.square import Invariants, invariants, partial_angles, rotation_angles, thin_invariants
from lmd.linalg.singular.thin_products import product_error, product_svd
from lmd.linalg.singular.thin_svd import thin_svd

__all__ = ["SquareMap", "square_map"]

_EPS = torch.finfo(torch.float64).eps
_LARGEST, _LARGEST_STATES = 1024, 8192
"""Eigenvalues take about 25 n³ operations and 6 n² doubles: beyond these sides much longer than the SVD, and hours."""
_OTHER_SPACE = frozenset({"query", "key", "value", "gate", "attention_output", "embedding"})
"""Kinds that read one space and write another, though both may be of one size."""
_DIAGONAL = "a diagonal map has no random-matrix baseline"
_STORED = 2.0**-24
_ANY_ANGLE = 90.0
"""Degrees: an error of that size leaves the angle open."""
_ZERO = "undefined for the zero matrix"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SquareMap(Finding):
    """Eigenvalues and rotation of one square map."""

    spectral_radius: Measured = quantity(
        "ρ = max|λ|",
        unit="output/input",
        meaning="Growth per pass, in the long run, of a state that passes through the linear map alone",
        source="Golub & Van Loan 2013, 7.1; baseline Ginibre 1965",
    )
    henrici_departure: Measured = quantity(
        "√(‖W‖_F² − Σ|λ|²)/‖W‖_F",
        unit="1",
        meaning="Departure from normality: 0 if eigenvalues say all, near 1 if a state can grow before it fades",
        source="Henrici 1962; baseline Chalker & Mehlig 1998",
    )
    copying_score: Measured = quantity(
        "Σλ/Σ|λ|",
        unit="1",
        meaning="1 if every eigenvalue is positive (a head that copies what it reads), −1 if every one is negative",
        source="Elhage et al. 2021",
    )
    symmetric_share: Measured = quantity(
        "‖(W+Wᵀ)/2‖²/‖W‖²",
        unit="1",
        meaning="Share of the squared norm in the symmetric part: 1 symmetric, 0 antisymmetric",
        source="Golub & Van Loan 2013, 2.1",
    )
    closeness_to_identity: Measured = quantity(
        "tr W/(√n‖W‖_F)",
        unit="1",
        meaning="Cosine between the map and the identity",
        source="Golub & Van Loan 2013, 2.1",
    )
    orientation: Measured = quantity(
        "sign Πλ",
        unit="1",
        meaning="Sign of the determinant, of a thin product on its range: −1 reflects",
        source="Strang 2016, 5.1",
    )
    rotation_angle: Measured = quantity(
        "median|arg λ(UVᵀ)|",
        unit="degrees",
        meaning="Median angle by which the rotation of the polar decomposition turns its planes",
        source="Murnaghan & Wintner 1931; Higham 1986",
    )
    eigenvalues: Float64[Tensor, "n 2"] = array(
        meaning="real and imaginary parts, by falling magnitude; those that are 0 by construction left out",
        shape="(n, 2)",
    )
    rotation_angles: Float64[Tensor, " n"] = array(
        meaning="angles of the rotation in degrees, ascending, each plane twice", shape="(n,)"
    )


@analysis
def square_map(layer: LayerMatrix, factors: Factors) -> SquareMap:
    """Eigenvalues, departure from normality and rotation of a map whose output is as large as its input.

    The baseline is a Gaussian matrix of the same Frobenius norm, or a product of two through the same width: its
    eigenvalues fill a disc of radius ``||W||_F / sqrt(n)`` (circular law, large n), its angles are even.
    """
    _refuse(layer)
    if isinstance(layer, DiagonalStates) or _diagonal(layer):
        return _of_diagonal(layer)
    found, known = _eigenvalues(layer), _invariants(layer)
    angles, turned = _angles(layer, factors)
    n = layer.shape[0]
    return SquareMap(
        layer=layer.name,
        spectral_radius=_radius(found, known.norm, n),
        henrici_departure=_departure(found, known.norm, layer),
        copying_score=_copying(found),
        **_shares(known, n),
        orientation=_orientation(found, known.norm),
        rotation_angle=_median(angles, turned),
        eigenvalues=torch.view_as_real(found.values).contiguous(),
        rotation_angles=angles.rad2deg(),
    )


def _refuse(layer: LayerMatrix) -> None:
    if isinstance(layer, ConvolutionMap):
        raise InapplicableError("the symbol says what a convolution does to waves, which are its eigenvectors")
    if isinstance(layer, DiagonalStates) and not isinstance(layer, SteppedStates):
        raise InapplicableError("a rate of change is no map of a state: see the growth rates")
    if isinstance(layer, RecurrentMatrix):
        if layer.states > _LARGEST_STATES:
            raise InapplicableError(
                f"the eigenvalues of {layer.states} states take too long; at most {_LARGEST_STATES}"
            )
        return
    out, inn = layer.shape
    if out != inn:
        raise InapplicableError(f"only for square maps; this one has {out} outputs and {inn} inputs")
    if layer.kind in _OTHER_SPACE:
        raise InapplicableError(
            "it reads one space and writes another, of the same size by chance: see the circuits of its heads"
        )
    if layer.full_rank > _LARGEST and not _diagonal(layer):
        raise InapplicableError(f"eigenvalues of {out} x {out} take much longer than its SVD; at most {_LARGEST}")


def _diagonal(layer: LayerMatrix) -> bool:
    return 1 < layer.groups == layer.shape[0] == layer.shape[1]


def _eigenvalues(layer: LayerMatrix) -> Eigenvalues:
    if isinstance(layer, RecurrentMatrix):
        step, rounding = layer.step()
        return eigenvalues(step, perturbation=rounding)
    if isinstance(layer, ThinProduct):
        L, R = layer.thin()
        rounding = product_error(layer.shape, (L.norm() * R.norm()).item())
        return eigenvalues(R @ L if layer.inner < len(L) else L @ R, perturbation=rounding)
    found = [eigenvalues(block) for block in layer.blocks().double()]
    values, errors = torch.cat([one.values for one in found]), torch.cat([one.errors for one in found])
    order = torch.argsort(values.abs(), descending=True, stable=True)
    return Eigenvalues(values[order], errors[order]) if len(found) > 1 else found[0]


def _invariants(layer: LayerMatrix) -> Invariants:
    if isinstance(layer, ThinProduct):
        return thin_invariants(*layer.thin())
    return invariants(layer.transition() if isinstance(layer, RecurrentMatrix) else layer.load().double())


def _angles(layer: LayerMatrix, factors: Factors) -> tuple[Tensor, float | None]:
    """Angles in radians, and how far rounding may turn the rotation; None where no bound is known."""
    if isinstance(layer, ThinProduct) and layer.full_rank < layer.shape[0]:
        L, R = layer.thin()
        kept = factors.rank == layer.full_rank
        U, Vh = (factors.U, factors.Vh) if kept else _sides(L, R)
        # the angles of a partial isometry are those of a map that is not normal
        return partial_angles(U, Vh), None
    W = layer.transition() if isinstance(layer, RecurrentMatrix) else layer.load().double()
    whole = factors.rank == len(W) and factors.shape == tuple(W.shape)
    U, S, Vh = (factors.U, factors.S, factors.Vh) if whole else thin_svd(W.contiguous())
    return rotation_angles(U @ Vh), _turned(S, sqrt(len(W)) * _EPS * S[0].item())


def _sides(L: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    found = product_svd(L, R)
    return found.U, found.Vh


def _turned(S: Tensor, noise: float) -> float:
    """How far noise moves the polar factor, in the spectral norm, to first order.

    References:
        Mathias 1993: of a real square matrix of full rank at most 2 / (s_n + s_(n-1)) times the noise.
    """
    lowest = S[-2:].sum().item()
    return 2 * noise / lowest if lowest > 2 * noise else 2.0


def _of_diagonal(layer: LayerMatrix) -> SquareMap:
    """The eigenvalues stand on the diagonal; a complex one with its conjugate."""
    values = layer.eigenvalues() if isinstance(layer, DiagonalStates) else layer.blocks().flatten().to(torch.complex128)
    if layer.shape[0] > len(values):
        values = torch.cat([values, values.conj()])
    values = values[torch.argsort(values.abs(), descending=True, stable=True)].resolve_conj()
    found = Eigenvalues(values, values.abs() * _EPS)
    norm = values.abs().square().sum().sqrt().item()
    known = Invariants(values.sum().real.item(), values.square().sum().real.item(), norm)
    angles = values.angle().abs().sort().values
    radius = values[0].abs().item()
    return SquareMap(
        layer=layer.name,
        spectral_radius=Measured(radius, error=radius * _EPS, reason=_DIAGONAL),
        henrici_departure=Measured(0.0, error=0.0, reason=_DIAGONAL),
        copying_score=_without_baseline(_copying(found)),
        **{key: _without_baseline(value) for key, value in _shares(known, layer.shape[0]).items()},
        orientation=_without_baseline(_orientation(found, norm)),
        rotation_angle=_without_baseline(_median(angles, _EPS)),
        eigenvalues=torch.view_as_real(values).contiguous(),
        rotation_angles=angles.rad2deg(),
    )


def _without_baseline(found: Measured) -> Measured:
    return Measured(found.value, None, found.error, found.direction, found.reason or _DIAGONAL)


def _shares(known: Invariants, n: int) -> dict[str, Measured]:
    if known.norm == 0:
        return dict.fromkeys(("symmetric_share", "closeness_to_identity"), Measured(None, reason=_ZERO))
    rounding = n * _EPS
    return {
        "symmetric_share": Measured(known.symmetric_share, 0.5 * (1 + 1 / n), rounding),
        "closeness_to_identity": Measured(known.closeness_to_identity(n), 0.0, rounding),
    }


def _radius(found: Eigenvalues, norm: float, n: int) -> Measured:
    sizes = found.values.abs()
    # another eigenvalue may be the largest within its own error
    error = max((sizes + found.errors).max().item() - sizes[0].item(), found.errors[0].item())
    # between 0 and the norm it lies in any case
    return Measured(sizes[0].item(), norm / sqrt(n), min(error, max(norm, sizes[0].item())))


def _departure(found: Eigenvalues, norm: float, layer: LayerMatrix) -> Measured:
    if norm == 0:
        return Measured(None, reason=_ZERO)
    sizes = found.values.abs() / norm
    missing = 1 - sizes.square().sum().item()
    value = sqrt(max(missing, 0.0))
    slack = 2 * (sizes * found.errors / norm).sum().item() + sizes.numel() * _EPS
    # the root turns an error of the square into one of its own; at 0 into the root of it
    error = min(sqrt(slack), slack / value) if value > 0 else sqrt(slack)
    product = isinstance(layer, ThinProduct)
    baseline = _product_departure(layer.shape[0], layer.full_rank) if product else sqrt(0.5)
    return Measured(value, baseline, error)


def _product_departure(size: int, states: int) -> float:
    """Of a product of two Gaussian factors through ``states``, from the law of its eigenvalues.

    References:
        Burda, Jarosz, Livan, Nowak & Swiech 2010.
    """
    excess = size / states - 1
    mean_square = (1 / 3 + excess / 2) / (1 + excess)
    return sqrt(1 - mean_square / (1 + excess))


def _copying(found: Eigenvalues) -> Measured:
    total = found.values.abs().sum().item()
    if total == 0:
        return Measured(None, 0.0, reason="undefined: every eigenvalue is 0")
    error = 2 * found.errors.sum().item() / total
    return Measured(found.values.real.sum().item() / total, 0.0, min(2.0, error))


def _orientation(found: Eigenvalues, norm: float) -> Measured:
    # weights are stored in float32 at best, with a few exceptions, and their rounding has a sign of its own
    if bool((found.values.abs() <= found.errors.clamp_min(_STORED * norm)).any()):
        return Measured(None, 0.0, reason="an eigenvalue is 0 within its error or rounding to float32: it flattens")
    negative = int(((found.values.imag == 0) & (found.values.real < 0)).sum())
    return Measured(-1 if negative % 2 else 1, 0.0, 0.0)


def _median(angles: Tensor, turned: float | None) -> Measured:
    middle = angles.quantile(0.5)
    if turned is None:
        return Measured(degrees(middle.item()), 90.0, None, "estimate")
    sine = middle.sin().abs().item()
    # next to 0 and pi a cosine tells its angle to half of the digits only
    error = degrees(min(turned / sine, sqrt(2 * turned)) if sine > 0 else sqrt(2 * turned))
    if error >= _ANY_ANGLE:
        return Measured(None, 90.0, reason="undefined within rounding: what the map flattens it may turn by any angle")
    return Measured(degrees(middle.item()), 90.0, error)
