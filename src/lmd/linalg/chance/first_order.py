"""How errors of singular values pass through a function, to first order."""

from collections.abc import Callable
from math import isfinite

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["first_order_error", "value_and_error"]


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
    return value_and_error(function, values, error)[1]


def value_and_error(
    function: Callable[[Float64[Tensor, " rank"]], Float64[Tensor, ""]],
    values: Float64[Tensor, " rank"],
    error: Float64[Tensor, " rank"],
) -> tuple[float, float]:
    """The value of ``function`` and its ``first_order_error``, from one evaluation.

    >>> value_and_error(torch.sum, torch.ones(3, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64))
    (3.0, 1.5)
    """
    # the caller may have switched gradients off, which must not switch errors off
    with torch.inference_mode(mode=False), torch.enable_grad():
        at = values.detach().clone().requires_grad_()
        result = function(at)
        slope = torch.autograd.grad(result, at, allow_unused=True)[0] if result.requires_grad else None
    if slope is None:
        return result.item(), 0.0
    passed = slope.abs() * error
    total = passed.sum().item()
    if not isfinite(total):
        # an infinite slope does not matter where there is no error
        total = torch.nan_to_num(passed.where(error != 0, 0.0).sum(), nan=torch.inf, posinf=torch.inf).item()
    return result.item(), total
