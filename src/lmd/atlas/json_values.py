"""What JSON has no word for, in words it has. Needs no torch."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

__all__ = ["json_number", "json_value"]


def json_number(value: Any) -> Any:
    """A number, or a sequence of them; None stands for what is not finite.

    >>> json_number((1, float("inf")))
    [1, None]
    """
    if isinstance(value, tuple | list):
        return [json_number(v) for v in value]
    return value if value is None or isfinite(value) else None


def json_value(value: Any) -> Any:
    """Anything a source or a caller tells; a number that is not finite becomes null with its reason.

    >>> json_value({"best_loss": float("inf"), "betas": (0.9, 0.999)})
    {'best_loss': {'value': None, 'reason': 'inf is no number of JSON'}, 'betas': [0.9, 0.999]}
    """
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return {"value": None, "reason": f"{value} is no number of JSON"}
    return value if value is None or isinstance(value, str | int | float) else str(value)
