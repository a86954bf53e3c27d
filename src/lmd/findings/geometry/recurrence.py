"""What a recurrent map does to a state that passes through it again and again."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.recurrence import RecurrentMatrix, RecurrentProduct
from lmd.layers.states.diagonal_states import SteppedStates
from lmd.linalg.eigenvalues import Eigenvalues, eigenvalues

__all__ = ["Recurrence", "recurrence"]

_LARGEST = 8192
"""Eigenvalues take about 25 n³ operations and 6 n² doubles: beyond this side, hours and gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recurrence(Finding):
    """Eigenvalues of one recurrent map."""

    spectral_radius: Measured = quantity(
        "ρ = max|λ|",
        unit="1/step",
        meaning="Growth per step, in the long run, of a state that passes through the linear map alone",
        source="Golub & Van Loan 2013, 7.1; baseline Ginibre 1965",
    )
    henrici_departure: Measured = quantity(
        "√(‖W‖_F² − Σ|λ|²)/‖W‖_F",
        unit="1",
        meaning="Departure from normality: 0 if eigenvalues say all, near 1 if a state can grow before it fades",
        source="Henrici 1962; baseline Chalker & Mehlig 1998",
    )
    eigenvalues: Float64[Tensor, "n 2"] = array(
        meaning="real and imaginary parts, by falling magnitude; those that are 0 by construction left out",
        shape="(n, 2)",
    )


@analysis
def recurrence(matrix: RecurrentMatrix) -> Recurrence:
    """Eigenvalues, spectral radius and departure from normality of a square map of a state.

    The baseline is the circular law: eigenvalues of a Gaussian matrix of the same Frobenius norm fill the disc of
    radius ``||W||_F / sqrt(n)``, in the limit of large n; so do those of a product of two Gaussian factors.
    """
    if isinstance(matrix, SteppedStates):
        return _of_diagonal(matrix)
    if matrix.states > _LARGEST:
        raise InapplicableError(f"the eigenvalues of {matrix.states} states take too long; at most {_LARGEST}")
    step, rounding = matrix.step()
    found = eigenvalues(step, perturbation=rounding)
    norm = torch.linalg.matrix_norm(matrix.transition()).item()
    return Recurrence(
        layer=matrix.name,
        spectral_radius=_radius(found, norm / sqrt(matrix.shape[0])),
        henrici_departure=_departure(found, norm, matrix),
        eigenvalues=torch.view_as_real(found.values).contiguous(),
    )


def _of_diagonal(matrix: SteppedStates) -> Recurrence:
    """The eigenvalues stand on the diagonal; a complex one with its conjugate."""
    values = matrix.eigenvalues()
    if matrix.shape[0] > len(values):
        values = torch.cat([values, values.conj()])
    values = values[torch.argsort(values.abs(), descending=True, stable=True)].resolve_conj()
    none = "a diagonal map has no random-matrix baseline"
    radius = values[0].abs().item()
    return Recurrence(
        layer=matrix.name,
        spectral_radius=Measured(radius, error=radius * torch.finfo(torch.float64).eps, reason=none),
        henrici_departure=Measured(0.0, error=0.0, reason=none),
        eigenvalues=torch.view_as_real(values).contiguous(),
    )


def _radius(found: Eigenvalues, baseline: float) -> Measured:
    sizes = found.values.abs()
    # another eigenvalue may be the largest within its own error
    error = max((sizes + found.errors).max().item() - sizes[0].item(), found.errors[0].item())
    return Measured(sizes[0].item(), baseline, error)


def _departure(found: Eigenvalues, norm: float, matrix: RecurrentMatrix) -> Measured:
    if norm == 0:
        return Measured(None, reason="undefined for the zero matrix")
    sizes = found.values.abs() / norm
    missing = 1 - sizes.square().sum().item()
    value = sqrt(max(missing, 0.0))
    slack = 2 * (sizes * found.errors / norm).sum().item() + sizes.numel() * torch.finfo(torch.float64).eps
    # the root turns an error of the square into one of its own; at 0 into the root of it
    error = min(sqrt(slack), slack / value) if value > 0 else sqrt(slack)
    product = isinstance(matrix, RecurrentProduct)
    baseline = _product_departure(matrix.shape[0], matrix.states) if product else sqrt(0.5)
    return Measured(value, baseline, error)


def _product_departure(size: int, states: int) -> float:
    """Of a product of two Gaussian factors through ``states``, from the law of its eigenvalues.

    References:
        Burda, Jarosz, Livan, Nowak & Swiech 2010.
    """
    excess = size / states - 1
    mean_square = (1 / 3 + excess / 2) / (1 + excess)
    return sqrt(1 - mean_square / (1 + excess))
