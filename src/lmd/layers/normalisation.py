"""Normalisation layers as diagonal maps: the gain of each channel."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join, register
from lmd.sources.loaders import Combined
from lmd.sources.network import Network

__all__ = ["batch_normalisation", "layer_normalisation"]


_OF_TORCH = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def _evaluation_gain(weight: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    return weight.double() / torch.sqrt(variance.double() + eps)


@register
def batch_normalisation(module: _NormBase, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``diag(weight / sqrt(running_var + eps))``, the map of evaluation mode; ``diag(weight)`` without statistics."""
    if not module.affine:
        return
    weight = network.loader(join(path, "weight"))
    width = module.num_features
    name, shape = path or "weight", (width, width)
    variance = network.loaders.get(join(path, "running_var"))
    if variance is None:
        yield LayerMatrix(name, "diagonal", shape, weight, groups=width, note="gain after normalising each batch")
        return
    gain = Combined(partial(_evaluation_gain, eps=module.eps), (weight, variance), (width,))
    note = f"weight / sqrt(running_var + {module.eps:g}): evaluation mode"
    yield LayerMatrix(name, "diagonal", shape, gain, groups=width, note=note)


def _normalises(module: nn.Module) -> bool:
    # every library has its own RMSNorm: one vector that scales, in a class named after what it does
    if isinstance(module, _OF_TORCH):
        return True
    own = dict(module.named_parameters(recurse=False))
    word = type(module).__name__.lower()
    named = (word.endswith("norm") or "rmsnorm" in word) and not isinstance(module, _NormBase)
    return named and set(own) <= {"weight", "bias"} and getattr(own.get("weight"), "ndim", 0) >= 1


@claims(_normalises)
def layer_normalisation(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``diag(weight)``, in some libraries ``diag(1 + weight)``: the gain after each example was normalised."""
    loader = network.loaders.get(join(path, "weight"))
    if loader is None:
        return
    width = 1
    for n in loader.shape:
        width *= n
    note = "gain after normalising each example"
    if not isinstance(module, _OF_TORCH) and _adds_one(module):
        loader, note = Combined(_one_more, (loader,), loader.shape), f"1 + weight, the {note}"
    yield LayerMatrix(path or "weight", "diagonal", (width, width), loader, groups=width, note=note)


def _one_more(weight: Tensor) -> Tensor:
    return weight.double() + 1.0


def _adds_one(module: nn.Module) -> bool:
    """Whether the gain is ``1 + weight``: a copy then passes half as much on with a weight of zero as with one."""
    try:
        copy = deepcopy(module).to_empty(device="cpu").float().eval()
        # the user's hooks came along and are not to be called
        copy._forward_hooks.clear()
        copy._forward_pre_hooks.clear()
        with torch.no_grad():
            x = torch.linspace(-1.0, 2.0, copy.get_parameter("weight").numel()).expand(2, -1)
            answers = [_with_weight(copy, value)(x) for value in (0.0, 1.0)]
        return bool(answers[0].any()) and torch.allclose(answers[1], 2 * answers[0], rtol=1e-4)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        # a norm that needs more than its input cannot be asked
        return False


def _with_weight(module: nn.Module, value: float) -> nn.Module:
    for name, parameter in module.named_parameters():
        parameter.fill_(value if name == "weight" else 0.0)
    return module
