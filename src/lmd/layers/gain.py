"""Whether a normalisation stores its gain, or how far the gain is from one."""

from copy import deepcopy

import torch
from torch import nn

__all__ = ["adds_one"]

_OF_TORCH = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def adds_one(module: nn.Module) -> bool:
    """Whether the gain is ``1 + weight``: a copy then passes half as much on with a weight of zero as with one."""
    if isinstance(module, _OF_TORCH):
        return False
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
