"""What a convolution does to waves."""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.factors.convolutions import scaled_kernel
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import spectrum_of
from lmd.findings.quantity import Measured, array, quantity
from lmd.layers.convolutions.convolution_maps import ConvolutionSymbol
from lmd.linalg.convolutions.convolution_bound import random_kernel_norm
from lmd.linalg.convolutions.symbol import block_extremes, block_shape, power_spectrum
from lmd.linalg.threads import torch_threads

__all__ = ["Symbol", "symbol"]

_ROUNDING = 1e-13
_LARGE = 256
"""Channels from which several threads are worth their while."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Symbol(Finding):
    """The singular values of a convolution over the frequencies of a torus."""

    symbol_peak: Measured = quantity(
        "max_f σ₁(B(f))",
        unit="output/input",
        meaning="Largest stretching of any wave",
        source="Sedghi, Gupta & Long 2019",
    )
    symbol_peak_frequency: Measured = quantity(
        "|f*|/f_N",
        unit="Nyquist",
        meaning="Frequency of the most stretched wave, along the axis where it is highest: 0 constant, 1 alternating",
        source="Sedghi, Gupta & Long 2019",
    )
    low_pass_share: Measured = quantity(
        "Σ_{|f|<f_N/2}‖B(f)‖²/Σ‖B(f)‖²",
        unit="1",
        meaning="Share of the squared norm at frequencies below half of the highest, along every axis",
        source="Oppenheim & Schafer 2010, 7",
    )
    extremes: Float64[Tensor, "..."] = array(
        meaning="largest and smallest singular value at each frequency, the constant wave in the middle",
        shape="(2, *frequencies)",
    )


@analysis
def symbol(layer: ConvolutionSymbol, factors: Factors) -> Symbol:
    """The symbol of a convolution: which waves it stretches, and how much.

    Baselines: a Gaussian kernel of the same Frobenius norm, whose symbol is flat: the end of its spectrum, the mean
    over all frequencies, and the share of frequencies that count as low.
    """
    kernel, scale = scaled_kernel(layer)
    coarse, values = layer.coarse, spectrum_of(factors)
    axes = [torch.arange(n) - n // 2 for n in coarse]
    frequencies = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    with torch_threads(one=max(block_shape(layer.geometry)) < _LARGE):
        extremes = _extremes(layer, kernel, frequencies) / scale
    heights = (2 * frequencies.abs() / torch.tensor(coarse)).amax(dim=1)
    # of equally high ones, such as opposite frequencies, the lowest
    highest = heights[extremes[:, 0] >= (1 - _ROUNDING) * extremes[:, 0].max()].min().item()
    random = random_kernel_norm(layer.geometry, kernel.norm().item()) / scale
    return Symbol(
        layer=factors.layer,
        symbol_peak=Measured(values[0][0].item(), random, values[1][0].item(), "lower", "of the frequencies looked at"),
        symbol_peak_frequency=_frequency(highest, heights, coarse, zero=values[0][0].item() == 0),
        low_pass_share=_low_pass(layer, kernel),
        extremes=extremes.T.reshape(2, *coarse),
    )


def _extremes(layer: ConvolutionSymbol, kernel: Tensor, frequencies: Tensor) -> Float64[Tensor, "frequency 2"]:
    """At every frequency; those of opposite ones are the same."""
    size = torch.tensor(layer.coarse)
    opposite = torch.minimum(_place(frequencies, size), _place(-frequencies, size))
    chosen, where = opposite.unique(return_inverse=True)
    picked = torch.stack(torch.unravel_index(chosen, tuple(layer.coarse)), dim=-1)
    return block_extremes(layer.geometry, kernel, picked, layer.coarse)[where]


def _place(frequencies: Tensor, size: Tensor) -> Tensor:
    place = torch.zeros(len(frequencies), dtype=torch.int64)
    for axis in range(len(size)):
        place = place * size[axis] + frequencies[:, axis].remainder(size[axis])
    return place


def _frequency(highest: float, heights: Tensor, coarse: tuple[int, ...], *, zero: bool) -> Measured:
    mean = heights.mean().item()
    if zero:
        return Measured(None, mean, reason="undefined for the zero map")
    return Measured(highest, mean, 1.0 / min(coarse), "estimate")


def _low_pass(layer: ConvolutionSymbol, kernel: Tensor) -> Measured:
    torus = tuple(n * s for n, s in zip(layer.coarse, layer.geometry.stride, strict=True))
    frequencies, power = power_spectrum(layer.geometry, kernel, torus)
    low = (4 * frequencies.abs() < torch.tensor(torus)).all(dim=1)
    flat, total = low.double().mean().item(), power.sum().item()
    if total == 0:
        return Measured(None, flat, reason="undefined for the zero map")
    return Measured(power[low].sum().item() / total, flat, _ROUNDING * prod(layer.geometry.kernel_size))
