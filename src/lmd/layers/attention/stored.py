"""One linear map below an attention module as a projection: what is stored, what stands beside it in its own layer."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from lmd.layers.attention.children import Child
from lmd.layers.attention.pieces import Pointwise, ScaledRows, batch_norm_gain, batch_norm_shift
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.registry import join
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.skeleton import is_stored_transposed

__all__ = ["bends", "stored_projection"]


def stored_projection(path: str, child: Child, role: str, network: Network) -> Projection:
    """A child as the projection of all heads.

    Args:
        path: of the attention module.
        child: below it.
        role: of the child.
        network: that holds its tensors.

    Raises:
        KeyError: its weight is not in the file.
    """
    name, kind = join(path, child.path), "attention_output" if role == "output" else role
    turned, bias = is_stored_transposed(child.module), network.loaders.get(join(name, "bias"))
    weight, kernel, groups = network.loader(join(name, "weight")), None, 1
    if isinstance(child.module, _ConvNd):
        kernel, groups = weight, child.module.groups
        weight = Pointwise(kernel, groups, kernel.shape[0])
    outputs = weight.shape[1 if turned else 0]
    strips = Strips(0, outputs, outputs)
    used = None if turned else _with_norm(path, child, weight, bias, network)
    return Projection(
        name,
        kind,
        weight,
        bias,
        strips,
        turned,
        _note(folded=used is not None),
        kernel=kernel,
        groups=groups,
        used=used,
    )


def bends(child: Child) -> str:
    """Why a child is no linear map of its input, '' if it is one, up to the normalisation behind it."""
    behind = [module for _, module in child.behind]
    if behind and isinstance(behind[0], _NormBase):
        behind = behind[1:]
    words = [f"behind it stands {type(module).__name__}" for module in behind]
    return "; ".join([*(f"it reads what {type(module).__name__} gives" for module in child.before), *words])


def _with_norm(
    path: str, child: Child, weight: Loader, bias: Loader | None, network: Network
) -> tuple[Loader, Loader | None] | None:
    place, norm = child.behind[0] if child.behind else ("", nn.Identity())
    parts = [
        network.loaders.get(join(join(path, place), name)) for name in ("weight", "running_var", "running_mean", "bias")
    ]
    if not isinstance(norm, _NormBase) or any(part is None for part in parts):
        return None
    gain, variance, mean, shift = (part for part in parts if part is not None)
    scaled = ScaledRows(weight, batch_norm_gain(gain, variance, norm.eps))
    return scaled, batch_norm_shift((gain, variance, mean, shift), bias, norm.eps)


def _note(*, folded: bool) -> str:
    return "its heads use it with the batch normalisation behind it folded in" if folded else ""
