"""Block-diagonal maps, block by block; the dense matrix is never made."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.panels import TensorPanels, safe_scale, to_float64
from lmd.linalg.singular.spectrum import Spectrum, lapack_error
from lmd.linalg.singular.thin_svd import batched_svd, batched_svdvals
from lmd.linalg.singular.triples import Defects, Triples, orthogonality_defect, signed_triples, spectral_norm

__all__ = ["BlockSvd", "block_svd", "block_values"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockSvd:
    """The SVD of every block of a map, and the order of their values in the whole.

    Attributes:
        spectrum: every value of the map, descending; equal ones in the order of the blocks.
        frobenius_norm: of the map.
        order: place of each value of ``spectrum`` in the blocks' values, flattened.
        blocks: ``(groups, out / groups, in / groups)``, times ``scale``, a power of two.
        U, S, Vh: of each block.
        scale: what the blocks were multiplied by.
    """

    spectrum: Spectrum
    frobenius_norm: float
    order: Int64[Tensor, " full"]
    blocks: Float64[Tensor, "groups o i"]
    U: Float64[Tensor, "groups o r"]
    S: Float64[Tensor, "groups r"]
    Vh: Float64[Tensor, "groups r i"]
    scale: float

    def triples(self, count: int) -> tuple[Triples, Defects]:
        """The ``count`` leading triples of the map times ``scale``, at the rows and columns of their blocks."""
        groups, o, i = self.blocks.shape
        chosen = self.order[:count]
        group, place = chosen // self.S.shape[1], chosen % self.S.shape[1]
        column = torch.arange(count)
        U, Vh = self.U.new_zeros(groups, o, count), self.U.new_zeros(count, groups, i)
        U[group, :, column] = self.U[group, :, place]
        Vh[column, group] = self.Vh[group, place]
        S = self.S.flatten()[chosen]
        triples = signed_triples(U.reshape(groups * o, count), S, Vh.reshape(count, groups * i))
        return triples, self._defects(triples)

    def _defects(self, triples: Triples) -> Defects:
        groups, o, i = self.blocks.shape
        U, S, V = triples.U, triples.S, triples.Vh.T
        count = S.numel()
        left = (self.blocks @ V.reshape(groups, i, count)).reshape(groups * o, count) - U * S
        right = (self.blocks.mT @ U.reshape(groups, o, count)).reshape(groups * i, count) - V * S
        residual = max(spectral_norm(left), spectral_norm(right))
        return Defects(residual, max(orthogonality_defect(U), orthogonality_defect(V)))


def block_values(layer: LayerMatrix) -> tuple[Spectrum, float]:
    """Every singular value of a block-diagonal map, and its Frobenius norm.

    Raises:
        ValueError: the map is empty, complex, or contains NaN or Inf.
    """
    blocks, scale = _float64_blocks(layer)
    spectrum, _ = _merged(batched_svdvals(blocks), blocks)
    return spectrum.scaled(1.0 / scale), torch.linalg.vector_norm(blocks).item() / scale


def block_svd(layer: LayerMatrix) -> BlockSvd:
    """The SVD of every block.

    Raises:
        ValueError: the map is empty, complex, or contains NaN or Inf.
    """
    blocks, scale = _float64_blocks(layer)
    U, S, Vh = batched_svd(blocks)
    spectrum, order = _merged(S, blocks)
    norm = torch.linalg.vector_norm(blocks).item() / scale
    return BlockSvd(spectrum.scaled(1.0 / scale), norm, order, blocks, U, S, Vh, scale)


def _merged(S: Float64[Tensor, "groups r"], blocks: Tensor) -> tuple[Spectrum, Int64[Tensor, " full"]]:
    values, order = S.flatten().sort(descending=True, stable=True)
    error = lapack_error(S, max(blocks.shape[1:])).flatten()[order]
    return Spectrum(values, error, "lapack"), order


def _float64_blocks(layer: LayerMatrix) -> tuple[Float64[Tensor, "groups o i"], float]:
    blocks = layer.blocks()
    flat = TensorPanels(blocks.reshape(blocks.shape[0], -1), layer.name)
    if blocks.numel() == 0:
        raise ValueError(
            f"layer {layer.name!r} of shape {layer.shape} is empty; it must have rows and columns; leave it out."
        )
    wide = to_float64(flat.tensor)
    scale = safe_scale(flat, wide.square().sum().item())
    return (wide * scale).reshape(blocks.shape), scale
