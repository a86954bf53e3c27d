"""A number with its symbol, unit, meaning and source."""

from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal

__all__ = ["Direction", "Measured", "Quantity", "array", "arrays_of", "quantities_of", "quantity"]

Direction = Literal["exact", "estimate", "upper", "lower"]

Number = float | int
Value = Number | tuple[Number | None, ...] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, what a random layer of that shape would give, and how far the value can be off.

    Attributes:
        value: the number, or a curve; None when it does not exist, and ``reason`` says why (of a curve read back from
            a file: None at the points that left double precision).
        baseline: the same quantity of a random matrix of the same shape and Frobenius norm; None with ``reason``.
        error: absolute error of ``value`` (for a curve: the largest of its points), first order in the error of the
            singular values.
        direction: whether ``value`` is exact up to ``error``, an estimate, or a bound from one side.
        reason: why a value or a baseline is missing.
    """

    value: Value
    baseline: Value = None
    error: float | None = None
    direction: Direction = "exact"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a number is: one entry of the glossary."""

    key: str
    symbol: str
    unit: str
    meaning: str
    source: str


def quantity(symbol: str, *, unit: str, meaning: str, source: str) -> Any:
    """Declare a field of a Finding that holds a ``Measured``."""
    return field(metadata={"quantity": (symbol, unit, meaning, source)})


def array(*, meaning: str, shape: str) -> Any:
    """Declare a field of a Finding that holds a tensor, for figures and further analysis."""
    return field(metadata={"array": (meaning, shape)})


def quantities_of(finding: Any) -> tuple[Quantity, ...]:
    """The quantities a Finding, or its class, declares, in order."""
    return tuple(Quantity(f.name, *f.metadata["quantity"]) for f in fields(finding) if "quantity" in f.metadata)


def arrays_of(finding: Any) -> tuple[Field[Any], ...]:
    """The array fields a Finding, or its class, declares."""
    return tuple(f for f in fields(finding) if "array" in f.metadata)
