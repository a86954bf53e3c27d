"""Who reads and who writes data of which width, gathered once for a file."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lmd.sources.reading import Reading
from lmd.sources.rules.ends import Ends, ends_of
from lmd.sources.rules.module import Module

__all__ = ["Evidence", "evidence_of", "vote_keys"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The ends of every module.

    Attributes:
        modules: in the order of the file.
        readings: what is known of each so far.
        ordered: whether the order is that of the layers.
        readers: width and whether that is more than a guess to the indices of the modules that read it, in order.
        writers: the same for those that write it.
        heads: what dense layers surely read and write, to their number.
        channels: width to the first kernel that writes it.
        tables: shapes of embeddings.
        votes: name, parent or grandparent to the kinds of the matrices whose biases tell.
    """

    modules: Sequence[Module]
    readings: Sequence[Reading | None]
    ordered: bool
    readers: dict[tuple[int, bool], list[int]]
    writers: dict[tuple[int, bool], list[int]]
    heads: Counter[Ends]
    channels: dict[int, int]
    tables: frozenset[tuple[int, ...]]
    votes: dict[tuple[str, str], Counter[str]]

    def reads_after(self, width: int, index: int, *, guesses: bool = False) -> bool:
        """Whether a module behind this one, or any other where the order is lost, reads this width."""
        lists = [self.readers.get((width, sure), []) for sure in ((True, False) if guesses else (True,))]
        return width > 1 and any(
            i > index or (not self.ordered and i != index) for found in lists for i in (*found[:2], *found[-2:])
        )

    def writes_before(self, width: int, index: int, *, guesses: bool = False) -> bool:
        """Whether a module before this one, or any other where the order is lost, writes this width."""
        lists = [self.writers.get((width, sure), []) for sure in ((True, False) if guesses else (True,))]
        return width > 1 and any(
            i < index or (not self.ordered and i != index) for found in lists for i in (*found[:2], *found[-2:])
        )

    def flattened_before(self, width: int, index: int) -> bool:
        """Whether kernels before this module write channels of which this width is a multiple."""
        return any(1 < w < width and width % w == 0 and first < index for w, first in self.channels.items())

    def has_head(self, entries: int, width: int) -> bool:
        """Whether a layer surely maps this width to as many outputs as a table has entries."""
        return self.heads[Ends(width, entries)] > 0

    def is_first(self, index: int) -> bool:
        """Whether no module before this one writes anything."""
        return min((found[0] for found in self.writers.values()), default=index) >= index

    def is_last(self, index: int) -> bool:
        """Whether no module behind this one reads anything."""
        return max((found[-1] for found in self.readers.values()), default=index) <= index


def evidence_of(modules: Sequence[Module], readings: Sequence[Reading | None], *, ordered: bool) -> Evidence:
    """Gather it."""
    readers: dict[tuple[int, bool], list[int]] = defaultdict(list)
    writers: dict[tuple[int, bool], list[int]] = defaultdict(list)
    votes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    heads: Counter[Ends] = Counter()
    channels: dict[int, int] = {}
    for i, (module, reading) in enumerate(zip(modules, readings, strict=True)):
        if reading is None:
            continue
        ends, sure = ends_of(reading), reading.confidence != "guess" or reading.kind == "diagonal"
        for width, found in ((ends.reads, readers), (ends.writes, writers)):
            if width:
                found[width, sure].append(i)
        heads[ends] += sure
        if reading.kind.endswith("kernel_matrix"):
            channels.setdefault(ends.writes, i)
        if reading.confidence == "shape" and reading.kind in ("dense", "transposed_dense"):
            for key in vote_keys(module):
                votes[key][reading.kind] += 1
    tables = frozenset(r.shape for r in readings if r is not None and r.kind == "embedding")
    return Evidence(modules, readings, ordered, dict(readers), dict(writers), heads, channels, tables, dict(votes))


def vote_keys(module: Module) -> tuple[tuple[str, str], ...]:
    """Groups of modules that are likely stored alike, the closest first."""
    parent = module.parent
    return ("name", module.name), ("parent", parent), ("above", parent.rpartition(".")[0]), ("file", "")
