"""What can be wrong with what a user brings."""

__all__ = ["UnreadableModelError", "UnsafeModelError"]


class UnreadableModelError(ValueError):
    """The source is missing, empty, truncated or holds no weights (exit code 3)."""


class UnsafeModelError(ValueError):
    """Reading the source would run code from it (exit code 4)."""
