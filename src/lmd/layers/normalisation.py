"""Normalisation layers as diagonal maps: the gain of each channel."""

import re
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.registry import claims, join, register
from lmd.sources.loaders import Combined
from lmd.sources.network import Network

__all__ = ["batch_normalisation", "layer_normalisation"]


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


_ONE_LESS = re.compile(r"^(|Vault|Recurrent|T5)Gemma2?RMSNorm$|^Gemma3RMSNorm$|^Qwen3(Next|_5|_5Moe)RMSNorm$|1P$")
"""Classes of transformers whose gain is ``1 + weight``; nothing but the name tells."""


def _stores_one_less(module: nn.Module) -> bool:
    return _ONE_LESS.search(type(module).__name__) is not None


def _normalises(module: nn.Module) -> bool:
    """LayerNorm, GroupNorm, RMSNorm, and modules of one vector whose class is named a norm."""
    # every library has its own RMSNorm: one vector that scales, in a class named after what it does
    if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
        return True
    own = dict(module.named_parameters(recurse=False))
    word = type(module).__name__.lower()
    named = (word.endswith(("norm", "norm1p")) or "rmsnorm" in word) and not isinstance(module, _NormBase)
    return named and set(own) <= {"weight", "bias"} and getattr(own.get("weight"), "ndim", 0) >= 1


def _one_more(weight: Tensor) -> Tensor:
    return weight.double() + 1.0


@claims(_normalises)
def layer_normalisation(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``diag(weight)``, the gain after each example was normalised; ``diag(1 + weight)`` in Gemma and its likes."""
    loader = network.loaders.get(join(path, "weight"))
    if loader is None:
        return
    width = 1
    for n in loader.shape:
        width *= n
    note = "gain after normalising each example"
    if _stores_one_less(module):
        note, form = f"{note}: 1 + weight", _one_more
    else:
        form = as_stored
    yield LayerMatrix(path or "weight", "diagonal", (width, width), loader, form, groups=width, note=note)
