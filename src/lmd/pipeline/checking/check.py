"""An atlas against a policy."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from torch import nn

from lmd.atlas.atlas import Atlas
from lmd.findings.words import can_be_said, words_of
from lmd.pipeline.checking.policy import Policy, Rule, read_policy
from lmd.pipeline.decompose import decompose

__all__ = ["Breach", "Checked", "check"]

_ONE_SIDED = {"lower": "only a lower bound is known", "upper": "only an upper bound is known"}


@dataclass(frozen=True, slots=True)
class Breach:
    """A demand that a layer does not meet.

    Attributes:
        rule: number of the rule in the policy, from 1.
        demand: what it says.
        layer: name of the layer; '' for the network, and where no layer has such a number.
        value: what was found.
        error: how far that can be off.
        limit: what was allowed.
        verdict: ``broken``; ``undecided`` where the error, or the side of a bound, leaves it open; ``unmeasured`` where
            nothing that the rule is about has such a number.
        reason: more, in words.
    """

    rule: int
    demand: str
    layer: str
    value: float | int | None
    error: float | int | None
    limit: float | int | None
    verdict: Literal["broken", "undecided", "unmeasured"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        network: name of what was checked.
        policy: what it was checked against.
        counts: how many rows each rule was about and had a number for.
        breaches: every demand that is not met, rule by rule.
    """

    network: str
    policy: Policy
    counts: tuple[int, ...]
    breaches: tuple[Breach, ...]

    @property
    def passed(self) -> bool:
        """Whether every demand is met by everything that it is about, and by something."""
        return not self.breaches

    def document(self) -> dict[str, Any]:
        """As one JSON value."""
        rules = [
            {"rule": number, "demand": str(rule), "layers": rule.layers, "checked": count}
            for number, (rule, count) in enumerate(zip(self.policy.rules, self.counts, strict=True), 1)
        ]
        broken = [asdict(breach) for breach in self.breaches]
        return {
            "network": self.network,
            "policy": self.policy.source,
            "passed": self.passed,
            "rules": rules,
            "breaches": broken,
        }


def check(model: nn.Module | str | Path | Atlas, policy: str | Path | Policy, **options: Any) -> Checked:
    """Hold a network's findings against limits.

    A demand is met only where the number meets it with its error, and where the number bounds the quantity from the
    side that the demand is about. A rule that meets no number is a breach too: what is not measured is not passed.

    Args:
        model: an atlas, a folder that holds one, or what ``decompose`` takes.
        policy: a TOML file, or what ``read_policy`` made of one.
        **options: of ``decompose``, for a model: ``data``, ``targets``, ``progress`` and so on.

    Raises:
        ValueError: the policy cannot be checked; or options came with an atlas, which is decomposed already.
        UnreadableModelError: the model cannot be read.
        UnsafeModelError: reading it would run code.
    """
    demanded = policy if isinstance(policy, Policy) else read_policy(policy)
    atlas = _atlas(model, options)
    found = [_held(number, rule, atlas) for number, rule in enumerate(demanded.rules, 1)]
    breaches = tuple(breach for _, some in found for breach in some)
    return Checked(str(atlas.network["name"]), demanded, tuple(count for count, _ in found), breaches)


def _atlas(model: nn.Module | str | Path | Atlas, options: Mapping[str, Any]) -> Atlas:
    held = isinstance(model, Atlas) or (isinstance(model, str | Path) and (Path(model) / "atlas.json").is_file())
    if held and (given := [name for name, value in options.items() if name != "progress" and value is not None]):
        raise ValueError(f"{', '.join(given)} came with an atlas, which holds its findings already; leave them out.")
    if isinstance(model, Atlas):
        return model
    return Atlas.load(model) if held and not isinstance(model, nn.Module) else decompose(model, **options)


def _held(number: int, rule: Rule, atlas: Atlas) -> tuple[int, list[Breach]]:
    """How many rows had a number, and which of them do not meet the rule."""
    fitting = list(_about(rule, atlas))
    about = [entry for entry in fitting if not entry["failed"]]
    failed = [_unmeasured(number, rule, entry["reason"], entry["name"]) for entry in fitting if entry["failed"]]
    count, breaches = _numbers_held(number, rule, about, atlas) if rule.finding else _words_held(number, rule, about)
    return count, [*breaches, *failed]


