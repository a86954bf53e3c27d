"""Which of the ways in which query, key and value may lie in the stored weights is the right one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from weakref import WeakKeyDictionary

from torch import nn

from lmd.layers.attention.children import Found
from lmd.layers.attention.fused import (
    Parts,
    counts_of,
    is_told,
    orders_of_fused,
    parts_of_fused,
    parts_of_pairs,
    undivided,
)
from lmd.layers.attention.probing import Conduct, conduct_of
from lmd.layers.attention.projection import Projection
from lmd.layers.attention.settings import Settings
from lmd.layers.attention.trial import trial_of
from lmd.sources.network import Network

__all__ = ["Choice", "Judgement"]

_UNKNOWN = "the number of heads is not known; --kind GLOB=heads:N gives it"
_UNTRIED = "how its heads lie is told by names and sizes only: the module is large or asks for more than tokens"
_BY_CONVENTION = "how its heads lie in a weight of several projections is told by convention only"
_REFUTED = "no query_key and no value_output: a trial of the module refutes every way in which its heads could lie"
_NO_SOFTMAX = "a trial of the module shows that its weights are no softmax over the keys"
_NO_PRODUCT = "no query_key: a trial of the module shows that it compares otherwise than by products of query and key"
_NO_MIX = "no value_output: a trial of the module shows that what its heads give is no linear map of the values"
_CENTRED = "no query_key: a trial of the module shows that it takes a mean out of queries or keys"
_DIVIDED = "a trial of the module shows that it divides queries or keys by their lengths, which is left out"
_OF_ITS_OWN = frozenset({"diffusers", "lmd", "torch", "transformers"})
"""Libraries whose modules do what their names say, and those built here for the files of others."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """A way, and what is to be said of it.

    Attributes:
        parts: the projections and their heads.
        note: for the rows and the circuits.
        guessed: whether circuits are a guess.
        reasons: circuit to why there is none.
        about: circuit to what is to be said of it only.
    """

    parts: Parts
    note: str = ""
    guessed: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a trial said: the place of the way that it confirms, None if it refutes all."""

    place: int | None
    conduct: Conduct | None = None


