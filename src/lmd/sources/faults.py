"""What code of others raises when it is given what it was not made for."""

__all__ = ["FOREIGN_FAULTS"]

FOREIGN_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Everything but what asks the process to stop, and what our own code alone raises."""
