"""Pieces that the networks of the zoo are made of."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import weight_norm

__all__ = ["bare", "bn", "cbr", "conv", "raw", "tree", "up", "weight_normed"]

S = nn.Sequential


def tree(**children: Any) -> nn.Module:
    """A module of these children and parameters, in their order."""
    module = nn.Module()
    for name, child in children.items():
        if isinstance(child, nn.Parameter):
            module.register_parameter(name, child)
        else:
            module.add_module(name, child)
    return module


def raw(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def conv(i: int, o: int, k: Any = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, **options)


def bare(i: int, o: int, k: Any = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, bias=False, **options)


def up(i: int, o: int, k: int = 4, **options: Any) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(i, o, k, **options)


def bn(n: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n)


def cbr(i: int, o: int, k: int = 3, **options: Any) -> nn.Sequential:
    return S(bare(i, o, k, **options), bn(o), nn.ReLU())


def weight_normed(module: nn.Module) -> nn.Module:
    return weight_norm(module)
