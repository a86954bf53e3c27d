"""Words for a layer, each with the test that must hold before it is said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

from lmd.linalg.chance.noise_limits import farthest_noise

__all__ = ["CHANCE", "RULES", "TESTS", "Rule", "can_be_said", "orderless", "value_of", "words_of"]

CHANCE = 5e-4
"""Level of each of the tests against chance: five of them reject at most 1 of 400 random matrices together."""
_SMALLEST = 8
_OUTLIERS = 0.9
_COLLAPSED = 0.2
_ISOMETRIC = 0.01
TESTS = ("gaussian_p", "shuffled_p", "row_p", "column_p")


@dataclass(frozen=True, slots=True)
class Rule:
    """When a word is said.

    Attributes:
        word: the word.
        holds: of a layer's entry, whether it is said.
        needs: keys of the numbers that the test takes.
        test: the same, for people.
        source: of the test.
    """

    word: str
    holds: Callable[[Mapping[str, Any]], bool]
    needs: tuple[str, ...]
    test: str
    source: str


def words_of(entry: Mapping[str, Any]) -> list[str]:
    """The words whose tests hold, in the order of the rules; a layer none holds for has none.

    Args:
        entry: a layer as the atlas has it: ``shape``, and ``findings`` by key.
    """
    if entry.get("failed") or min(entry["shape"]) < _SMALLEST:
        return []
    return [rule.word for rule in RULES if rule.holds(entry)]


def can_be_said(entry: Mapping[str, Any], word: str) -> bool:
    """Whether the test of a word can be made: the layer is large enough, and has the numbers."""
    rule = next(rule for rule in RULES if rule.word == word)
    large = not entry.get("failed") and min(entry["shape"]) >= _SMALLEST
    return large and all(value_of(entry, key) is not None for key in rule.needs)


def value_of(entry: Mapping[str, Any], key: str, part: str = "value") -> float | int | None:
    """A number of a finding, where there is one."""
    found = entry["findings"].get(key, {}).get(part)
    return found if isinstance(found, int | float) else None


def _random(entry: Mapping[str, Any]) -> bool:
    by_chance = all((p := value_of(entry, key)) is not None and p >= CHANCE for key in TESTS)
    distance, limit = value_of(entry, "gaussian_distance"), farthest_noise(min(entry["shape"]))
    return by_chance and not _too_flat(entry) and distance is not None and distance <= limit


def _too_flat(entry: Mapping[str, Any]) -> bool:
    """Whether the smallest gain is below what that of a Gaussian matrix passes with a probability of 1 - CHANCE.

    References:
        Davidson & Szarek 2001, II.13.
    """
    smallest, norm = value_of(entry, "smallest_gain"), value_of(entry, "frobenius_norm")
    short, long = sorted(entry["shape"])
    least = sqrt(long) - sqrt(short) - sqrt(-2 * log(CHANCE))
    return smallest is None or norm is None or smallest < norm / sqrt(short * long) * least


def _trained(entry: Mapping[str, Any]) -> bool:
    p, spikes = value_of(entry, "shuffled_p"), value_of(entry, "shuffled_spikes")
    return p is not None and p < CHANCE and spikes is not None and spikes >= 1


def orderless(entry: Mapping[str, Any]) -> bool:
    """Whether the weights would have their spikes in any order: for the sizes of a few of them, or for their mean."""
    beyond, alone = value_of(entry, "gaussian_spikes"), value_of(entry, "outlier_spikes")
    if not beyond or not alone:
        return False
    size, order = value_of(entry, "gaussian_p"), value_of(entry, "shuffled_p")
    by_order = size is not None and order is not None and size < CHANCE <= order
    return by_order or alone >= _OUTLIERS * beyond


def _outlier_driven(entry: Mapping[str, Any]) -> bool:
    largest, random = value_of(entry, "largest_weight"), value_of(entry, "largest_weight", "baseline")
    return orderless(entry) and largest is not None and random is not None and largest > random


def _collapsed(entry: Mapping[str, Any]) -> bool:
    rank, random = value_of(entry, "effective_rank"), value_of(entry, "effective_rank", "baseline")
    return rank is not None and bool(random) and rank <= _COLLAPSED * (random or 0)


def _near_isometric(entry: Mapping[str, Any]) -> bool:
    distance, random = value_of(entry, "isometry_distance"), value_of(entry, "isometry_distance", "baseline")
    return distance is not None and distance <= _ISOMETRIC and (random is None or distance <= random / 2)


RULES = (
    Rule(
        "random",
        _random,
        (*TESTS, "smallest_gain", "gaussian_distance"),
        f"none of six tests against chance rejects: `{'`, `'.join(TESTS)}` are all at least {CHANCE:g}; "
        f"`smallest_gain` is not below what 1 - {CHANCE:g} of Gaussian matrices keep, s(√long − √short − "
        f"√(−2 ln {CHANCE:g})); `gaussian_distance` is at most 1.5 log(rank)/rank",
        "Johnstone 2001; John 1972; Schott 2005; Davidson & Szarek 2001",
    ),
    Rule(
        "trained",
        _trained,
        ("shuffled_p", "shuffled_spikes"),
        f"the order of the weights matters: `shuffled_p` < {CHANCE:g}, and at least one of `shuffled_spikes`",
        "Horn 1965; John 1972",
    ),
    Rule(
        "outlier-driven",
        _outlier_driven,
        ("gaussian_spikes", "outlier_spikes", "largest_weight"),
        f"a few huge weights make the spikes: there are `outlier_spikes`, and they are at least {_OUTLIERS:.0%} of "
        f"`gaussian_spikes`, or the order of the weights does not matter (`shuffled_p` >= {CHANCE:g} > `gaussian_p`); "
        "and `largest_weight` is above that of a Gaussian layer",
        "Horn 1965; Dettmers et al. 2022",
    ),
    Rule(
        "collapsed",
        _collapsed,
        ("effective_rank",),
        f"few directions carry the layer: `effective_rank` is at most {_COLLAPSED:g} of that of a random matrix",
        "Roy & Vetterli 2007",
    ),
    Rule(
        "near-isometric",
        _near_isometric,
        ("isometry_distance",),
        f"all gains are nearly the same: `isometry_distance` is at most {_ISOMETRIC:g}, and at most half of that of a "
        "random matrix",
        "Fan & Hoffman 1955",
    ),
)
"""All words. None is said of a layer with fewer than 8 rows or columns, where no test can tell."""
