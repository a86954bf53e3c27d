"""Every singular value of a layer's map, without vectors."""

from lmd.factors.blocks import block_values
from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.singular.spectrum import Spectrum, scan

__all__ = ["values_of"]


def values_of(layer: LayerMatrix) -> tuple[Spectrum, float]:
    """Every singular value with its error estimate, and the Frobenius norm from the entries.

    A dense map is scanned panel by panel (``lmd.linalg.singular.spectrum.scan``); a block-diagonal one block by block.

    Raises:
        ValueError: the map is empty, complex, or contains NaN or Inf.
    """
    if layer.groups > 1:
        return block_values(layer)
    result = scan(layer, vectors=False)
    return result.spectrum, result.frobenius_norm
