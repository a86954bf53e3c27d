"""The derivative of the whole network at single examples."""

from dataclasses import dataclass

import torch

from lmd.activations.observing.whole import WholeNetwork
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, quantity

__all__ = ["DataJacobian", "data_jacobian"]

_NO_PRODUCT = "no product of norms: not every layer's norm is known"
_BESIDE = (
    "the product of the layers' norms bounds a chain of layers with slopes of at most 1 between them; normalisations "
    "and sums of branches are not in it"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataJacobian(Finding):
    """Singular values of the Jacobian of the outputs by the inputs, over examples."""

    jacobian_norm: Measured = quantity(
        "median_x σ_1(J(x))",
        unit="output/input",
        meaning="The most that a small change of an example grows, in the median over examples",
        source="Pennington, Schoenholz & Ganguli 2017; Novak et al. 2018",
    )
    jacobian_largest: Measured = quantity(
        "max_x σ_1(J(x))",
        unit="output/input",
        meaning="The same at the worst of these examples: the Lipschitz constant is at least this",
        source="Novak et al. 2018",
    )
    jacobian_spread: Measured = quantity(
        "max_x σ_1(J(x))/min_x σ_1(J(x))",
        unit="1",
        meaning="How much it differs from example to example: 1 of a linear network",
        source="Novak et al. 2018",
    )
    jacobian_values: Measured = quantity(
        "median_x σ_i(J(x))",
        unit="output/input",
        meaning="Every singular value, in the median over examples",
        source="Pennington, Schoenholz & Ganguli 2017",
    )


@analysis
def data_jacobian(whole: WholeNetwork) -> DataJacobian:
    """Exact derivatives at a sample of the examples, beside the product of the layers' norms."""
    found = whole.jacobians
    if found is None:
        raise InapplicableError(whole.reasons.get("jacobians", "no derivatives were taken"))
    first = found.values[:, 0]
    why = _NO_PRODUCT if found.product is None else _BESIDE
    # derivatives are as exact as the network's own arithmetic
    error = first.max().item() * 1e-5
    median = Measured(first.median().item(), found.product, error, "estimate", why)
    largest = Measured(first.max().item(), found.product, error, "lower", why)
    spread = Measured(None, 1.0, reason="the derivative vanishes at an example")
    if first.min() > 0:
        spread = Measured((first.max() / first.min()).item(), 1.0, None, "lower")
    curve = tuple(torch.median(found.values, dim=0).values.tolist())
    values = Measured(curve, None, error, "estimate", "the largest one has the baseline of jacobian_norm")
    return DataJacobian(
        layer="", jacobian_norm=median, jacobian_largest=largest, jacobian_spread=spread, jacobian_values=values
    )
