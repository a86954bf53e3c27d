"""The loop: damage a file, read it, look at what happened."""

import random
import resource
import sys
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from time import perf_counter

from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import Target

__all__ = ["MOST_GROWTH", "MOST_SECONDS", "Outcome", "fuzz"]

MOST_SECONDS = 5.0
"""For one file."""
MOST_GROWTH = 200 << 20
"""Bytes that this process may grow by."""
_READ_IN_FULL = 50
"""Tensors of a damaged file whose numbers are read too."""


@dataclass(slots=True)
class Outcome:
    """What became of the files of one target.

    Attributes:
        counts: ``correct``, ``unreadable``, ``unsafe`` and ``wrong``.
        slowest: seconds for one file.
        growth: bytes.
        wrong: for each file that harmed, its seed and what happened.
    """

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    growth: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        """How many were read."""
        return self.counts.total()


def fuzz(target: Target, folder: Path, *, files: int, seconds: float, first: int = 0) -> Outcome:
    """Read up to ``files`` damaged files, for up to ``seconds``; file ``n`` is the same in every run."""
    outcome = Outcome()
    seeds = [path.read_bytes() for path in target.seeds(folder)]
    path = folder / f"damaged{target.ending}"
    end, before = perf_counter() + seconds, _peak()
    with target.session() as read:
        for number in range(first, first + files):
            if perf_counter() > end:
                break
            draw = random.Random(number)
            path.write_bytes(mutated(draw, draw.choice(seeds), draw.choice(seeds)))
            started = perf_counter()
            word, what = _outcome(read, path)
            took = perf_counter() - started
            outcome.slowest = max(outcome.slowest, took)
            if took > MOST_SECONDS:
                word, what = "wrong", f"took {took:.1f} s"
            outcome.counts[word] += 1
            if word == "wrong":
                outcome.wrong.append(f"{target.name} {number}: {what}")
    outcome.growth = _peak() - before
    if outcome.growth > MOST_GROWTH:
        outcome.wrong.append(f"{target.name}: this process grew by {outcome.growth >> 20} MB")
    return outcome


def _outcome(read, path: Path) -> tuple[str, str]:
    try:
        archive = read(path)
        return ("correct", "") if not (what := _incorrect(archive)) else ("wrong", what)
    except UnreadableModelError:
        return "unreadable", ""
    except UnsafeModelError:
        return "unsafe", ""
    except BaseException as fault:  # whatever else comes is what is looked for
        if isinstance(fault, KeyboardInterrupt):
            raise
        return "wrong", f"{type(fault).__name__}: {fault}"[:300]


def _incorrect(archive: Archive) -> str:
    """What is wrong with an archive that claims to be sound; '' if nothing."""
    for record in archive.records[:_READ_IN_FULL]:
        loader = archive.loaders.get(record.name)
        if loader is None:
            continue
        tensor = loader()
        if tuple(tensor.shape) != tuple(loader.shape):
            return f"{record.name} has the shape {tuple(tensor.shape)} and promised {tuple(loader.shape)}"
        if prod(record.shape) != prod(tensor.shape) and not record.logical:
            return f"{record.name} is recorded as {record.shape} and holds {tuple(tensor.shape)}"
    return ""


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
