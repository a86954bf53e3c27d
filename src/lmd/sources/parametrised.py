"""Weights computed from other tensors: weight norm, spectral norm, pruning; from files as from live modules."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from lmd.sources.loaders import Combined, Loader
from lmd.sources.rules.tensor_roles import effective_names

__all__ = ["effective_loaders", "spectral_normed", "weight_normed"]


def weight_normed(magnitude: Tensor, direction: Tensor) -> Tensor:
    """``W = g v / ||v||``, the norm over every axis along which ``g`` has one entry.

    References:
        Salimans & Kingma 2016.
    """
    axes = [d for d in range(direction.ndim) if magnitude.ndim != direction.ndim or magnitude.shape[d] == 1]
    if not axes:
        return magnitude * direction.sign()
    kept = [d for d in range(direction.ndim) if d not in axes]
    if len(kept) > 1:
        return direction * (magnitude / torch.linalg.vector_norm(direction, dim=axes, keepdim=True))
    # in the stored type and by torch's own kernel, whose rounding a live module has too
    return torch.ops.aten._weight_norm(direction, magnitude, kept[0] if kept else _one_number(magnitude))


def _one_number(magnitude: Tensor) -> int:
    # one length for the whole weight: torch's word for no axis, unless the magnitude has axes to go along
    return 0 if magnitude.ndim else -1


def spectral_normed(original: Tensor, u: Tensor, v: Tensor, *, transposed: bool = False) -> Tensor:
    """``W / (u^T W v)`` with the stored estimates of the leading singular vectors, as in evaluation mode.

    References:
        Miyato et al. 2018.
    """
    axis = 1 if transposed or original.shape[0] != u.numel() else 0
    matrix = original.movedim(axis, 0).flatten(1)
    return original / torch.dot(u, torch.mv(matrix, v))


def effective_loaders(loaders: Mapping[str, Loader], transposed: frozenset[str] = frozenset()) -> dict[str, Loader]:
    """Loaders of the effective weights among some stored tensors, by effective name.

    Args:
        loaders: stored name to loader.
        transposed: effective names whose outputs lie along the second axis (transposed convolutions).
    """
    found: dict[str, Loader] = {}
    for name, stored in effective_names(loaders).items():
        parts = tuple(loaders[s] for s in stored)
        if stored[-1].endswith("_mask"):
            found[name] = Combined(torch.mul, parts, parts[0].shape)
        elif len(stored) == 2:
            found[name] = Combined(weight_normed, parts, parts[1].shape)
        else:
            function = partial(spectral_normed, transposed=name in transposed)
            found[name] = Combined(function, parts, parts[0].shape)
    return found
