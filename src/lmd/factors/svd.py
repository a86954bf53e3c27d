"""A layer's map, or a plain matrix, to its Factors."""

from dataclasses import dataclass, replace
from functools import singledispatch
from math import sqrt

import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

from lmd.factors.blocks import block_svd
from lmd.factors.convolutions import dense_bound, fits_dense, operator_factors, symbol_factors
from lmd.factors.factors import Factors
from lmd.factors.kronecker import kronecker_factors
from lmd.factors.products import thin_product_factors
from lmd.factors.rank import Wish
from lmd.layers.convolutions.convolution_maps import ConvolutionOperator, ConvolutionSymbol
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.layers.updates.kronecker import KroneckerProduct
from lmd.linalg.panels import Operator, PanelMatrix, TensorPanels, safe_scale
from lmd.linalg.singular.randomised import randomised_triples, remainder_bound, remainder_from_spectrum
from lmd.linalg.singular.spectrum import Spectrum, lapack_error, scan
from lmd.linalg.singular.triples import Defects, Triples, all_triples, defects_of, leading_triples
from lmd.sources.loaders import Held

__all__ = ["factors_of", "randomised_factors"]

_RANDOMISED_BEYOND = 16384
_SEED = 0


def factors_of(
    layer: LayerMatrix | Shaped[Tensor, "out in"],
    *,
    vectors: int | None = 32,
    rank: int | None = None,
    energy: float | None = None,
    error: float | None = None,
    generator: Generator | None = None,
) -> Factors:
    """Every singular value, and the leading singular triples.

    Values come from a float64 Gram matrix, or from LAPACK where that is not accurate enough or half of the vectors or
    more are wanted. Vectors beyond 16384 rows and columns are randomised, with ``remainder`` for a bound, unless half
    of them or more are wanted. Block-diagonal maps are decomposed block by block.

    Args:
        layer: a layer's matrix, or a plain one (whose name is '').
        vectors: how many triples; None keeps all; a number beyond the full rank does too. Ignored when a rule is given.
        rank: keep exactly this many triples.
        energy: keep the fewest that hold this share, in (0, 1], of the squared Frobenius norm.
        error: keep the fewest whose relative Frobenius error is at most this, in [0, 1).
        generator: randomness for matrices beyond 16384; a fixed seed when left out.

    Raises:
        TypeError: neither a tensor nor a layer's matrix.
        ValueError: several rules, a number out of its range, or a matrix that is empty, complex, or not finite.

    >>> factors_of(torch.eye(3), rank=2).errors(2).frobenius
    1.0
    """
    _refuse_other(layer)
    wish = Wish.of(vectors, rank=rank, energy=energy, error=error)
    return _by_structure(layer, wish, generator)


@singledispatch
def _by_structure(layer: LayerMatrix | Tensor, wish: Wish, generator: Generator | None) -> Factors:
    """The way that fits the form of the map: a map of a new form registers its own."""
    if isinstance(layer, LayerMatrix) and layer.groups > 1:
        return _from_blocks(layer, wish)
    matrix = TensorPanels(layer) if isinstance(layer, Tensor) else layer
    _refuse_empty(matrix)
    full = min(matrix.shape)
    # half of the vectors cost as much by themselves as the whole SVD, which brings the values too
    if wish.rule is None or wish.rank is not None:
        count = wish.count(torch.zeros(full, dtype=torch.float64), matrix.name)
        if count > 0 and 2 * count >= full:
            return _from_whole(layer, matrix, count)
    return _from_scan(layer, matrix, wish, generator)


def randomised_factors(
    layer: LayerMatrix | Shaped[Tensor, "out in"], rank: int, generator: Generator | None = None
) -> Factors:
    """The leading triples alone, by randomised SVD; ``spectrum`` stays None and ``errors`` are upper bounds.

    Memory is ``(out + in) * (rank + 10)`` doubles and a panel. A block-diagonal map is taken through its dense panels.

    Args:
        layer: a layer's matrix, or a plain one.
        rank: triples to find, between 1 and the full rank.
        generator: the only randomness; a fixed seed when left out.

    Raises:
        ValueError: ``rank`` is out of its range, or the matrix is empty, complex, or contains NaN or Inf.

    >>> factors = randomised_factors(torch.diag(torch.tensor([4.0, 2.0, 1.0])), 1)
    >>> round(factors.S.item(), 12), 2.0 <= factors.errors(1).spectral < 2.3
    (4.0, True)
    """
    _refuse_other(layer)
    matrix = TensorPanels(layer) if isinstance(layer, Tensor) else layer
    _refuse_empty(matrix)
    count = Wish.of(None, rank=rank).count(torch.zeros(min(matrix.shape), dtype=torch.float64), matrix.name)
    operator, squares = _in_range(matrix)
    generator = generator or Generator().manual_seed(_SEED)
    triples = randomised_triples(operator, count, generator)
    remainder = remainder_bound(operator, triples.U, triples.S.square().sum().item(), squares, generator)
    found = _Found(operator.scale, sqrt(squares), triples, defects_of(operator, triples), remainder)
    return _assembled(layer, found, None, "randomised")


@_by_structure.register
def _from_thin_product(layer: ThinProduct, wish: Wish, generator: Generator | None) -> Factors:
    return thin_product_factors(layer, wish)


@_by_structure.register
def _from_kronecker_product(layer: KroneckerProduct, wish: Wish, generator: Generator | None) -> Factors:
    return kronecker_factors(layer, wish)


