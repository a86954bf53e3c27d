"""Which waves each direction of a kernel lets pass."""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lmd.factors.convolutions import scaled_kernel
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.convolutions.convolution_maps import ConvolutionSymbol
from lmd.linalg.convolutions.bands import WORDS, band_shares, band_word

__all__ = ["PassBands", "pass_bands"]

_DIRECTIONS = 16
_SOURCE = "Oppenheim & Schafer 2010, 7"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PassBands(Finding):
    """Low-, band- or high-pass, direction by direction."""

    low_band: Measured = quantity(
        "E(f < f_N/3)",
        unit="1",
        meaning="Of each leading direction of the kernel, the share of its energy in the lowest third of frequencies",
        source=_SOURCE,
    )
    middle_band: Measured = quantity(
        "E(f_N/3 ≤ f ≤ 2f_N/3)",
        unit="1",
        meaning="Of each leading direction of the kernel, the share of its energy in the middle third of frequencies",
        source=_SOURCE,
    )
    high_band: Measured = quantity(
        "E(f > 2f_N/3)",
        unit="1",
        meaning="Of each leading direction of the kernel, the share of its energy in the highest third of frequencies",
        source=_SOURCE,
    )
    low_pass_directions: Measured = quantity(
        "#low",
        unit="directions",
        meaning="Leading directions with half as much again as a flat one in the lowest third, and most there",
        source=_SOURCE,
    )
    band_pass_directions: Measured = quantity(
        "#band",
        unit="directions",
        meaning="Leading directions with half as much again as a flat one in the middle third, and most there",
        source=_SOURCE,
    )
    high_pass_directions: Measured = quantity(
        "#high",
        unit="directions",
        meaning="Leading directions with half as much again as a flat one in the highest third, and most there",
        source=_SOURCE,
    )
    passes: Int64[Tensor, " rank"] = array(
        meaning="of each leading direction: 0 flat, 1 low-pass, 2 band-pass, 3 high-pass", shape="(rank,)"
    )
    kernel_values: Float64[Tensor, " rank"] = array(
        meaning="singular values of the kernel matrix, whose directions these are", shape="(rank,)"
    )


@analysis
def pass_bands(layer: ConvolutionSymbol) -> PassBands:
    """Shares of energy in three bands of frequency for the leading singular directions of the kernel matrix.

    The baseline is a flat spectrum, which a direction of independent weights has on average.
    """
    geometry = layer.geometry
    if prod(geometry.kernel_size) == 1:
        raise InapplicableError("a kernel of one tap lets every wave pass alike")
    kernel, scale = scaled_kernel(layer)
    if not bool(kernel.any()):
        raise InapplicableError("undefined for the zero kernel")
    rows = kernel.transpose(0, 1) if geometry.transposed else kernel
    _, S, Vh = torch.linalg.svd(rows.flatten(1), full_matrices=False)
    kept = Vh[: min(_DIRECTIONS, int((S[0] * 1e-12 < S).sum()))].reshape(-1, *rows.shape[1:])
    torus = tuple(n * s for n, s in zip(layer.coarse, geometry.stride, strict=True))
    shares, flat = band_shares(geometry, kept, torus)
    words = [band_word(one, flat) for one in shares.tolist()]
    curves = [
        Measured(tuple(column), (base,) * len(column), None, "estimate")
        for column, base in zip(shares.T.tolist(), flat, strict=True)
    ]
    counts = [Measured(words.count(word), 0, None, "estimate") for word in ("low-pass", "band-pass", "high-pass")]
    return PassBands(
        layer=layer.name,
        low_band=curves[0],
        middle_band=curves[1],
        high_band=curves[2],
        low_pass_directions=counts[0],
        band_pass_directions=counts[1],
        high_pass_directions=counts[2],
        passes=torch.tensor([WORDS.index(word) for word in words]),
        kernel_values=S[: len(words)] / scale,
    )
