"""How much a layer stretches what really comes into it, and whether that lies where the layer looks."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from lmd.activations.observing.moments import Moments
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import leading_value
from lmd.findings.quantity import Measured, quantity
from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["AlongData", "along_data"]

_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlongData(Finding):
    """Gain along the data, and the energy of the data in the layer's leading directions."""

    data_gain: Measured = quantity(
        "√(E‖Wx‖²/E‖x‖²)",
        unit="output/input",
        meaning="How much the layer stretches the inputs it gets, in the root mean square",
        source="Friedland & Torokhti 2007",
    )
    data_gain_share: Measured = quantity(
        "√(E‖Wx‖²/E‖x‖²)/σ_1",
        unit="1",
        meaning="Gain along the data as a share of the largest gain of any input",
        source="Friedland & Torokhti 2007",
    )
    leading_directions: Measured = quantity(
        "k_90",
        unit="1",
        meaning="Leading right singular directions that hold 90 % of ‖W‖_F², or all that are kept if fewer",
        source="Jolliffe 2002, 6.1",
    )
    leading_energy: Measured = quantity(
        "tr(V_kᵀ C V_k)/tr C, C = E[x xᵀ]",
        unit="1",
        meaning="Share of the energy of the layer's inputs inside those directions",
        source="Jolliffe 2002, 6.1; Friedland & Torokhti 2007",
    )


@analysis
def along_data(factors: Factors, layer: LayerMatrix, moments: Moments) -> AlongData:
    """Gain along the data against a random direction; energy in the leading directions against a random subspace.

    Raises:
        InapplicableError: the inputs are all zero, or are not those of the map.
    """
    width = factors.shape[1]
    if moments.input_mean.numel() != width:
        raise InapplicableError("what was seen are not the inputs of this map")
    energy = _trace(moments.input_second)
    if energy == 0:
        raise InapplicableError("the layer's inputs are zero on all examples")
    W = layer.load().to(torch.float64)
    gain = sqrt(_energy_along(W, moments.input_second) / energy)
    chance = factors.frobenius_norm / sqrt(width)
    rounding = 4 * width * torch.finfo(torch.float64).eps
    head = _honest(moments, gain, chance, rounding * max(gain, chance))
    return AlongData(
        layer=factors.layer,
        data_gain=head,
        data_gain_share=_share(factors, moments, gain, chance),
        **_leading(factors, moments, energy),
    )


def _share(factors: Factors, moments: Moments, gain: float, chance: float) -> Measured:
    largest = leading_value(factors) if factors.rank else 0.0
    if largest == 0:
        return Measured(None, reason="no largest gain: no singular vectors were kept, or the matrix is zero")
    error = 4 * factors.shape[1] * torch.finfo(torch.float64).eps + factors.residual / largest
    return _honest(moments, gain / largest, chance / largest, error)


def _leading(factors: Factors, moments: Moments, energy: float) -> dict[str, Measured]:
    if not factors.rank or not factors.frobenius_norm:
        absent = Measured(None, reason="no singular vectors were kept")
        return {"leading_directions": absent, "leading_energy": absent}
    held = factors.S.square().cumsum(dim=0) / factors.frobenius_norm**2
    k = min(int((held < _SHARE).sum()) + 1, factors.rank)
    share = _energy_along(factors.Vh[:k], moments.input_second) / energy
    error = 4 * factors.shape[1] * torch.finfo(torch.float64).eps + 2 * factors.orthogonality_defect
    why = "that share of directions holds that share of the norm by definition"
    return {
        "leading_directions": Measured(k, error=0.0, reason=why),
        "leading_energy": _honest(moments, min(share, 1.0), k / factors.shape[1], error),
    }


def _honest(moments: Moments, value: float, baseline: float, error: float) -> Measured:
    if moments.exact:
        return Measured(value, baseline, error)
    drawn = f"{moments.vectors:,} of {moments.seen:,} positions, drawn at random"
    return Measured(value, baseline, None, "estimate", drawn)


def _energy_along(rows: Tensor, second: Tensor) -> float:
    """``tr(R C R^T)``."""
    if second.ndim == 1:
        return ((rows * rows) @ second).sum().item()
    return ((rows @ second) * rows).sum().clamp_min(0.0).item()


def _trace(second: Tensor) -> float:
    return (second if second.ndim == 1 else second.diagonal()).sum().item()
