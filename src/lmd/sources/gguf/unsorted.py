"""Files whose rows were left as Hugging Face has them, although their architecture says that they are sorted."""

from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lmd.sources.gguf.architectures.changes import changed
from lmd.sources.gguf.architectures.names import Named
from lmd.sources.loaders import Loader

__all__ = ["kept_as_stored"]

_ORIGIN = "model.safetensors"
_NEAR = 0.3
"""Relative Frobenius distance: the coarsest types are below, and other rows are at 1.4."""


def kept_as_stored(path: str, sorted_: Collection[tuple[Named, Loader]]) -> bool:
    """Whether the file that a GGUF file was made from lies beside it and shows that no rows were sorted.

    Args:
        path: of the GGUF file.
        sorted_: the tensors whose rows the architecture says are sorted, each as it is stored.
    """
    origin = Path(path).absolute().with_name(_ORIGIN)
    if not sorted_ or not origin.is_file():
        return False
    try:
        with safe_open(str(origin), framework="pt") as file:
            known = set(file.keys())
            for one, stored in sorted_:
                if one.name in known and tuple(file.get_slice(one.name).get_shape()) == one.shape:
                    return _unsorted(file.get_tensor(one.name).double(), one, stored)
    except (SafetensorError, OSError):
        # not what it is called: no witness
        return False
    return False


def _unsorted(origin: torch.Tensor, one: Named, stored: Loader) -> bool:
    left, back = (torch.dist(loader().double(), origin) for loader in (stored, changed(one, stored)))
    return bool(left < back) and bool(left <= _NEAR * origin.norm())
