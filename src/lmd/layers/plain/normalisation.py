"""Normalisation layers as diagonal maps: the gain of each channel."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from lmd.layers.gain import adds_one
from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.registry import claims, join, register
from lmd.sources.loaders import Combined
from lmd.sources.network import Network

__all__ = ["batch_normalisation", "layer_normalisation"]


_OF_TORCH = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def _spread_gain(variance: Tensor, *, eps: float) -> Tensor:
    return 1.0 / torch.sqrt(variance.double() + eps)


def _evaluation_gain(weight: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    return weight.double() / torch.sqrt(variance.double() + eps)


@register
def batch_normalisation(module: _NormBase, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``diag(weight / sqrt(running_var + eps))``, the map of evaluation mode; ``diag(weight)`` without statistics."""
    width = module.num_features
    name, shape = path or "weight", (width, width)
    variance = network.loaders.get(join(path, "running_var"))
    if not module.affine:
        if variance is not None:
            spread = Combined(partial(_spread_gain, eps=module.eps), (variance,), (width,))
            note = f"1 / sqrt(running_var + {module.eps:g}): evaluation mode, without a trained gain"
            yield LayerMatrix(name, "diagonal", shape, spread, groups=width, note=note)
        return
    weight = network.loader(join(path, "weight"))
    if variance is None:
        note = f"gain after normalising each {'example' if isinstance(module, _InstanceNorm) else 'batch'}"
        yield LayerMatrix(name, "diagonal", shape, weight, groups=width, note=note)
        return
    gain = Combined(partial(_evaluation_gain, eps=module.eps), (weight, variance), (width,))
    note = f"weight / sqrt(running_var + {module.eps:g}): evaluation mode"
    yield LayerMatrix(name, "diagonal", shape, gain, groups=width, note=note)


def _normalises(module: nn.Module) -> bool:
    """LayerNorm, GroupNorm, RMSNorm, and modules of one vector whose class is named a norm."""
    # every library has its own RMSNorm: one vector that scales, in a class named after what it does
    if isinstance(module, _OF_TORCH):
        return True
    own = dict(module.named_parameters(recurse=False))
    word = type(module).__name__.lower()
    named = (word.endswith(("norm", "norm1p")) or "rmsnorm" in word) and not isinstance(module, _NormBase)
    return named and set(own) <= {"weight", "bias"} and getattr(own.get("weight"), "ndim", 0) >= 1


def _one_more(weight: Tensor) -> Tensor:
    return weight.double() + 1.0


@claims(_normalises)
def layer_normalisation(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``diag(weight)``, in some libraries ``diag(1 + weight)``: the gain after each example was normalised."""
    loader = network.loaders.get(join(path, "weight"))
    if loader is None:
        return
    width = 1
    for n in loader.shape:
        width *= n
    reading = network.readings.get(path)
    note = "gain after normalising each example"
    if reading is not None and reading.confidence == "guess" and "normalisation" not in reading.reason:
        note = "one number for each channel"
    form = as_stored
    if adds_one(module):
        note, form = f"{note}: 1 + weight", _one_more
    yield LayerMatrix(path or "weight", "diagonal", (width, width), loader, form, groups=width, note=note)
