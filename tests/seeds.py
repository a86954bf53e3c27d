"""Modules and data that are random and the same each time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A module whose every parameter and buffer of floats is random, so that no law holds by accident."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = build()
        with torch.no_grad():
            for tensor in module.parameters():
                tensor.copy_(torch.randn_like(tensor) * (0.5 if tensor.ndim > 1 else 1.0))
            for name, tensor in module.named_buffers():
                if name.endswith("running_var"):
                    tensor.copy_(torch.rand_like(tensor) + 0.5)
            # old-style norms keep the weight they computed last, which must be that of the new numbers, without a graph
            for part in module.eval().modules():
                for hook in part._forward_pre_hooks.values():
                    hook(part, ())
    return module


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def linear_part(module: nn.Module, x: Tensor) -> Tensor:
    """What a module does beyond its answer to nothing: its linear part, if it is affine."""
    with torch.no_grad():
        return module(x) - module(torch.zeros_like(x))
