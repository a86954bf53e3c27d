"""Normalisation of queries and keys: the part of it that is linear and the same for every input."""

import re
from dataclasses import dataclass

from torch import nn

from lmd.layers.attention.counts import Heads
from lmd.layers.attention.settings import Settings
from lmd.layers.gain import adds_one
from lmd.layers.registry import join
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["HeadNorm", "norm_of"]

_NAMES = {
    role: re.compile(
        rf"(?:{letter}|{role})_?(?:norm|layer_?norm|ln|rms_?norm)|(?:norm|ln|layer_?norm)_?(?:{letter}|{role})"
    )
    for role, letter in (("query", "q"), ("key", "k"))
}


@dataclass(frozen=True, slots=True, eq=False)
class HeadNorm:
    """The gain behind a normalisation of each head's query or key.

    Attributes:
        gain: loader of the stored gain, ``(width,)``, ``(heads * width,)`` or ``(heads, width)``.
        from_one: whether 1 is to be added.
        centred: whether the mean is taken out first.
    """

    gain: Loader
    from_one: bool
    centred: bool

    def of_head(self, head: int, width: int) -> Loader | None:
        """The gain of one head, None if the shape is another."""
        shape = self.gain.shape
        if shape == (width,):
            return self.gain
        if len(shape) == 1 and shape[0] % width == 0 and head < shape[0] // width:
            return self.gain.narrow(0, head * width, width)
        if len(shape) == 2 and shape[1] == width and head < shape[0]:
            return self.gain.narrow(0, head, 1)
        return None


def norm_of(
    module: nn.Module, path: str, role: str, settings: Settings, heads: Heads, network: Network
) -> HeadNorm | None:
    """The normalisation of a module's queries or keys, None without one that has a gain."""
    for name, child in module.named_children():
        loader = network.loaders.get(join(path, f"{name}.weight"))
        if not _NAMES[role].fullmatch(name) or loader is None or len(loader.shape) not in (1, 2):
            continue
        kind = type(child).__name__.lower()
        # a bare file tells the two apart by the shift that only one of them has
        bare = path in network.readings or join(path, name) in network.readings
        centred = join(path, f"{name}.bias") in network.loaders if bare else "layernorm" in kind
        norm = HeadNorm(loader, adds_one(child), centred and loader.shape[-1] == heads.width)
        return norm if norm.of_head(0, heads.width) is not None else None
    return None
