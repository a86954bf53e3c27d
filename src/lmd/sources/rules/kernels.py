"""Kernels that their own shapes leave open: transposed or not, in groups or not."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from lmd.sources.depth_order import names_norm
from lmd.sources.reading import Reading
from lmd.sources.rules.branches import Branch, branches_of, is_kernel
from lmd.sources.rules.chain import Choice, Option, Passed, cheapest
from lmd.sources.rules.ends import ends_of
from lmd.sources.rules.module import Module

__all__ = ["SURE", "kernels_in_chain", "names_rise"]

SURE = 0.5
"""A reading is settled by the layers beside it where every other one would break half a connection more."""

_PLAIN, _GROUPED, _TRANSPOSED = "kernel_matrix", "grouped_kernel_matrix", "transposed_kernel_matrix"
_DEPTHWISE = re.compile(r"dw|depth_?wise|dconv|separable", re.IGNORECASE)
_NAMES_TRANSPOSED = re.compile(r"transp|deconv|convt|conv_t|tconv", re.IGNORECASE)
_NAMES_RISE = re.compile(r"^_?up(s|score|sample|_?conv)?_?\d*$", re.IGNORECASE)
_NAMES_INPUT = re.compile(r"^(conv_?)?(input|in|stem|start|first)(_?conv)?$|stem", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Place:
    """One layer and what surrounds it.

    Attributes:
        earlier: widths that layers before it write; any other layer where the order is lost.
        anywhere: widths that any other layer writes.
        weight: how much its neighbourhood counts, less where the order is guessed.
        branch: what speaks for a branch of its own.
        parts: the kinds its shapes allow, if it is a kernel.
        input: whether it may read the input of the network: by its name, or as the only one whose input nobody writes.
    """

    module: Module
    reading: Reading
    earlier: frozenset[int]
    anywhere: frozenset[int]
    weight: float
    branch: Branch | None
    parts: tuple[str, ...]
    input: bool = False


def kernels_in_chain(
    modules: Sequence[Module], first: Sequence[Reading | None], *, ordered: bool
) -> tuple[float, dict[int, Choice]]:
    """The reading of all kernels together that breaks the fewest connections, and what it would cost to change one."""
    places = _places(modules, first, ordered=ordered)
    layers = [partial(_kernel_options, p) if p.parts else partial(_other_options, p) for p in places.values()]
    cost, choices = cheapest(layers)
    return cost, {i: c for (i, p), c in zip(places.items(), choices, strict=True) if p.parts}


def _places(modules: Sequence[Module], first: Sequence[Reading | None], *, ordered: bool) -> dict[int, _Place]:
    branches = branches_of(modules, first, ordered=ordered)
    places: dict[int, _Place] = {}
    written: set[int] = set()
    before: Module | None = None
    everything = Counter(ends_of(r).writes for r in first)
    alone = None if ordered else _only_unwritten(modules, first, everything)
    for i, (module, reading) in enumerate(zip(modules, first, strict=True)):
        if reading is None or reading.kind in ("vector", "raw"):
            continue
        sure = ordered or (before is not None and _in_a_row(before, module))
        own = Counter([ends_of(reading).writes])
        anywhere = frozenset(everything - own) - {0}
        earlier = frozenset(written) - {0} if ordered else anywhere
        parts = _allowed(module, reading) if is_kernel(reading) else ()
        first_of_all = i == alone or _NAMES_INPUT.search(module.name) is not None
        weight = 1.0 if sure else 0.5
        places[i] = _Place(module, reading, earlier, anywhere, weight, branches.get(i), parts, first_of_all)
        written.add(ends_of(reading).writes)
        before = module
    return places


def _only_unwritten(modules: Sequence[Module], first: Sequence[Reading | None], written: Collection[int]) -> int | None:
    """The one kernel, where it is one, that reads as many channels as no layer writes and is not named depthwise."""
    if any(r is not None and r.kind == "embedding" for r in first):
        return None
    kernels = [i for i, r in enumerate(first) if r is not None and is_kernel(r) and r.shape[1] not in written]
    named = [i for i in kernels if not _DEPTHWISE.search(modules[i].path)]
    # a kernel that reads one channel is more often a depthwise one
    wide = [i for i in named if (r := first[i]) is not None and r.shape[1] > 1]
    candidates = wide or named
    return candidates[0] if len(candidates) == 1 else None


def _in_a_row(before: Module, module: Module) -> bool:
    """Whether the first parts of two paths that differ are numbered: ``0`` and ``1``, ``conv1`` and ``bn1``."""
    pairs = zip(before.path.split("."), module.path.split("."), strict=False)
    differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if differing is None or not all(part[-1:].isdigit() for part in differing):
        return False
    stems = {part.rstrip("0123456789") for part in differing}
    return len(stems) == 1 or sum(names_norm(part) for part in differing) == 1


def _allowed(module: Module, reading: Reading) -> tuple[str, ...]:
    if reading.kind == _TRANSPOSED:
        return (_TRANSPOSED,)
    # one output cannot be in groups
    groups = (_GROUPED,) if reading.shape[0] > 1 else ()
    return (_PLAIN, *groups) if reading.confidence == "shape" else (_PLAIN, *groups, _TRANSPOSED)


def _other_options(place: _Place, passed: Passed) -> tuple[Option, ...]:
    ends = ends_of(place.reading)
    known = {passed.width, passed.channels} - {0}
    cost = 0.0
    if ends.reads and known and ends.reads not in known:
        flattened = place.reading.kind == "dense" and any(ends.reads % w == 0 for w in known)
        cost = 0.1 if flattened else 0.5 if ends.reads in place.earlier else 1.0
    channels = ends.writes if place.reading.kind == "diagonal" else passed.channels
    left = Passed(channels, ends.writes or passed.width)
    return (Option(place.reading.kind, cost * place.weight, left),)


def _kernel_options(place: _Place, passed: Passed) -> tuple[Option, ...]:
    outputs, inputs = place.reading.shape[:2]
    options = []
    for kind in place.parts:
        if kind == _GROUPED:
            options += _in_groups(place, passed)
        elif kind == _TRANSPOSED:
            ends = ends_of(replace(place.reading, kind=_TRANSPOSED))
            cost = _break(ends.reads, place, passed) + _strangeness(place)
            groups = (place.reading.settings or {}).get("groups", 1)
            options.append(Option(kind, cost, Passed(ends.writes, ends.writes), groups))
        else:
            options.append(Option(kind, _break(inputs, place, passed), Passed(outputs, outputs)))
    return tuple(options)


def _before(place: _Place, passed: Passed) -> tuple[int, ...]:
    """Widths that may be the channels before a kernel; a sentence or a signal has its width there, a picture not."""
    widths = (passed.channels, passed.width) if len(place.reading.shape) == 3 else (passed.channels,)
    return tuple(dict.fromkeys(w for w in widths if w))


def _break(reads: int, place: _Place, passed: Passed) -> float:
    before = _before(place, passed)
    if not before or reads in before or (place.weight < 1.0 and not passed.channels):
        return 0.0
    cost = 1.0
    if reads in place.earlier or any(reads - w in place.earlier for w in before if reads > w):
        # from further back, or put together from two layers
        cost = 0.3 if place.reading.shape[0] == place.reading.shape[1] else 0.5
    if len(place.reading.shape) == 3 and 2 * reads in before:
        # a gate between them halves a signal
        cost = min(cost, 0.3)
    if passed.width != passed.channels and reads in place.anywhere:
        cost = min(cost, 0.7)
    if place.branch is not None and reads == place.reading.shape[1]:
        cost = min(cost, 0.0 if place.branch.joined else place.branch.cost)
    if place.input and reads == place.reading.shape[1]:
        cost = min(cost, 0.1)
    # one channel that nobody writes is not written elsewhere either
    return cost if reads == 1 and reads not in place.anywhere else cost * place.weight


def _strangeness(place: _Place) -> float:
    """Transposed convolutions are rarer, and none has a kernel of one position."""
    return 0.1 if prod(place.reading.shape[2:]) > 1 else 1.0


def _in_groups(place: _Place, passed: Passed) -> list[Option]:
    outputs, inputs, *kernel = place.reading.shape
    named = inputs == 1 and _DEPTHWISE.search(place.module.path) is not None
    extra = (0.3 if prod(kernel) == 1 else 0.0) + (0.5 if place.branch is not None and place.branch.joined else 0.0)
    extra -= 0.5 if named else 0.0
    costs: dict[int, float] = {}
    for width in _before(place, passed):
        unsure = 0.0 if place.weight == 1.0 and passed.width in (0, passed.channels) else 0.3
        # several filters for each channel are a picture's, hardly a sequence's
        unsure += 0.4 if inputs == len(kernel) == 1 and width != outputs else 0.0
        unsure += 0.2 if len(kernel) == 1 and width == 2 * inputs else 0.0
        costs[width] = _group_cost(width, outputs, inputs) + unsure
    if inputs == 1 and _before(place, passed):
        # each channel by itself, wherever the channels come from
        known = outputs in place.earlier
        costs[outputs] = min(costs.get(outputs, 1.0), 0.3 if known else 0.7)
    # three or four channels are a picture's
    for width in place.earlier if place.weight < 1.0 and inputs not in (3, 4) else ():
        costs.setdefault(width, 0.2 + _group_cost(width, outputs, inputs))
    options = []
    for width, cost in costs.items():
        groups, rest = divmod(width, inputs)
        if groups > 1 and not rest and outputs % groups == 0:
            options.append(Option(_GROUPED, cost + extra, Passed(outputs, outputs), groups))
    return options


def _group_cost(width: int, outputs: int, inputs: int) -> float:
    """Most grouped kernels write as many channels as they read, some more, few less."""
    usual = 0.25 if outputs == width else 0.35 if outputs > width else 0.45
    return usual + (0.3 if outputs == inputs else 0.0)


def names_rise(module: Module, reading: Reading) -> bool:
    """Whether the name is that of a transposed convolution, or of a rise in size by an even kernel."""
    if _NAMES_TRANSPOSED.search(module.name):
        return True
    return _NAMES_RISE.search(module.name) is not None and all(k % 2 == 0 for k in reading.shape[2:])
