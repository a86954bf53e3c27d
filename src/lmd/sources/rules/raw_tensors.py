"""Parameters that a module holds by itself, outside any layer of torch: what their names and shapes say they are."""

import re
from collections.abc import Mapping
from typing import Literal

__all__ = ["RawRole", "bias_of", "raw_role", "stores_inputs_first"]

RawRole = Literal["scale", "table", "matrix", "stack"]

_SCALE = re.compile(
    r"gamma|scale|lambda|(^|_)gain|^(alpha|g|ls\d?|d|weight|a_log|time_decay|time_first|(.*_)?mix(_.*)?)$",
    re.IGNORECASE,
)
_TABLE = re.compile(
    r"emb|pos|token|cls|quer(y|ies)$|latent|bias|codebook|memory|prompt|prototype|slot|anchor|(^|_)att(_|n?$)|sinks",
    re.IGNORECASE,
)


def raw_role(name: str, shape: tuple[int, ...]) -> RawRole | None:
    """A scale of each channel, a table of vectors, a matrix, or a stack to be unfolded; None for what only shifts.

    Args:
        name: the parameter's own name, without the module's path.
        shape: as stored; leading axes of length 1 do not count.

    >>> raw_role("pos_embed", (1, 197, 768)), raw_role("gamma", (768,)), raw_role("bias", (3,))
    ('table', 'scale', None)
    """
    if len(shape) < 2:
        return "scale" if shape and shape[0] > 0 and _SCALE.search(name) else None
    if 0 in shape:
        return None
    bare = shape
    while len(bare) > 2 and bare[0] == 1:
        bare = bare[1:]
    if len(bare) > 2:
        return "stack"
    # a position or a token for itself; a scale broadcast over batch and positions
    if bare[0] == 1 and len(shape) > 2:
        return "scale" if _SCALE.search(name) else "table"
    return "table" if _TABLE.search(name) else "matrix"


_WEIGHT = re.compile(r"weight|kernel|(?<![a-z])w(?![a-z])|(?<![a-z])W(?![a-z])")


def bias_of(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """Shape of the bias that belongs to a raw weight, by its name: ``b1`` for ``W1``, ``bias`` for any.

    >>> bias_of("W1", {"W1": (20, 40), "b1": (40,), "b2": (5,)})
    (40,)
    """
    words = {"w": ("b",), "W": ("b", "B")}
    for word in dict.fromkeys(_WEIGHT.findall(name)):
        for bias in words.get(word, ("bias", "b", "biases")):
            other = shapes.get(re.sub(rf"(?<![A-Za-z]){word}s?(?![A-Za-z])|weights?|kernel", bias, name, count=1))
            if other is not None and len(other) == 1:
                return other
    return shapes.get("bias")


def stores_inputs_first(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> bool | None:
    """Whether a raw weight lies as ``(..., in, out)``; None where neither its bias nor its name tells.

    flax and Keras store ``kernel`` so.
    """
    bias = bias_of(name, shapes)
    if bias is not None and shape[0] != shape[-1] and bias in ((shape[0],), (shape[-1],)):
        return bias == (shape[-1],)
    return True if name == "kernel" else None
