"""Activation functions, as Keras defines them."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation

__all__ = ["FUNCTIONS", "activation"]


def _hard_sigmoid_2(x: Tensor) -> Tensor:
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


def _log_softmax(x: Tensor) -> Tensor:
    return functional.log_softmax(x, dim=-1)


def _softmax(x: Tensor) -> Tensor:
    return functional.softmax(x, dim=-1)


def _exponential(x: Tensor) -> Tensor:
    return torch.exp(x)


def _linear(x: Tensor) -> Tensor:
    return x


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": _linear,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "selu": functional.selu,
    "elu": functional.elu,
    "exponential": _exponential,
    "swish": functional.silu,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "mish": functional.mish,
    "hard_sigmoid_2": _hard_sigmoid_2,
    "hard_sigmoid_3": functional.hardsigmoid,
    "hard_swish": functional.hardswish,
    "hard_silu": functional.hardswish,
    "leaky_relu": partial(functional.leaky_relu, negative_slope=0.2),
    "tanh_shrink": functional.tanhshrink,
    "log_sigmoid": functional.logsigmoid,
    "celu": functional.celu,
}
"""By Keras's name; of ``hard_sigmoid``, with the version of Keras, and of ``gelu``, with how it is approximated."""


@operation("keras.activation")
def activation(x: Tensor, *, function: str) -> Tensor:
    """One of ``FUNCTIONS``."""
    return FUNCTIONS[function](x)


@operation("keras.relu")
def _relu(x: Tensor, *, slope: float, threshold: float, most: float | None) -> Tensor:
    above = x if most is None else torch.clamp(x, max=most)
    return torch.where(x >= threshold, above, slope * (x - threshold))


@operation("keras.elu")
def _elu(x: Tensor, *, alpha: float) -> Tensor:
    return functional.elu(x, alpha)


@operation("keras.thresholded_relu")
def _thresholded_relu(x: Tensor, *, theta: float) -> Tensor:
    return torch.where(x > theta, x, torch.zeros_like(x))


@operation("keras.softmax")
def _softmax_along(x: Tensor, mask: Tensor | None = None, *, axes: tuple[int, ...]) -> Tensor:
    if mask is not None:
        x = x.masked_fill(~mask.bool(), -torch.inf)
    return torch.exp(x - torch.logsumexp(x, dim=axes, keepdim=True))


@operation("keras.prelu")
def _prelu(x: Tensor, alpha: Tensor) -> Tensor:
    return functional.relu(x) - alpha * functional.relu(-x)
