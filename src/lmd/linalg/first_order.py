"""How errors of singular values pass through a function, to first order."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["first_order_error"]


def first_order_error(
    function: Callable[[Float64[Tensor, " rank"]], Float64[Tensor, ""]],
    values: Float64[Tensor, " rank"],
    error: Float64[Tensor, " rank"],
) -> float:
    """``sum_i |df/dvalue_i| error_i``, the largest change of ``f`` for errors of any signs, to first order.

    Args:
        function: differentiable, to a 0-d tensor.
        values: where.
        error: absolute error of each value.

    Returns:
        Infinity where ``f`` has no finite derivative in a value that has an error.

    >>> first_order_error(torch.sum, torch.ones(3, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64))
    1.5
    """
    at = values.detach().clone().requires_grad_()
    result = function(at)
    if not result.requires_grad:
        return 0.0
    (slope,) = torch.autograd.grad(result, at, allow_unused=True)
    if slope is None:
        return 0.0
    passed = torch.where(error == 0, 0.0, slope.abs() * error)
    return torch.nan_to_num(passed.sum(), nan=torch.inf, posinf=torch.inf).item()
