"""State-space blocks: how fast each state forgets, and what passes by."""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join
from lmd.sources.network import Network

__all__ = ["state_space"]


def _decay(A_log: Tensor) -> Tensor:
    return -torch.exp(A_log.double()).flatten()


def _has_decay(module: nn.Module) -> bool:
    """A module that owns ``A_log``, as Mamba's mixers do."""
    return "A_log" in dict(module.named_parameters(recurse=False))


@claims(_has_decay)
def state_space(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``A = -exp(A_log)`` as the diagonal map it is to all states, ``(channels * states)`` squared, and ``D``.

    In ``h' = A h + B x`` each state decays by itself: the singular values are the rates of decay per unit of time, and
    a matrix (channels, states) of them would map nothing to nothing. A step of length ``dt`` multiplies by
    ``exp(dt A)``. The projections and the convolution are layers of their own.
    """
    loader = network.loader(join(path, "A_log"))
    width = prod(loader.shape)
    note = f"A = -exp(A_log), {' x '.join(map(str, loader.shape))} states: rates of decay per unit of time"
    yield LayerMatrix(join(path, "A"), "diagonal", (width, width), loader, _decay, groups=width, note=note)
    if "D" in dict(module.named_parameters(recurse=False)):
        loader = network.loader(join(path, "D"))
        width = prod(loader.shape)
        note = "what passes by the states, channel by channel"
        yield LayerMatrix(join(path, "D"), "diagonal", (width, width), loader, groups=width, note=note)