@_by_structure.register
def _from_operator(layer: ConvolutionOperator, wish: Wish, generator: Generator | None) -> Factors:
    if fits_dense(layer):
        dense = LayerMatrix(layer.name, layer.kind, layer.shape, Held(layer.name, layer.load()))
        factors = _by_structure(dense, wish, generator)
        bound, method = dense_bound(layer, factors)
        return replace(factors, norm_bound=bound, norm_method=method)
    return operator_factors(layer, wish, generator or Generator().manual_seed(_SEED))


@_by_structure.register
def _from_symbol(layer: ConvolutionSymbol, wish: Wish, generator: Generator | None) -> Factors:
    return symbol_factors(layer, wish)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What was found of the matrix times ``scale``."""

    scale: float
    frobenius_norm: float
    triples: Triples
    defects: Defects
    remainder: float | None = None


def _assembled(
    layer: LayerMatrix | Tensor, found: _Found, spectrum: Spectrum | None, method: str | None = None
) -> Factors:
    """Factors in the unit of the matrix itself; ``spectrum`` is in that unit already."""
    name, kind, groups = ("", "dense", 1) if isinstance(layer, Tensor) else (layer.name, layer.kind, layer.groups)
    return Factors(
        layer=name,
        kind=kind,
        shape=(layer.shape[0], layer.shape[1]),
        groups=groups,
        U=found.triples.U,
        S=found.triples.S / found.scale,
        Vh=found.triples.Vh,
        spectrum=None if spectrum is None else spectrum.values,
        spectrum_error=None if spectrum is None else spectrum.error,
        frobenius_norm=found.frobenius_norm / found.scale,
        residual=found.defects.residual / found.scale,
        orthogonality_defect=found.defects.orthogonality,
        remainder=None if found.remainder is None else found.remainder / found.scale,
        method=method or (spectrum.method if spectrum is not None else ""),
    )


def _from_blocks(layer: LayerMatrix, wish: Wish) -> Factors:
    blocks = block_svd(layer)
    triples, defects = blocks.triples(wish.count(blocks.spectrum.values, layer.name))
    found = _Found(blocks.scale, blocks.frobenius_norm * blocks.scale, triples, defects)
    return _assembled(layer, found, blocks.spectrum, "blocks")


def _from_whole(layer: LayerMatrix | Tensor, matrix: PanelMatrix, count: int) -> Factors:
    operator, squares = _in_range(matrix)
    everything = all_triples(operator)
    spectrum = Spectrum(everything.S, lapack_error(everything.S, max(matrix.shape)), "lapack")
    triples = everything.leading(count)
    found = _Found(operator.scale, sqrt(squares), triples, defects_of(operator, triples))
    return _assembled(layer, found, spectrum.scaled(1.0 / operator.scale))


def _from_scan(layer: LayerMatrix | Tensor, matrix: PanelMatrix, wish: Wish, generator: Generator | None) -> Factors:
    scanned = scan(matrix, vectors=wish.rule is not None or wish.vectors != 0)
    count = wish.count(scanned.spectrum.values, matrix.name)
    operator = scanned.operator
    remainder = None
    if count == 0:
        triples, defects = _no_triples(matrix.shape), Defects(0.0, 0.0)
    elif 2 * count >= min(matrix.shape):
        return _from_whole(layer, matrix, count)
    elif min(matrix.shape) > _RANDOMISED_BEYOND:
        triples = randomised_triples(operator, count, generator or Generator().manual_seed(_SEED))
        defects = defects_of(operator, triples)
        scaled = scanned.spectrum.scaled(operator.scale)
        remainder = remainder_from_spectrum(scaled.values, scaled.error, triples.S)
    else:
        assert scanned.reduced is not None
        exact = leading_triples(operator, scanned.reduced, count)
        if exact is None:
            return _from_whole(layer, matrix, count)
        triples, defects = exact
    found = _Found(operator.scale, scanned.frobenius_norm * operator.scale, triples, defects, remainder)
    return _assembled(layer, found, scanned.spectrum)


def _no_triples(shape: tuple[int, int]) -> Triples:
    out, inn = shape
    return Triples(*(torch.zeros(size, dtype=torch.float64) for size in ((out, 0), (0,), (0, inn))))


def _in_range(matrix: PanelMatrix) -> tuple[Operator, float]:
    """The matrix, scaled if need be, and the sum of its squared entries."""
    squares = Operator(matrix).squares()
    scale = safe_scale(matrix, squares)
    operator = Operator(matrix, scale)
    return operator, squares if scale == 1.0 else operator.squares()


def _refuse_other(layer: object) -> None:
    if isinstance(layer, LayerMatrix):
        return
    if not isinstance(layer, Tensor):
        raise TypeError(f"the matrix is of type {type(layer).__name__}; give a torch.Tensor or a LayerMatrix.")
    if layer.ndim != 2 or layer.layout != torch.strided or layer.is_meta:
        place = " on the meta device" if layer.is_meta else ""
        raise ValueError(
            f"the matrix has shape {tuple(layer.shape)} and layout {layer.layout}{place}; "
            f"give a dense tensor with two axes and numbers in it."
        )


def _refuse_empty(matrix: PanelMatrix) -> None:
    if 0 in matrix.shape:
        owner = f"layer {matrix.name!r}" if matrix.name else "the matrix"
        raise ValueError(f"{owner} has shape {matrix.shape}; it must have rows and columns; leave it out.")
