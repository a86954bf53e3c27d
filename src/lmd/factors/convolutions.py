"""Convolutions to Factors: leading triples of an operator by Lanczos, all values of a symbol by its Fourier blocks."""

from dataclasses import replace
from functools import partial
from math import prod

import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from lmd.factors.factors import Factors
from lmd.factors.rank import Wish
from lmd.layers.convolutions.convolution_maps import ConvolutionMap, ConvolutionOperator, ConvolutionSymbol
from lmd.linalg.convolutions.convolution_bound import NormBound, norm_bound
from lmd.linalg.convolutions.symbol import block_shape, torus_spectrum
from lmd.linalg.convolutions.waves import leading_waves
from lmd.linalg.panels import TensorPanels, safe_scale
from lmd.linalg.progress import tell
from lmd.linalg.singular.lanczos import LinearMap, lanczos_triples
from lmd.linalg.singular.spectrum import lapack_error
from lmd.linalg.singular.triples import Triples, orthogonality_defect, spectral_norm
from lmd.linalg.threads import torch_threads

__all__ = ["dense_bound", "fits_dense", "operator_bound", "operator_factors", "scaled_kernel", "symbol_factors"]

_DENSE_SIDE, _DENSE_ELEMENTS = 512, 1 << 23
_TRIPLES, _MOST_TRIPLES = 6, 64
"""Of an operator: each takes dozens of passes, so that not all that are wished for are given."""
_BLOCK = 6
"""As many equal values are found as often as they occur."""
_BUDGET, _PER_ELEMENT = 2e11, 250
"""Multiplications for the triples of one operator, and those that keep the bases orthogonal, for each row and column:
about twenty seconds of one core."""
_FEWEST, _MOST, _PER_TRIPLE = 48, 4000, 48
"""Applications of the map."""
_TOLERANCE = 1e-6
_LARGE, _LARGE_BLOCK = 1 << 18, 256
"""Rows and columns, and channels, from which several threads are worth their while."""
_MARGIN = 4.0
"""Of a rounding error that is an estimate, where a bound is asked for."""


def fits_dense(layer: ConvolutionOperator) -> bool:
    """Whether the matrix is small enough to be made, which gives every singular value."""
    return min(layer.shape) <= _DENSE_SIDE and prod(layer.shape) <= _DENSE_ELEMENTS


def operator_factors(layer: ConvolutionOperator, wish: Wish, generator: Generator) -> Factors:
    """A few leading triples; the other values are not known, the Frobenius norm is, in closed form.

    At least one triple, at most six, and at most 64 by rank; fewer where one application takes long. A share of the
    Frobenius norm, which takes most of the values, is not reached.

    Raises:
        ValueError: the kernel is complex or contains NaN or Inf, or the wish does not fit.
    """
    kernel, scale = scaled_kernel(layer)
    # only directions come from the narrow map: its scale is free
    narrow = layer.linear_map((kernel / kernel.abs().max().clamp_min(torch.finfo(torch.float64).tiny)).float())
    exact = layer.linear_map(kernel)
    cost = layer.geometry.applications(layer.size) + _PER_ELEMENT * sum(layer.shape)
    applications = int(min(max(_BUDGET / max(cost, 1), _FEWEST), _MOST))
    count = _count(layer, wish, applications)
    _tell(layer.name, "bound of the norm")
    bound = _norm_bound(layer, kernel)
    with torch_threads(one=sum(layer.shape) < _LARGE):
        triples = lanczos_triples(
            narrow,
            count,
            generator,
            block=min(_BLOCK, count),
            start=_start(layer, kernel, bound, exact, min(_BLOCK, count)),
            told=partial(_tell, layer.name),
            tolerance=_TOLERANCE,
            most_applications=applications,
            exact=exact,
        )
    return Factors(
        layer=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        groups=1,
        U=triples.U,
        S=triples.S / scale,
        Vh=triples.Vh,
        spectrum=None,
        spectrum_error=None,
        frobenius_norm=layer.geometry.frobenius_norm(kernel, layer.size) / scale,
        residual=_residual(exact, triples) / scale,
        orthogonality_defect=max(orthogonality_defect(triples.U), orthogonality_defect(triples.Vh.T)),
        remainder=None,
        method="lanczos",
        norm_bound=bound.value / scale,
        norm_method=bound.method,
    )


