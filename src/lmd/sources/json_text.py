"""JSON text from inside a file, with limits on what it may be."""

import json
from typing import Any

from lmd.sources.errors import UnreadableModelError

__all__ = ["json_object"]


def json_object(text: str | bytes, *, of: str, advice: str) -> dict[str, Any]:
    """Parse it.

    Args:
        text: of bounded length.
        of: what it is, for the message.
        advice: what to do, for the message.

    Raises:
        UnreadableModelError: it is no JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise UnreadableModelError(f"{of} is no JSON ({fault}); an object is needed. {advice}") from fault
    if not isinstance(value, dict):
        raise UnreadableModelError(f"{of} is a JSON {type(value).__name__}; an object is needed. {advice}")
    return value
