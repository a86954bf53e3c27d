"""Units whose weights are far larger than those of the others."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.convolutions.convolution_maps import ConvolutionMap
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.maps.localised import chi_square_quantile, energy_outliers
from lmd.linalg.scaled_norm import scaled_norm

__all__ = ["OutlierUnits", "outlier_units"]

_FAR = 6.0
"""Robust standard deviations: of a million units of a Gaussian matrix none is expected beyond."""
_PRODUCT = "the rows of a product of thin factors depend on each other: they have no null in closed form"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlierUnits(Finding):
    """Rows and columns that carry far more than chance."""

    outlier_outputs: Measured = quantity(
        "#{z(row) > 6}",
        unit="units",
        meaning="Outputs whose weights are larger than the others' by six robust standard deviations",
        source="Wilson & Hilferty 1931; Rousseeuw & Croux 1993; Dettmers et al. 2022",
    )
    outlier_inputs: Measured = quantity(
        "#{z(column) > 6}",
        unit="units",
        meaning="Inputs whose weights are larger than the others' by six robust standard deviations",
        source="Wilson & Hilferty 1931; Rousseeuw & Croux 1993; Dettmers et al. 2022",
    )
    largest_output: Measured = quantity(
        "max‖row‖/median‖row‖",
        unit="1",
        meaning="Norm of the output with the largest weights beside that of a middle one",
        source="Golub & Van Loan 2013, 2.3",
    )
    largest_input: Measured = quantity(
        "max‖column‖/median‖column‖",
        unit="1",
        meaning="Norm of the input with the largest weights beside that of a middle one",
        source="Golub & Van Loan 2013, 2.3",
    )
    row_norms: Float64[Tensor, " out"] = array(meaning="norm of the weights of each output", shape="(out,)")
    column_norms: Float64[Tensor, " in"] = array(meaning="norm of the weights of each input", shape="(in,)")


@analysis
def outlier_units(layer: LayerMatrix) -> OutlierUnits:
    """Norms of rows and columns against those of a Gaussian matrix, whose squares are chi-square."""
    if isinstance(layer, ConvolutionMap):
        raise InapplicableError("outputs of a convolution are positions of channels: see the kernel matrix")
    if layer.groups > 1:
        raise InapplicableError("only for maps of one block: units of several blocks have weights of their own")
    rows, columns = _norms(layer)
    out, inn = layer.shape
    product = isinstance(layer, ThinProduct)
    return OutlierUnits(
        layer=layer.name,
        outlier_outputs=_outliers(rows, inn, product=product),
        outlier_inputs=_outliers(columns, out, product=product),
        largest_output=_largest(rows, inn, product=product),
        largest_input=_largest(columns, out, product=product),
        row_norms=rows,
        column_norms=columns,
    )


def _norms(layer: LayerMatrix) -> tuple[Tensor, Tensor]:
    if isinstance(layer, ThinProduct):
        L, R = layer.thin()
        rows = ((L @ (R @ R.T)) * L).sum(dim=1)
        columns = ((L.T @ L @ R) * R).sum(dim=0)
        return rows.clamp_min(0.0).sqrt(), columns.clamp_min(0.0).sqrt()
    axis = 0 if layer.shape[0] >= layer.shape[1] else 1
    along, across = [], torch.zeros(layer.shape[1 - axis], dtype=torch.float64)
    for panel in layer.panels():
        # the order of a sum, and so its last digit, must not depend on how a file lays its rows out
        wide = panel.contiguous().double()
        along.append(torch.linalg.vector_norm(wide, dim=1 - axis))
        across = torch.hypot(across, torch.linalg.vector_norm(wide, dim=axis))
    whole = torch.cat(along)
    return (whole, across) if axis == 0 else (across, whole)


def _outliers(norms: Tensor, freedom: int, *, product: bool) -> Measured:
    found = int((energy_outliers(_energies(norms), freedom) > _FAR).sum())
    return Measured(found, None if product else 0, 0.0, reason=_PRODUCT if product else "")


def _energies(norms: Tensor) -> Tensor:
    # squares of the raw norms could overflow
    size = scaled_norm(norms)
    return (norms / size if size > 0 else norms).square()


def _largest(norms: Tensor, freedom: int, *, product: bool) -> Measured:
    middle = norms.median().item()
    if middle == 0:
        return Measured(None, reason="undefined: more than half of the units have no weights")
    value = norms.max().item() / middle
    error = value * 1e-13
    if product:
        return Measured(value, None, error, reason=_PRODUCT)
    middling = chi_square_quantile(0.5, freedom)
    random = chi_square_quantile(1 - 0.5 / norms.numel(), freedom) if norms.numel() > 1 else middling
    return Measured(value, sqrt(random / middling), error)
