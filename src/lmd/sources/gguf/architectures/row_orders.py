"""Orders of rows in which ggml keeps what Hugging Face keeps in another. Needs no torch."""

from dataclasses import dataclass
from typing import Any

__all__ = ["UNSORTED", "RowOrder"]

UNSORTED = ("ggml", "stored", "unsure")
"""Words of rows that stay as they are."""


@dataclass(frozen=True, slots=True)
class RowOrder:
    """Where the rows of a tensor stand in the file.

    Attributes:
        word: ``rotated``: the two halves of each head's rows alternate in the file; ``heads``: queries, keys and values
            one after the other in the file, head by head in the architecture; ``groups``: the same, each group of
            queries followed by its key and its value; ``stored``: as in the file, where another might be expected;
            ``unsure``: as in the file, since it is not known whether they were sorted, or by how many heads;
            ``ggml``: as in the file, sorted by a number of heads that it does not tell.
        rows: how many there are.
        heads: of the queries; of any but a fused projection its own.
        groups: keys and values, for ``groups``.
    """

    word: str
    rows: int
    heads: int
    groups: int = 1

    @property
    def fits(self) -> bool:
        """Whether the heads divide the rows."""
        if self.word in UNSORTED:
            return True
        if self.heads < 1 or self.groups < 1:
            return False
        if self.word == "rotated":
            return self.rows % (2 * self.heads) == 0
        if self.word == "heads":
            return self.rows % (3 * self.heads) == 0
        return self.heads % self.groups == 0 and self.rows % (self.heads + 2 * self.groups) == 0

    def places(self, wanted: Any) -> Any:
        """Rows of the file for rows of the architecture, of integers or a tensor of them.

        >>> [RowOrder("rotated", 8, 2).places(row) for row in range(8)]
        [0, 2, 1, 3, 4, 6, 5, 7]
        >>> [RowOrder("heads", 6, 2).places(row) for row in range(6)]
        [0, 2, 4, 1, 3, 5]
        >>> [RowOrder("groups", 6, 2, 1).places(row) for row in range(4)]
        [0, 1, 2, 3]
        """
        if self.word in UNSORTED:
            return wanted
        return {"rotated": self._rotated, "heads": self._by_heads, "groups": self._by_groups}[self.word](wanted)

    def _rotated(self, row: Any) -> Any:
        width = self.rows // self.heads
        head, within = row // width, row % width
        return head * width + within % (width // 2) * 2 + within // (width // 2)

    def _by_heads(self, row: Any) -> Any:
        width = self.rows // (3 * self.heads)
        head, part, within = row // (3 * width), row // width % 3, row % width
        return (part * self.heads + head) * width + within

    def _by_groups(self, row: Any) -> Any:
        width, each = self.rows // (self.heads + 2 * self.groups), self.heads // self.groups
        group, slot, within = row // ((each + 2) * width), row // width % (each + 2), row % width
        beyond = slot - each
        query = group * each + slot
        # 1 for the key and the value, without a branch that a tensor has not
        other = (slot >= each) * 1
        shared = self.heads + beyond * self.groups + group
        return (query + other * (shared - query)) * width + within
