"""The cheapest way to read a row of layers, each of which reads what another one writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

__all__ = ["Choice", "Option", "Passed", "cheapest"]


@dataclass(frozen=True, slots=True)
class Passed:
    """What a layer finds before it.

    Attributes:
        channels: width that the last kernel or normalisation wrote.
        width: width that the last layer of any kind wrote.
    """

    channels: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True)
class Option:
    """One way to read a layer after what it finds before it: its cost, its groups, and what it leaves behind."""

    kind: str
    cost: float
    left: Passed
    groups: int = 1

    @property
    def word(self) -> str:
        """What tells it from the others: ``grouped_kernel_matrix:4``."""
        return f"{self.kind}:{self.groups}" if self.groups > 1 else self.kind


@dataclass(frozen=True, slots=True)
class Choice:
    """The cheapest reading of one layer in the cheapest reading of all.

    Attributes:
        option: the reading.
        margins: word of every other reading to what the whole would cost more with it.
    """

    option: Option
    margins: dict[str, float]

    @property
    def margin(self) -> float:
        """Cost of the second best; infinite if there is none."""
        return min(self.margins.values(), default=inf)


Layer = Callable[[Passed], Sequence[Option]]


def cheapest(layers: Sequence[Layer]) -> tuple[float, list[Choice]]:
    """Cost of the cheapest reading of all layers in a row, and each layer's part in it.

    References:
        Viterbi 1967, with the least cost through every option from a second pass backwards.
    """
    steps: list[dict[Passed, Sequence[Option]]] = []
    reached: dict[Passed, float] = {Passed(): 0.0}
    forward: list[dict[Passed, float]] = []
    for layer in layers:
        forward.append(reached)
        step = {passed: layer(passed) for passed in reached}
        following: dict[Passed, float] = {}
        for passed, options in step.items():
            for option in options:
                cost = reached[passed] + option.cost
                following[option.left] = min(following.get(option.left, inf), cost)
        steps.append(step)
        reached = following
    ahead = dict.fromkeys(reached, 0.0)
    choices: list[Choice] = []
    for step, before in zip(reversed(steps), reversed(forward), strict=True):
        choices.append(_choice(step, before, ahead))
        ahead = {p: min(o.cost + ahead[o.left] for o in options) for p, options in step.items()}
    return min(reached.values(), default=0.0), choices[::-1]


def _choice(step: dict[Passed, Sequence[Option]], before: dict[Passed, float], ahead: dict[Passed, float]) -> Choice:
    best: dict[str, tuple[float, Option]] = {}
    for passed, options in step.items():
        for option in options:
            total = before[passed] + option.cost + ahead[option.left]
            if total < best.get(option.word, (inf,))[0]:
                best[option.word] = (total, option)
    word = min(best, key=lambda w: best[w][0])
    least = best[word][0]
    return Choice(best[word][1], {w: total - least for w, (total, _) in best.items() if w != word})
