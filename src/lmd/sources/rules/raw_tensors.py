"""Parameters that a module holds by itself, outside any layer of torch: what their names and shapes say they are."""

import re
from typing import Literal

__all__ = ["RawRole", "raw_role"]

RawRole = Literal["scale", "table", "matrix", "stack"]

_SCALE = re.compile(
    r"gamma|scale|lambda|(^|_)gain|^(alpha|g|ls\d?|d|weight|a_log|time_decay|time_first|.*_mix|mix_.*)$", re.IGNORECASE
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