_ANSWERS: WeakKeyDictionary[nn.Module, dict[object, _Answer | None]] = WeakKeyDictionary()
"""Of the layers of a network that repeat: one trial for all that are of one class, with equal shapes and attributes."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The ways in which the stored weights may be divided.

    Attributes:
        stored: projections by role, without the output.
        settings: who may know more.
        read: columns of the output that heads write with, None if that is not known.
        has_norms: whether queries or keys have norms of their own, which circuits know.
    """

    stored: Mapping[str, Projection]
    settings: Settings
    read: int | None
    has_norms: bool

    def untried(self) -> Judgement:
        """The likeliest."""
        ways = self._ways()
        if not ways:
            return Judgement(self._without_heads(), _UNKNOWN)
        if self._is_sure(ways):
            return Judgement(ways[0])
        return Judgement(self._guessed(ways[0]), _BY_CONVENTION)

    def judged(self, module: nn.Module, path: str, found: Found, network: Network) -> Judgement:
        """The first that the module itself confirms; where it is a library's own, the one that is told."""
        ways, by_hand = self._ways(), not self.settings.is_known and self.settings.library not in _OF_ITS_OWN
        if not by_hand and self._is_sure(ways):
            return self.untried()
        answers = _ANSWERS.setdefault(network.skeleton, {})
        key = self._key(module, found, ways)
        if key not in answers:
            answers[key] = self._asked(module, path, found)
        return self._said(answers[key], by_hand=by_hand)

    def _said(self, answer: _Answer | None, *, by_hand: bool) -> Judgement:
        if answer is None:
            judged = self.untried()
            doubtful = by_hand and judged.parts[1] is not None and not judged.note
            return replace(judged, note=_UNTRIED, guessed=True) if doubtful else judged
        if answer.place is None:
            return Judgement(self._whole(), _REFUTED)
        parts = next(way for place, way in enumerate(self._all_ways()) if place == answer.place)
        conduct = answer.conduct
        if conduct is None:
            return Judgement(parts)
        reasons = {} if conduct.mixes else {"value_output": _NO_MIX}
        about = {}
        if not conduct.compares:
            reasons["query_key"] = _NO_PRODUCT
        elif conduct.divides and conduct.centres and not self.has_norms:
            reasons["query_key"] = _CENTRED
        elif conduct.divides and not self.has_norms:
            about["query_key"] = _DIVIDED
        return Judgement(parts, "" if conduct.softmax else _NO_SOFTMAX, reasons=reasons, about=about)

    def _asked(self, module: nn.Module, path: str, found: Found) -> _Answer | None:
        trial = trial_of(module, path, found)
        if trial is None:
            return None
        for place, (roles, heads) in enumerate(self._all_ways()):
            if heads is not None and trial.confirms(roles, heads):
                return _Answer(place, conduct_of(trial, roles))
        return _Answer(None)

    def _key(self, module: nn.Module, found: Found, ways: list[Parts]) -> object:
        shapes = tuple((name, tuple(parameter.shape)) for name, parameter in module.named_parameters())
        places = tuple((role, child.path) for role, child in found.roles.items())
        own = repr(sorted(self.settings.own.items(), key=lambda item: item[0]))
        # a method that one layer has of its own
        changed = id(module) if any(callable(value) for value in vars(module).values()) else 0
        return type(module), shapes, places, own, changed, tuple(heads for _, heads in ways)

    def _ways(self, count: int | None = None) -> list[Parts]:
        """Those that fit the number of heads that is said, or another one."""
        if "query_key_value" in self.stored:
            found = parts_of_fused(self.stored["query_key_value"], self.settings, self.read, count)
        else:
            found = parts_of_pairs(self.stored, self.settings, self.read, count)
        return [(roles, heads) for roles, heads in found if heads is not None]

    def _all_ways(self) -> Iterator[Parts]:
        """What is said first, then other numbers of heads, then other orders."""
        counts = list(counts_of(self.read or min(part.outputs for part in self.stored.values())))
        others = (way for count in counts for way in self._ways(count))
        whole = self.stored.get("query_key_value")
        orders = (
            way
            for count in (counts if whole is not None else ())
            for way in orders_of_fused(self.stored["query_key_value"], self.settings, self.read, count)
        )
        return chain(self._ways(), others, orders)

    def _is_sure(self, ways: list[Parts]) -> bool:
        """Whether heads are known and lie in one way only, or in a way that is told."""
        if not ways or len({_places(roles) for roles, _ in ways}) == 1:
            return bool(ways)
        whole = next(self.stored[role] for role in ("query_key_value", "key_value", "query_key") if role in self.stored)
        return is_told(whole, self.settings)

    def _without_heads(self) -> Parts:
        if "query_key_value" in self.stored:
            return undivided(self.stored["query_key_value"], self.read)
        return parts_of_pairs(self.stored, self.settings, self.read)[0][0], None

    def _whole(self) -> Parts:
        """As they are stored: what a trial refutes is not divided."""
        roles = {}
        for role, part in self.stored.items():
            alone = role in ("query", "key", "value")
            roles[role] = replace(part, confidence="guess", alternatives=("dense",)) if alone else _undivided(part)
        return roles, None

    def _guessed(self, parts: Parts) -> Parts:
        names = {part.name for role, part in self.stored.items() if role in ("query", "key", "value")}
        roles = {role: part if part.name in names else _as_guess(part) for role, part in parts[0].items()}
        return roles, parts[1]


def _undivided(part: Projection) -> Projection:
    return replace(part, kind="dense")


def _as_guess(part: Projection) -> Projection:
    return replace(part, confidence="guess", alternatives=("dense",))


def _places(roles: Mapping[str, Projection]) -> tuple[object, ...]:
    return tuple((part.name, tuple(part.strips.pieces(0, part.outputs))) for part in roles.values())
