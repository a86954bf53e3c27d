"""What the modules of a file say about each other, gathered once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lmd.sources.reading import Reading
from lmd.sources.rules.module import Module
from lmd.sources.rules.own_shape import EMBEDDING

__all__ = ["Evidence", "evidence_of", "out_width"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The siblings of every module.

    Attributes:
        modules: in the order of the file.
        first: what each one's own shapes say.
        ordered: whether that order is the order of the layers.
        widths: width to the number of modules whose data have it at one end.
        matrix_kinds: kinds of matrices that biases decided.
        kernel_kinds: the same for kernels, by ``("stem", name)``, ``("parent", path)`` and ``("file", "")``.
        norms: widths of the normalisations.
        written: width to the index of the first module that writes it.
        before: for each module the width that the last one before it writes, 0 if none is known.
    """

    modules: Sequence[Module]
    first: Sequence[Reading | None]
    ordered: bool
    widths: Counter[int]
    matrix_kinds: frozenset[str]
    kernel_kinds: dict[tuple[str, str], Counter[str]]
    norms: frozenset[int]
    written: dict[int, int]
    before: Sequence[int]

    def support(self, module: Module, index: int, width: int) -> int:
        """How many other modules have data of this width at one end."""
        return self.widths[width] - (width in _ends(module, self.first[index]))

    def is_written(self, width: int, index: int) -> bool:
        """Whether a module before this one, or any where the order is lost, writes this width."""
        return width in self.written and (not self.ordered or self.written[width] < index)


def evidence_of(modules: Sequence[Module], first: Sequence[Reading | None], *, ordered: bool) -> Evidence:
    """Gather it."""
    widths: Counter[int] = Counter()
    kernels: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    written: dict[int, int] = {}
    before, last = [], 0
    for index, (module, reading) in enumerate(zip(modules, first, strict=True)):
        widths.update(_ends(module, reading))
        if reading is not None and reading.confidence == "shape" and reading.kind.endswith("kernel_matrix"):
            for key in (("stem", module.stem), ("parent", module.parent), ("file", "")):
                kernels[key][reading.kind] += 1
        before.append(last)
        width = out_width(reading)
        written.setdefault(width, index)
        last = width or last
    decided = [r for r in first if r is not None and r.confidence == "shape"]
    return Evidence(
        modules,
        first,
        ordered,
        widths,
        frozenset(r.kind for r in decided),
        dict(kernels),
        frozenset(r.shape[0] for r in first if r is not None and r.kind == "diagonal"),
        written,
        before,
    )


def out_width(reading: Reading | None) -> int:
    """Channels that a module writes, 0 where its shapes do not tell."""
    if reading is None or not reading.shape:
        return 0
    if reading.kind == "transposed_kernel_matrix":
        return reading.shape[1]
    return reading.shape[0] if reading.kind in ("kernel_matrix", "diagonal", "dense") else 0


def _ends(module: Module, reading: Reading | None) -> set[int]:
    """Widths of the data at both ends of a module, from its kind where that is known, else from its matrix."""
    sure = reading is not None and (reading.confidence != "guess" or reading.kind == "diagonal")
    if reading is not None and reading.shape and sure:
        return set(reading.shape[:2])
    weight = module.shapes.get("weight", ())
    return set(weight) if len(weight) == 2 and not EMBEDDING.search(module.last) else set()
