"""A policy: what a network's findings must satisfy, as a TOML file says it."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from lmd.atlas.layer_record import glossary
from lmd.findings.words import RULES

__all__ = ["Policy", "Rule", "read_policy"]

_LIMITS = ("at_least", "at_most", "at_least_of_random", "at_most_of_random")
_WORDS = ("never", "always")


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand.

    Attributes:
        finding: key of a quantity; '' for a rule about words.
        layers: glob of the layers that it is about.
        kinds: kinds that it is about; all of them when empty.
        at_least: the smallest value allowed.
        at_most: the largest.
        at_least_of_random: the smallest, in baselines: of a random matrix of the same shape and norm, or of chance.
        at_most_of_random: the largest, in baselines.
        never: words that may not be said of a layer.
        always: words that must be.
        views: whether rows for parts of layers count: heads, operators.
    """

    finding: str = ""
    layers: str = "*"
    kinds: tuple[str, ...] = ()
    at_least: float | int | None = None
    at_most: float | int | None = None
    at_least_of_random: float | int | None = None
    at_most_of_random: float | int | None = None
    never: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    views: bool = True

    def __str__(self) -> str:
        """As a person would say it."""
        limits = [
            f"{name.partition('_of_')[0].replace('_', ' ')} {getattr(self, name):g}"
            f"{' times that of a random one' if name.endswith('random') else ''}"
            for name in _LIMITS
            if getattr(self, name) is not None
        ]
        words = [f"{name} {' or '.join(getattr(self, name))}" for name in _WORDS if getattr(self, name)]
        return " ".join(part for part in (self.finding, " and ".join([*limits, *words])) if part)


@dataclass(frozen=True, slots=True)
class Policy:
    """All demands.

    Attributes:
        rules: in the order of the file.
        source: its name.
    """

    rules: tuple[Rule, ...]
    source: str = ""


def read_policy(path: str | Path) -> Policy:
    """The policy that a TOML file says.

    Raises:
        ValueError: it is no TOML, or says what cannot be checked.
        OSError: it cannot be read.
    """
    place = Path(path)
    try:
        told = tomllib.loads(place.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ValueError(f"{place} is no TOML ({fault}); write one [[rule]] for each demand.") from fault
    rules = told.pop("rule", [])
    if told or not isinstance(rules, list) or not rules or not all(isinstance(rule, dict) for rule in rules):
        beside = f"; it holds {', '.join(told)}" if told else ""
        raise ValueError(f"{place} must be a list of rules alone, one [[rule]] for each demand{beside}.")
    return Policy(tuple(_rule(told, f"{place}, rule {number}") for number, told in enumerate(rules, 1)), str(place))


def _rule(told: Mapping[str, Any], place: str) -> Rule:
    known = [f.name for f in fields(Rule)]
    _refuse_unknown(told, known, f"{place} says", "a rule")
    words = {name: _listed(told[name], f"{place}: {name}") for name in (*_WORDS, "kinds") if name in told}
    _refuse_unknown(
        [word for name in _WORDS for word in words.get(name, ())], [rule.word for rule in RULES], place, "a word"
    )
    for name in _LIMITS:
        if name in told and (not _is_number(told[name])):
            raise ValueError(f"{place}: {name} = {told[name]!r} is no number; give one, such as 0.5.")
    for name, kind in (("finding", str), ("layers", str), ("views", bool)):
        if name in told and not isinstance(told[name], kind):
            raise ValueError(
                f"{place}: {name} = {told[name]!r} must be of type {kind.__name__}; write it so, or leave it out."
            )
    rule = Rule(**{**told, **words})
    limited = any(getattr(rule, name) is not None for name in _LIMITS)
    if bool(rule.finding) != limited or not (limited or rule.never or rule.always):
        said = ", ".join(told) or "nothing"
        raise ValueError(
            f"{place} says {said}; it must name a finding and a limit ({', '.join(_LIMITS)}), or words (never, always)."
        )
    if rule.finding:
        _refuse_unknown([rule.finding], list(glossary()), place, "a finding")
    return rule


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _listed(value: Any, place: str) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f'{place} = {value!r} must be a word or a list of them; write one, such as "random".')
    return tuple(found)


def _refuse_unknown(given: Iterable[str], known: list[str], place: str, what: str) -> None:
    for one in given:
        if one not in known:
            near = get_close_matches(one, known, 3) or known[:6]
            raise ValueError(f"{place} {one!r}, which is not {what} that is known; did you mean {', '.join(near)}?")
