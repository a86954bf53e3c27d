"""JSON text from inside a file, with limits on what it may be."""

import json
from typing import Any

from lmd.sources.errors import UnreadableModelError

__all__ = ["json_object"]

_MOST_VALUES = 2_000_000


def json_object(text: str | bytes, *, of: str, advice: str) -> dict[str, Any]:
    """Parse it.

    Args:
        text: of bounded length.
        of: what it is, for the message.
        advice: what to do, for the message.

    Raises:
        UnreadableModelError: it is no JSON object.
    """
    # each comma, brace and bracket may become an object, far larger than its text
    marks = (b",", b"{", b"[")
    raw = text if isinstance(text, bytes) else text.encode(errors="replace")
    values = sum(map(raw.count, marks))
    if values > _MOST_VALUES:
        raise UnreadableModelError(
            f"{of} has about {values} values; up to {_MOST_VALUES} are allowed, of which no model has as many. {advice}"
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise UnreadableModelError(f"{of} is no JSON ({fault}); an object is needed. {advice}") from fault
    if not isinstance(value, dict):
        raise UnreadableModelError(f"{of} is a JSON {type(value).__name__}; an object is needed. {advice}")
    return value
