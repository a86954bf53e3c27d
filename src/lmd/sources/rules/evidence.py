"""Who reads and who writes data of which width, gathered once for a file."""

from collections.abc import Sequence
from dataclasses import dataclass

from lmd.sources.reading import Reading
from lmd.sources.rules.ends import Ends, ends_of
from lmd.sources.rules.module import Module

__all__ = ["Evidence", "evidence_of"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The ends of every module.

    Attributes:
        modules: in the order of the file.
        readings: what is known of each so far.
        ends: of each one, as it is read so far.
        sure: whether that reading is more than a guess.
        ordered: whether the order is that of the layers.
    """

    modules: Sequence[Module]
    readings: Sequence[Reading | None]
    ends: Sequence[Ends]
    sure: Sequence[bool]
    ordered: bool

    def reads_after(self, width: int, index: int, *, guesses: bool = False) -> bool:
        """Whether a module behind this one, or any other where the order is lost, reads this width."""
        return width > 1 and any(e.reads == width and (guesses or s) for e, s in self._others(index, after=True))

    def writes_before(self, width: int, index: int, *, guesses: bool = False) -> bool:
        """Whether a module before this one, or any other where the order is lost, writes this width."""
        return width > 1 and any(e.writes == width and (guesses or s) for e, s in self._others(index, after=False))

    def flattened_before(self, width: int, index: int) -> bool:
        """Whether kernels before this module write channels of which this width is a multiple."""
        kernels = (r for r in self.readings[:index] if r is not None and r.kind.endswith("kernel_matrix"))
        return any(w > 1 and width > w and width % w == 0 for w in (ends_of(r).writes for r in kernels))

    def has_head(self, entries: int, width: int, index: int) -> bool:
        """Whether another module surely maps this width to as many outputs as a table has entries."""
        others = (*self.ends[:index], Ends(), *self.ends[index + 1 :])
        return any(s and e == Ends(width, entries) for e, s in zip(others, self.sure, strict=True))

    def _others(self, index: int, *, after: bool) -> list[tuple[Ends, bool]]:
        pairs = list(zip(self.ends, self.sure, strict=True))
        if self.ordered:
            return pairs[index + 1 :] if after else pairs[:index]
        return pairs[:index] + pairs[index + 1 :]


def evidence_of(modules: Sequence[Module], readings: Sequence[Reading | None], *, ordered: bool) -> Evidence:
    """Gather it."""
    sure = [r is not None and (r.confidence != "guess" or r.kind == "diagonal") for r in readings]
    return Evidence(modules, readings, [ends_of(r) for r in readings], sure, ordered)
