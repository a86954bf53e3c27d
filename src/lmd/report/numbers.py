"""Numbers as text for a page, and as few digits for a browser."""

from math import isfinite
from typing import Any

__all__ = ["compact", "count", "measured_text", "number_text", "percent"]

_SIGNS = {
    "upper": "\N{LESS-THAN OR EQUAL TO} ",
    "lower": "\N{GREATER-THAN OR EQUAL TO} ",
    "estimate": "\N{ALMOST EQUAL TO} ",
}
_DIGITS = 4
_LARGEST_INTEGER = 1e9  # beyond, an exponent is shorter and no count is meant


def compact(value: Any, digits: int = 5) -> Any:
    """A number, or numbers, rounded to significant digits; None where not finite.

    >>> compact([1.23456789, float("nan"), 7])
    [1.2346, None, 7]
    """
    if isinstance(value, list | tuple):
        return [compact(one, digits) for one in value]
    if value is None or isinstance(value, int):
        return value
    value = float(value)
    if not isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    if not isfinite(short):  # the largest doubles round up to infinity
        return value
    return int(short) if short.is_integer() and abs(short) < _LARGEST_INTEGER else short


def number_text(value: Any) -> str:
    """Four significant digits, and no exponent where none is needed; a dash for nothing.

    >>> number_text(12345.6), number_text(0.000012345), number_text(None)
    ('12,346', '1.234e-05', '\N{EN DASH}')
    """
    short = compact(value, 6)
    if short is None:
        return "\N{EN DASH}"
    if isinstance(short, int) or abs(short) >= 10**_DIGITS:
        return f"{short:,.0f}" if abs(short) < 1e9 else f"{short:.3e}"
    return f"{short:.{_DIGITS}g}" if abs(short) >= 1e-3 or short == 0 else f"{short:.{_DIGITS - 1}e}"


def measured_text(finding: dict[str, Any]) -> str:
    """The value of a finding with the side it bounds from; what is wrong when there is none."""
    value = finding.get("value")
    if value is None or isinstance(value, (list, tuple)):
        return "\N{EN DASH}"
    return _SIGNS.get(finding.get("direction", "exact"), "") + number_text(value)


def count(number: int, noun: str, plural: str = "") -> str:
    """A number of things.

    >>> count(1, "layer"), count(1200, "layer"), count(2, "matrix", "matrices")
    ('1 layer', '1,200 layers', '2 matrices')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(share: float | None) -> str:
    """A share, never rounded up to all nor down to nothing.

    >>> percent(0.98), percent(1.0), percent(0.99999), percent(0.0001)
    ('98.0\u202f%', '100\u202f%', '> 99.9\u202f%', '< 0.1\u202f%')
    """
    if share is None or not isfinite(share):
        return "\N{EN DASH}"
    if share in (0, 1):
        return f"{share:.0%}".replace("%", "\u202f%")
    side = "> 99.9" if share > 0.9994 else "< 0.1" if share < 0.0005 else f"{100 * share:.1f}"
    return f"{side}\u202f%"
