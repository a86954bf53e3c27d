"""How much rounding of its numbers puts into a layer's map, along its singular directions."""

from collections.abc import Iterator
from dataclasses import replace
from math import frexp, ldexp

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import InapplicableError
from lmd.layers.convolutions.convolution_maps import ConvolutionMap
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.rounding.entry_noise import DirectionNoise, direction_noise, factor_noise
from lmd.linalg.rounding.steps import GROUP, SCALED, magnitudes, rounding_steps, rounding_variances
from lmd.sources.loaders import Combined, Evaluated, Loader
from lmd.sources.rounding import rounding_of

__all__ = ["noise_of_rounding"]

_FLOATS = ("float32", "float16", "bf16")
_OTHER_FORM = {
    "difference": "a difference: the numbers that were rounded are those of the two models",
    "adapter": "an update: ask for the rounding of the merged layer",
    "operator": "every number of a kernel stands many times in its operator: ask for the kernel matrix",
    "blocks": "only for maps of one block: directions of several blocks are not mixed by rounding",
    "computed": "its numbers are computed from rounded ones: choose a type with rounding=",
    "product": "the scales of whole stored tensors are not known of a product: choose float32, float16 or bf16",
    "not a number": "a block of it has a scale that is no number",
}


def noise_of_rounding(layer: LayerMatrix, factors: Factors, name: str) -> DirectionNoise:
    """Variances along the directions kept of the error that rounding to a type makes, each number independently.

    Args:
        layer: what is rounded; both factors of a product.
        factors: its directions.
        name: a type of ``lmd.linalg.rounding.steps``, or ``stored``.

    Raises:
        InapplicableError: how the numbers are stored is not known, or the map is of another form.
    """
    _refuse_other_forms(layer)
    if isinstance(layer, ThinProduct):
        return _of_product(layer, factors, "float32" if name == "stored" else name)
    axis = 0 if layer.shape[0] >= layer.shape[1] else 1
    # a power of two, so that it changes no digit
    unit = ldexp(1.0, frexp(factors.frobenius_norm)[1])
    return direction_noise(_variances(layer, name, axis, unit), factors.U, factors.Vh, axis).times(unit**2)


def _refuse_other_forms(layer: LayerMatrix) -> None:
    if isinstance(layer, ConvolutionMap):
        raise InapplicableError(_OTHER_FORM["operator"])
    if layer.groups > 1:
        raise InapplicableError(_OTHER_FORM["blocks"])
    if layer.kind in ("difference", "adapter"):
        raise InapplicableError(_OTHER_FORM[layer.kind])
    if type(layer).load not in (LayerMatrix.load, ThinProduct.load):
        raise InapplicableError(_OTHER_FORM["computed"])


def _variances(layer: LayerMatrix, name: str, axis: int, unit: float) -> Iterator[Float[Tensor, "out in"]]:
    """In units of ``unit ** 2``."""
    if name == "stored":
        told = rounding_of(layer.loader)
        if told is not None:
            yield from (panel.div_(unit**2) for panel in _told(replace(layer, loader=told)))
            return
        if _from_rounded(layer.loader):
            raise InapplicableError(_OTHER_FORM["computed"])
        name = "float32"
    scales = magnitudes(layer.panels(), axis) if name in SCALED else None
    start = 0
    for panel in layer.panels() if axis == 0 else _aligned(layer.panels()):
        own = scales.narrow(start, len(panel)) if scales and axis == 0 else scales
        start += len(panel)
        yield rounding_variances(panel, name, unit, own)


def _told(errors: LayerMatrix) -> Iterator[Float64[Tensor, "out in"]]:
    for panel in errors.panels():
        squares = panel.double().square()
        if not torch.isfinite(squares).all():
            raise InapplicableError(_OTHER_FORM["not a number"])
        yield squares


def _from_rounded(loader: Loader) -> bool:
    """Whether numbers were computed from such that are stored more coarsely than float32."""
    if isinstance(loader, Evaluated):
        return False
    parts = loader.parts if isinstance(loader, Combined) else ()
    return any(rounding_of(part) is not None or _from_rounded(part) for part in parts)


def _aligned(panels: Iterator[Tensor]) -> Iterator[Tensor]:
    """Panels of columns cut again, so that each begins at a multiple of 32."""
    kept: Tensor | None = None
    for panel in panels:
        both = panel if kept is None else torch.cat([kept, panel], dim=1)
        whole = both.shape[1] - both.shape[1] % GROUP
        kept = both[:, whole:]
        if whole:
            yield both[:, :whole]
    if kept is not None and kept.shape[1]:
        yield kept


def _of_product(layer: ThinProduct, factors: Factors, name: str) -> DirectionNoise:
    """Of ``(L + D) (R + E) - L R = D R + L E`` to first order."""
    if name not in _FLOATS or _from_rounded(layer.loader):
        raise InapplicableError(_OTHER_FORM["product" if name not in _FLOATS else "computed"])
    L, R = layer.thin()
    # steps of these types depend on each number alone
    both = rounding_steps(torch.cat([L, R.T]), name).square_().div_(12)
    left = factor_noise(both[: len(L)], R, factors.U, factors.Vh)
    return left.plus(factor_noise(both[len(L) :], L.T, factors.Vh.T, factors.U.T).transposed())