def _tell(name: str, text: str) -> None:
    tell(f"{name}: {text}")


def dense_bound(layer: ConvolutionOperator, factors: Factors) -> tuple[float, str]:
    """An upper bound of the norm of an operator all of whose values are known, and how it was found."""
    assert factors.spectrum is not None
    assert factors.spectrum_error is not None
    largest = factors.spectrum[0].item() + _MARGIN * factors.spectrum_error[0].item()
    return min(operator_bound(layer), (largest, "matrix"))


def operator_bound(layer: ConvolutionOperator) -> tuple[float, str]:
    """An upper bound of the norm of an operator by its symbol alone, and how it was found."""
    kernel, scale = scaled_kernel(layer)
    bound = _norm_bound(layer, kernel)
    return bound.value / scale, bound.method


def _norm_bound(layer: ConvolutionOperator, kernel: Tensor) -> NormBound:
    with torch_threads(one=max(block_shape(layer.geometry)) < _LARGE_BLOCK):
        return norm_bound(layer.geometry, kernel, layer.size)


def _start(
    layer: ConvolutionOperator, kernel: Tensor, bound: NormBound, exact: LinearMap, count: int
) -> Float64[Tensor, "guess in"] | None:
    if not bound.turns:
        return None
    geometry = layer.geometry
    if not geometry.transposed:
        return leading_waves(geometry, kernel, layer.size, bound.turns, count)
    # what the map makes of a right vector is the left one, which the transposed map reads
    plain = replace(geometry, transposed=False, channels=geometry.channels[::-1], output_padding=())
    return exact.adjoint(leading_waves(plain, kernel, geometry.output_size(layer.size), bound.turns, count))


def symbol_factors(layer: ConvolutionSymbol, wish: Wish) -> Factors:
    """Every singular value; no vectors, which are waves that the frequencies name.

    Raises:
        ValueError: the kernel is complex or contains NaN or Inf, or the wish does not fit.
    """
    kernel, scale = scaled_kernel(layer)
    torus = tuple(n * s for n, s in zip(layer.coarse, layer.geometry.stride, strict=True))
    with torch_threads(one=True):
        values = torus_spectrum(layer.geometry, kernel, torus) / scale
    wish.count(values, layer.name)
    out, inn = layer.shape
    return Factors(
        layer=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        # diagonal blocks in the basis of waves, as many as frequencies for each group
        groups=layer.geometry.groups * prod(layer.coarse),
        U=values.new_zeros(out, 0),
        S=values.new_zeros(0),
        Vh=values.new_zeros(0, inn),
        spectrum=values,
        spectrum_error=lapack_error(values, prod(layer.geometry.kernel_shape)),
        frobenius_norm=layer.geometry.frobenius_norm(kernel, layer.size) / scale,
        residual=0.0,
        orthogonality_defect=0.0,
        remainder=None,
        method="fourier",
    )


def scaled_kernel(layer: ConvolutionMap) -> tuple[Float64[Tensor, "..."], float]:
    """The kernel in float64, times a power of two that keeps its squares in range, and that power.

    Raises:
        ValueError: it is complex, or contains NaN or Inf.
    """
    kernel = layer.kernel()
    scale = safe_scale(TensorPanels(kernel.flatten(1), layer.name), kernel.square().sum().item())
    return kernel * scale, scale


def _count(layer: ConvolutionOperator, wish: Wish, applications: int) -> int:
    full = min(layer.shape)
    affordable = max(1, applications // _PER_TRIPLE)
    if wish.rank is not None:
        return min(wish.count(torch.zeros(full), layer.name), _MOST_TRIPLES, affordable)
    wished = _TRIPLES if wish.rule or wish.vectors is None else wish.vectors
    return min(max(wished, 1), _TRIPLES, affordable)


def _residual(linear: LinearMap, triples: Triples) -> float:
    U, S, Vh = triples.U, triples.S, triples.Vh
    forward = linear.apply(Vh) - (U * S).T
    back = linear.adjoint(U.T.contiguous()) - S[:, None] * Vh
    return max(spectral_norm(forward), spectral_norm(back))
