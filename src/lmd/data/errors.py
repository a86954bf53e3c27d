"""What can be wrong with the data a user brings."""

__all__ = ["UnreadableDataError", "UnsafeDataError"]


class UnreadableDataError(ValueError):
    """The data are missing, empty, damaged or hold what is no number (exit code 3)."""


class UnsafeDataError(ValueError):
    """Reading the data would run code from them, or take far more memory than they have bytes (exit code 4)."""
