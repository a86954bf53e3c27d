"""Normalisation of queries, keys and values: the part of it that is linear and the same for every input."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import nn

from lmd.layers.attention.counts import Heads
from lmd.layers.attention.families import (
    GAIN_FROM_ONE,
    HALVES,
    NEIGHBOURS,
    NORM_BEHIND_TURN,
    NORM_WITHOUT_GAIN,
    NORM_WITHOUT_SHIFT,
    is_among,
)
from lmd.layers.attention.positions import said_of_layer
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
    for name, child in module.named_children():
        if _NAMES[role].fullmatch(name) and not isinstance(child, nn.Identity):
            bare = bool(network.readings)
            return _read(child, join(path, name), _size(heads, role), settings, network, bare=bare)
    if role != "value" and network.readings and _nothing_stored(settings):
        return HeadNorm(behind_turn=is_among(settings, NORM_BEHIND_TURN))
    return None


def _read(
    child: nn.Module, path: str, size: tuple[int, int], settings: Settings, network: Network, *, bare: bool
) -> HeadNorm:
    """What a norm of so many heads, so wide, does; ``bare`` if only its tensors are there."""
    late = is_among(settings, NORM_BEHIND_TURN)
    gains, shifts = (tuple(_stored(path, ending, network)) for ending in ("weight", "bias"))
    if _unread(child, gains) or (gains and _of_head(gains, 0, size[1]) is None):
        name = path.rpartition(".")[2]
        return HeadNorm(behind_turn=late, reason=f"{name} has a form that is not known and is left out")
    centred, from_one, reason = (_by_name if bare else _by_asking)(child, settings, shifted=bool(shifts))
    over_all = centred and size[0] > 1 and bool(gains) and gains[0].shape == (prod(size),)
    if over_all and late:
        reason = "the mean over all heads that it takes out is left in"
    return HeadNorm(
        gains,
        shifts,
        from_one=from_one and bool(gains),
        centred=centred and not over_all,
        centred_over_all=over_all and not late,
        behind_turn=late,
        reason=reason,
    )


def _by_asking(child: nn.Module, _: Settings, *, shifted: bool) -> tuple[bool, bool, str]:
    """Whether the mean is taken out, whether 1 is added to the gain, and what of this is not known."""
    norm = _first(child)
    if (centred := centres(norm)) is None:
        centred = shifted or "layernorm" in type(child).__name__.lower()
    return centred, adds_one(norm), ""


def _by_name(_: nn.Module, settings: Settings, *, shifted: bool) -> tuple[bool, bool, str]:
    """The same of the tensors alone: a shift is for norms that take the mean out, the rest is in no file."""
    known = is_among(settings, HALVES | NEIGHBOURS)
    centred = shifted or is_among(settings, NORM_WITHOUT_SHIFT)
    guessed = "" if known else "gain taken as it is stored" + ("" if centred else ", and the mean left in")
    return centred, is_among(settings, GAIN_FROM_ONE), guessed


def _nothing_stored(settings: Settings) -> bool:
    return (
        is_among(settings, NORM_WITHOUT_GAIN)
        and settings.value("use_qk_norm") is not False
        and said_of_layer(settings, "no_rope_layers") is not False
    )


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
