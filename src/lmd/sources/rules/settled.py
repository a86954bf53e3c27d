"""What a kernel is, once the chain, its siblings and its name have been heard."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lmd.sources.reading import Confidence, Reading
from lmd.sources.rules.chain import Choice
from lmd.sources.rules.kernels import SURE, names_rise
from lmd.sources.rules.module import Module

__all__ = ["Votes", "settled", "votes_of"]

_PLAIN, _GROUPED, _TRANSPOSED = "kernel_matrix", "grouped_kernel_matrix", "transposed_kernel_matrix"


@dataclass(frozen=True, slots=True)
class Votes:
    """Kernels of which it is sure whether they are transposed.

    Attributes:
        modules: all modules of the file.
        transposed: index to whether it is.
        sizes: sizes of the kernels that are not.
        any_transposed: whether any of them is.
        under: path and how far above to those of them that stand under it, in order.
    """

    modules: Sequence[Module]
    transposed: Mapping[int, bool]
    sizes: frozenset[tuple[int, ...]]
    any_transposed: bool
    under: Mapping[tuple[str, int], list[int]]


def votes_of(modules: Sequence[Module], first: Sequence[Reading | None], choices: Mapping[int, Choice]) -> Votes:
    """Gather those that their bias, or the layers beside them, decide."""
    transposed: dict[int, bool] = {}
    sizes = set()
    for i, choice in choices.items():
        reading = first[i]
        kind = choice.option.kind
        rivals = [m for w, m in choice.margins.items() if (_kind(w) == _TRANSPOSED) != (kind == _TRANSPOSED)]
        if reading is None or min(rivals, default=1.0) < SURE:
            continue
        transposed[i] = kind == _TRANSPOSED
        if kind != _TRANSPOSED:
            sizes.add(reading.shape[2:])
    under: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i in sorted(transposed):
        under[modules[i].parent, 1].append(i)
        under[modules[i].parent.rpartition(".")[0], 2].append(i)
    return Votes(modules, transposed, frozenset(sizes), any(transposed.values()), dict(under))


def settled(index: int, reading: Reading, choice: Choice, votes: Votes) -> Reading:
    """The reading of one kernel with what decided it."""
    kind = choice.option.kind
    if choice.margin >= SURE:
        if reading.confidence == "shape" and kind == reading.kind:
            return reading
        return _as(reading, choice, choice.option.word, "siblings", _beside(reading, choice))
    if index not in votes.transposed and reading.confidence != "shape":
        voted = _voted(index, reading, votes)
        if voted is not None:
            return _as_voted(reading, choice, *voted)
    return _as(
        reading, choice, choice.option.word, "guess", f"{_beside(reading, choice)}; other readings fit nearly as well"
    )


def _beside(reading: Reading, choice: Choice) -> str:
    outputs, inputs = reading.shape[:2]
    if choice.option.kind == _GROUPED:
        groups = choice.option.groups
        return f"{groups * inputs} channels before it, and each kernel reads {inputs}: {groups} groups"
    if choice.option.kind == _TRANSPOSED:
        return f"it reads {outputs} and writes {inputs} channels, as the layers beside it ask"
    return f"it reads {inputs} and writes {outputs} channels, as the layers beside it ask"


def _kind(word: str) -> str:
    return word.partition(":")[0]


def _as(reading: Reading, choice: Choice, word: str, confidence: Confidence, reason: str) -> Reading:
    kind, _, number = word.partition(":")
    rivals = sorted(choice.margins, key=lambda w: choice.margins[w])
    words = [choice.option.word, *rivals, *reading.alternatives]
    # other groups by their number, another kind by its name alone
    others = dict.fromkeys(w if _kind(w) == kind else _kind(w) for w in words if w != word)
    settings = {"groups": int(number or 1)} if kind != _PLAIN else {}
    suggested = next((int(w.partition(":")[2]) for w in words if _kind(w) == _GROUPED and ":" in w), 0)
    if kind != _GROUPED and suggested:
        settings["or_groups"] = suggested
    return replace(
        reading, kind=kind, confidence=confidence, alternatives=tuple(others), reason=reason, settings=settings
    )


def _as_voted(reading: Reading, choice: Choice, transposed: bool, sure: bool, reason: str) -> Reading:  # noqa: FBT001
    if transposed:
        return _as(reading, choice, _TRANSPOSED, "siblings" if sure else "guess", reason)
    costs = {choice.option.word: 0.0, **choice.margins}
    costs = {word: cost for word, cost in costs.items() if _kind(word) != _TRANSPOSED}
    word = min(costs, key=lambda w: costs[w])
    clear = all(cost - costs[word] >= SURE for w, cost in costs.items() if w != word)
    return _as(reading, choice, word, "siblings" if sure and clear else "guess", reason)


def _voted(index: int, reading: Reading, votes: Votes) -> tuple[bool, bool, str] | None:
    """Whether it is transposed, whether that is sure, and why; None if nothing speaks for either."""
    module = votes.modules[index]
    around = _around(index, votes)
    numbered = {votes.transposed[i] for i in around if module.stem and votes.modules[i].stem == module.stem}
    before = [votes.transposed[i] for i in around if i < index][-1:]
    after = [votes.transposed[i] for i in around if i > index][:1]
    unanimous = len({votes.transposed[i] for i in around}) == 1
    rises = names_rise(module, reading) and not (unanimous and any(before + after))
    usual = bool(votes.transposed) and not votes.any_transposed and reading.shape[2:] in votes.sizes
    # the first line that holds
    lines = (
        (len(numbered) == 1, any(numbered), True, f"as others named {module.stem!r} and a number beside it"),
        (rises, True, False, f"{module.name!r} names a transposed convolution"),
        (bool(before) and before == after, any(before), True, "as the kernels before and behind it"),
        (unanimous, any(before + after), True, f"as all others under {module.parent!r}"),
        (usual, False, True, "no kernel of the file is transposed, and others have its size"),
    )
    return next(((transposed, sure, why) for holds, transposed, sure, why in lines if holds), None)


def _around(index: int, votes: Votes) -> list[int]:
    """Decided kernels under the same parent; under its parent's if it is alone there."""
    parent = votes.modules[index].parent
    near = votes.under.get((parent, 1), [])
    return near if near or not parent else votes.under.get((parent.rpartition(".")[0], 2), [])
