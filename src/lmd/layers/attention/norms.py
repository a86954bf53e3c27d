"""Normalisation of queries, keys and values: the part of it that is linear and the same for every input."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from lmd.layers.attention.counts import Heads
from lmd.layers.attention.families import HALVES, NEIGHBOURS, NORM_BEHIND_TURN, NORM_WITHOUT_GAIN, is_among
from lmd.layers.attention.settings import Settings
from lmd.layers.gain import adds_one, centres
from lmd.layers.registry import join
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["HeadNorm", "is_norm_of_heads", "norm_of"]

_NAMES = {
    role: re.compile(
        rf"(?:{letters}|{role})_?(?:norm|layer_?norm|ln|rms_?norm)|(?:norm|ln|layer_?norm)_?(?:{letters}|{role})"
    )
    for role, letters in (("query", "q|qk"), ("key", "k|qk"), ("value", "v"))
}
_WITHOUT_SHIFT = frozenset({"cohere", "stablelm"})
"""Families whose query and key norms take the mean out and add nothing, which a bare file does not tell."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadNorm:
    """What a normalisation of each head's query, key or value does besides dividing.

    Attributes:
        gains: loaders of the stored gain: one of ``(width,)``, ``(heads * width,)`` or ``(heads, width)``, or one of
            ``(width,)`` for each head; () without any.
        shifts: of what is added in the end, likewise.
        from_one: whether 1 is to be added to the gain.
        centred: whether the mean of the head is taken out first.
        centred_over_all: whether that of all heads is.
        behind_turn: whether it comes after the rotary positions.
        reason: what of it is not known.
    """

    gains: tuple[Loader, ...] = ()
    shifts: tuple[Loader, ...] = ()
    from_one: bool = False
    centred: bool = False
    centred_over_all: bool = False
    behind_turn: bool = False
    reason: str = ""

    def gain(self, head: int, width: int) -> Loader | None:
        """The gain of one head, None without one or if the shape is another."""
        return _of_head(self.gains, head, width)

    def shift(self, head: int, width: int) -> Loader | None:
        """What is added to one head in the end, None without."""
        return _of_head(self.shifts, head, width)


def norm_of(
    module: nn.Module, path: str, role: str, settings: Settings, heads: Heads, network: Network
) -> HeadNorm | None:
    """The normalisation of a module's queries, keys or values; None without one."""
    late = is_among(settings, NORM_BEHIND_TURN)
    for name, child in module.named_children():
        if not _NAMES[role].fullmatch(name) or isinstance(child, nn.Identity):
            continue
        own = join(path, name)
        gains, shifts = (tuple(_stored(own, ending, network)) for ending in ("weight", "bias"))
        bare = path in network.readings or own in network.readings
        centred, known = _centred(child, settings, shifted=bool(shifts), bare=bare)
        count, width = _size(heads, role)
        if _unread(child, gains) or (gains and _of_head(gains, 0, width) is None):
            return HeadNorm(behind_turn=late, reason=f"{name} has a form that is not known and is left out")
        over_all = centred and count > 1 and bool(gains) and gains[0].shape == (count * width,)
        reason = "" if known else "taken to leave the mean in, which nothing tells"
        if over_all and late:
            reason = "the mean over all heads that it takes out is left in"
        return HeadNorm(
            gains,
            shifts,
            from_one=bool(gains) and adds_one(_first(child)),
            centred=centred and not over_all,
            centred_over_all=over_all and not late,
            behind_turn=late,
            reason=reason,
        )
    if role != "value" and is_among(settings, NORM_WITHOUT_GAIN):
        return HeadNorm(behind_turn=late)
    return None


def is_norm_of_heads(name: str) -> bool:
    """Whether a child of that name normalises queries, keys or values."""
    return any(pattern.fullmatch(name) for pattern in _NAMES.values())


def _of_head(loaders: tuple[Loader, ...], head: int, width: int) -> Loader | None:
    if len(loaders) > 1:
        return loaders[head] if head < len(loaders) and loaders[head].shape == (width,) else None
    for loader in loaders:
        shape = loader.shape
        if shape == (width,):
            return loader
        if len(shape) == 1 and shape[0] % width == 0 and head < shape[0] // width:
            return loader.narrow(0, head * width, width)
        if len(shape) == 2 and shape[1] == width and head < shape[0]:
            return loader.narrow(0, head, 1)
    return None


def _stored(path: str, ending: str, network: Network) -> Iterator[Loader]:
    """The norm's own tensor, or those of a list of norms, one for each head."""
    if (own := network.loaders.get(join(path, ending))) is not None:
        yield own
        return
    for below in (path, join(path, "norms")):
        head = 0
        while (loader := network.loaders.get(join(below, f"{head}.{ending}"))) is not None:
            yield loader
            head += 1


def _size(heads: Heads, role: str) -> tuple[int, int]:
    count = heads.queries if role == "query" else heads.keys
    return count, heads.value_width if role == "value" else heads.width


def _unread(child: nn.Module, gains: tuple[Loader, ...]) -> bool:
    """Whether the norm holds tensors beside a gain and a shift."""
    return sum(not name.endswith("bias") for name, _ in child.named_parameters()) != len(gains)


def _first(child: nn.Module) -> nn.Module:
    """The norm itself, or the first of a list of them."""
    while not list(child.parameters(recurse=False)) and (inner := next(child.children(), None)) is not None:
        child = inner
    return child


def _centred(child: nn.Module, settings: Settings, *, shifted: bool, bare: bool) -> tuple[bool, bool]:
    """Whether the mean is taken out, and whether that is known."""
    if not bare:
        asked = centres(_first(child))
        return (asked, True) if asked is not None else ("layernorm" in type(child).__name__.lower(), True)
    # a bare file tells the two apart by the shift that only one of them has
    if shifted or is_among(settings, _WITHOUT_SHIFT):
        return True, True
    return False, is_among(settings, HALVES | NEIGHBOURS)
