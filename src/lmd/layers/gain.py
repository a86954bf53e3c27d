"""How a normalisation uses its gain, and whether it takes the mean out: asked of the layer itself."""

from copy import deepcopy

import torch
from torch import Tensor, nn

__all__ = ["adds_one", "centres"]

_OF_TORCH = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_NO_ANSWER = (RuntimeError, TypeError, ValueError, AttributeError, IndexError)
_WIDTH = 8
"""Of the input of a layer without a gain."""


def adds_one(module: nn.Module) -> bool:
    """Whether the gain is ``1 + weight``: a copy then passes half as much on with a weight of zero as with one."""
    if isinstance(module, _OF_TORCH):
        return False
    try:
        copy, x = _asked(module)
        with torch.no_grad():
            answers = [_with_weight(copy, value)(x) for value in (0.0, 1.0)]
        return bool(answers[0].any()) and torch.allclose(answers[1], 2 * answers[0], rtol=1e-4)
    except _NO_ANSWER:
        # a norm that needs more than its input cannot be asked
        return False


def centres(module: nn.Module) -> bool | None:
    """Whether the same added to every coordinate changes nothing; None if the layer cannot be asked."""
    if isinstance(module, _OF_TORCH):
        return not isinstance(module, nn.RMSNorm)
    try:
        copy, x = _asked(module)
        with torch.no_grad():
            _with_weight(copy, 1.0)
            return torch.allclose(copy(x), copy(x + 3.0), atol=1e-3)
    except _NO_ANSWER:
        return None


def _asked(module: nn.Module) -> tuple[nn.Module, Tensor]:
    """A copy without the user's hooks, which are not to be called, and two inputs."""
    copy = deepcopy(module).to_empty(device="cpu").float().eval()
    copy._forward_hooks.clear()
    copy._forward_pre_hooks.clear()
    weight = dict(copy.named_parameters()).get("weight")
    x = torch.linspace(-1.0, 2.0, _WIDTH if weight is None else weight.numel())
    return copy, torch.stack([x if weight is None else x.view_as(weight)] * 2)


def _with_weight(module: nn.Module, value: float) -> nn.Module:
    for name, parameter in module.named_parameters():
        parameter.fill_(value if name == "weight" else 0.0)
    return module
