"""A JSON object from a small file beside the weights."""

import json
import os
from typing import Any

from lmd.sources.errors import UnreadableModelError

__all__ = ["read_json_object"]


def read_json_object(path: str, *, most_bytes: int, needed: str) -> dict[str, Any]:
    """Read it.

    Args:
        path: of the file.
        most_bytes: a larger file is refused unread.
        needed: what is needed and what to do, for the message.

    Raises:
        UnreadableModelError: it is not there, too large, or no JSON object.
    """
    try:
        if os.path.getsize(path) > most_bytes:
            raise ValueError(f"larger than {most_bytes} bytes")
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
        if not isinstance(value, dict):
            raise ValueError(f"holds a {type(value).__name__}")
    except (OSError, ValueError, RecursionError) as fault:
        raise UnreadableModelError(f"{path} cannot be read ({fault}); {needed}") from fault
    return value
