"""The metadata of a GGUF file that its architecture speaks of. Needs no torch."""

from collections.abc import Mapping
from typing import Any

__all__ = ["Shelf"]


class Shelf:
    """The metadata of a file below its architecture's own prefix."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        """Keep it."""
        self.metadata = metadata
        told = metadata.get("general.architecture")
        self.architecture = told if isinstance(told, str) else ""

    def value(self, key: str) -> Any:
        """The value of ``<architecture>.<key>``, None if there is none."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def count(self, key: str, block: int = 0) -> int:
        """A whole number, of one block where each has its own; 0 if there is none."""
        value = self.value(key)
        if isinstance(value, list):
            value = value[block] if block < len(value) else 0
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def number(self, key: str) -> float | None:
        """A number, None if there is none."""
        value = self.value(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def beside(self, more: Mapping[str, Any]) -> "Shelf":
        """The same with other values where there is none."""
        return Shelf({**{f"{self.architecture}.{key}": value for key, value in more.items()}, **self.metadata})