def _words_held(number: int, rule: Rule, about: list[Mapping[str, Any]]) -> tuple[int, list[Breach]]:
    """Of the rows for which the tests of the words can be made."""
    tested = [(entry, word) for entry in about for word in (*rule.never, *rule.always) if can_be_said(entry, word)]
    breaches = [breach for entry, word in tested if (breach := _wording(number, rule, entry, word)) is not None]
    names = {entry["name"] for entry, _ in tested}
    return len(names), breaches if names else [_unmeasured(number, rule, "no layer that fits can be tested")]


def _numbers_held(number: int, rule: Rule, about: list[Mapping[str, Any]], atlas: Atlas) -> tuple[int, list[Breach]]:
    numbers = list(_numbers(rule, about, atlas))
    found = [(name, one) for name, one in numbers if isinstance(one.get("value"), int | float)]
    if not found:
        reasons = [one.get("reason") or "a curve" for _, one in numbers]
        return 0, [_unmeasured(number, rule, reasons[0] if reasons else "no layer that fits has it")]
    return len(found), [breach for name, one in found for breach in _limits(number, rule, name, one)]


def _about(rule: Rule, atlas: Atlas) -> Iterator[Mapping[str, Any]]:
    for record in atlas.layers:
        entry = record.entry
        fits = fnmatchcase(record.name, rule.layers) and (not rule.kinds or entry["kind"] in rule.kinds)
        if fits and (rule.views or entry["view_of"] is None):
            yield entry


def _numbers(rule: Rule, about: list[Mapping[str, Any]], atlas: Atlas) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if rule.finding in atlas.whole:
        yield "", atlas.whole[rule.finding]
    for entry in about:
        if rule.finding in entry["findings"]:
            yield entry["name"], entry["findings"][rule.finding]


def _wording(number: int, rule: Rule, entry: Mapping[str, Any], word: str) -> Breach | None:
    said = word in words_of(entry)
    if said == (word in rule.always):
        return None
    reason = f"it is {'' if said else 'not '}{word}"
    return Breach(number, str(rule), entry["name"], None, None, None, "broken", reason)


def _limits(number: int, rule: Rule, layer: str, found: Mapping[str, Any]) -> Iterator[Breach]:
    value, error, baseline = found["value"], found.get("error"), found.get("baseline")
    for name in ("at_least", "at_most", "at_least_of_random", "at_most_of_random"):
        times = getattr(rule, name)
        if times is None:
            continue
        of_random = name.endswith("random")
        if of_random and not isinstance(baseline, int | float):
            reason = found.get("reason") or "it has no baseline"
            yield Breach(number, str(rule), layer, value, error, None, "unmeasured", reason)
            continue
        limit = times * baseline if of_random else times
        verdict = _verdict(found, limit, 1 if name.startswith("at_least") else -1)
        if verdict is not None:
            reason = _ONE_SIDED.get(found.get("direction", ""), "") if verdict == "undecided" else ""
            yield Breach(number, str(rule), layer, value, error, limit, verdict, reason)


def _verdict(found: Mapping[str, Any], limit: float | int, sign: int) -> Literal["broken", "undecided"] | None:
    """Whether a number is proved to be on the right side of a limit (None), on the wrong one, or neither.

    Args:
        found: with ``value``, ``error`` and ``direction``: a lower bound proves that the quantity
            is large, and never that it is small; an upper bound the other way round.
        limit: what it is compared with.
        sign: 1 where it must be at least that, -1 where at most.
    """
    room, error, direction = sign * (found["value"] - limit), found.get("error") or 0.0, found.get("direction")
    proves, disproves = ("lower", "upper") if sign > 0 else ("upper", "lower")
    if room >= error and direction != disproves:
        return None
    return "broken" if room <= -error and room < 0 and direction != proves else "undecided"


def _unmeasured(number: int, rule: Rule, reason: str, layer: str = "") -> Breach:
    return Breach(number, str(rule), layer, None, None, None, "unmeasured", reason)
