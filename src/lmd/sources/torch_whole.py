"""The way to read a checkpoint if torch's restricted unpickler, which is private, should move: all of it at once."""

import re
from typing import Any

import torch

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.torch_pickle import MALFORMED

__all__ = ["read_whole"]


def read_whole(path: str) -> Any:
    """The checkpoint's object, tensors in memory.

    Raises:
        UnreadableModelError: not a whole torch checkpoint.
        UnsafeModelError: ``weights_only`` refuses it.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MALFORMED as error:
        words = str(error)
        if offender := re.search(r"GLOBAL (\S+)|TorchScript", words):
            raise UnsafeModelError(
                f"{path} is refused by torch.load(weights_only=True) because of {offender[1] or offender[0]!r}; only "
                "tensors and plain containers are read. Where its code is trusted, load it there and save "
                "model.state_dict()."
            ) from error
        raise UnreadableModelError(
            f"{path} cannot be read as a torch checkpoint ({words[:200]!r}); a whole file written by torch.save "
            "is needed. Fetch or save it again."
        ) from error
