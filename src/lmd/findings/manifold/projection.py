"""Where the data lie on a layer's leading directions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.activations.activations import Activations
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, NotApplicable, analysis
from lmd.findings.quantity import Measured, array, quantity

__all__ = ["Projection", "projection"]

_DIRECTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection(Finding):
    """The inputs of a layer in the coordinates of its leading right singular vectors."""

    projection_energy: Measured = quantity(
        "tr(V_kᵀ C V_k)/tr C, k = 3",
        unit="1",
        meaning="Share of the variance of the layer's inputs along its 3 leading right singular vectors",
        source="Jolliffe 2002, 6.1",
    )
    coordinates: Float64[Tensor, "n k"] = array(meaning="inputs on the leading right singular vectors", shape="(n, 3)")
    labels: Tensor = array(meaning="class of each input, -1 where none was given", shape="(n,)")


@analysis
def projection(factors: Factors, activations: Activations) -> Projection | NotApplicable:
    """Centre-free coordinates of the inputs, and the share of their variance that the leading directions see.

    The baseline is ``k / in``, what k random directions see on average. Measured on the examples given.
    """
    k = min(_DIRECTIONS, factors.rank)
    inputs = activations.inputs.double()
    if k == 0 or inputs.shape[1] != factors.shape[1]:
        reason = "no singular vectors were kept" if k == 0 else "the layer's inputs are not one vector for each example"
        return NotApplicable(layer=factors.layer, analysis="projection", reason=reason)
    V = factors.Vh[:k].T
    centred = inputs - inputs.mean(dim=0)
    total = centred.square().sum().item()
    baseline = k / factors.shape[1]
    if total == 0:
        energy = Measured(None, baseline, reason="the layer's inputs do not vary")
    else:
        share = (centred @ V).square().sum().item() / total
        rounding = inputs.numel() * torch.finfo(torch.float64).eps
        energy = Measured(share, baseline, rounding + 2 * factors.orthogonality_defect)
    labels = activations.labels if activations.labels is not None else torch.full((len(inputs),), -1)
    return Projection(layer=factors.layer, projection_energy=energy, coordinates=inputs @ V, labels=labels)
