"""A likely order of depth for names that a format has sorted by alphabet."""

import re

__all__ = ["depth_key", "names_norm"]

_FIRST = re.compile(r"emb|^(wte|wpe|stem|encoder|conv_in|input_.*)$", re.IGNORECASE)
_LAST = re.compile(
    r"head$|^(decoder|classifier|pooler|logits|fc|fc_out|conv_out|final.*|out.*|o_proj|c_proj)$", re.IGNORECASE
)
_LAYER = re.compile(r"conv(?!_?block)|^(c|fc|lin|linear|dense|proj|up|down)\d*$", re.IGNORECASE)
_NORM = re.compile(r"norm|(^|_)(ln|bn|gn)(\d|_|$)", re.IGNORECASE)


def names_norm(part: str) -> bool:
    """Whether a part of a name is a normalisation's."""
    return _NORM.search(part) is not None


Key = tuple[tuple[int, float, int, str], ...]


def depth_key(name: str, *, norms_first: bool = False) -> Key:
    """Sort key of a dotted name: numbers by value, embeddings first, heads last, ``bn1`` behind ``conv1`` or before it.

    >>> sorted(["fc.w", "l.10.w", "l.2.w", "bn1.w", "conv1.w", "embed.w"], key=depth_key)
    ['embed.w', 'conv1.w', 'bn1.w', 'l.2.w', 'l.10.w', 'fc.w']
    """
    return tuple(_part_key(part, norms_first=norms_first) for part in name.split("."))


def _part_key(part: str, *, norms_first: bool) -> tuple[int, float, int, str]:
    number = re.search(r"(\d+)$", part)
    place = -1 if _FIRST.search(part) else 1 if _LAST.search(part) else 0
    # of one number: the layer, its normalisation, then the blocks behind them
    rank = (-1 if norms_first else 1) if names_norm(part) else 0 if _LAYER.search(part) else 2
    return place, float(number[1]) if number else float("inf"), rank, part
