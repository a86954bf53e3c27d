"""Where the outputs of query, key and value lie in the weights that an attention layer stores."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import prod

from torch import nn

from lmd.layers.attention.children import Found
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.fused import Parts, counts_of, is_told, parts_of_fused, parts_of_pairs, undivided
from lmd.layers.attention.pieces import HeadStack
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.settings import Settings
from lmd.layers.attention.stored import bends, stored_projection
from lmd.layers.attention.trial import Trial, trial_of
from lmd.layers.registry import join
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["Layout", "layout_of"]

_UNKNOWN = "the number of heads is not known"
_NO_OUTPUT = "no value_output: the module holds no output projection, its values are what its heads give"
_NOT_CONFIRMED = "a trial of the module did not confirm how its heads lie in its weights"
_NO_SOFTMAX = "a trial of the module shows that its weights are no softmax over the keys"
_BY_CONVENTION = "how its heads lie in a weight of several projections is told by convention only"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The projections of an attention layer and its heads.

    Attributes:
        roles: ``query``, ``key``, ``value``, and ``gate`` and ``output`` where there are any; what is known of them.
        rows: what is to be shown, output last.
        heads: None where they are not known.
        missing: circuits that there are none of.
        note: what is to be said of the circuits too.
    """

    roles: Mapping[str, Projection]
    rows: tuple[Projection, ...]
    heads: Heads | None
    missing: frozenset[str]
    note: str


def layout_of(module: nn.Module, path: str, found: Found, settings: Settings, network: Network) -> Layout:
    """The projections of a module and its heads if they are known.

    Raises:
        KeyError: a weight that the module has is not in the file.
    """
    stored = {role: stored_projection(path, child, role, network) for role, child in found.roles.items()}
    output = stored.pop("output", None)
    # heads of a mixed attention share the output with a convolution, which comes behind them
    read = output.inputs if output and "head_ratio" not in settings.own else None
    choice = _Choice(stored, settings, read)
    trial = None
    if not choice.is_sure() and path not in network.readings:
        trial = trial_of(module, path, found)
    (roles, heads), note = choice.tried(trial) if trial else choice.untried()
    inside = join(path, found.inside) if found.inside else path
    roles = {role: _with_bias(part, inside, found.owner, network) for role, part in roles.items()}
    return _finished(roles, output, heads, _reasons(found, has_output=output is not None), note)


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """The ways in which the stored weights may be divided.

    Attributes:
        stored: projections by role, without the output.
        settings: who may know more.
        read: columns of the output that heads write with, None if that is not known.
    """

    stored: Mapping[str, Projection]
    settings: Settings
    read: int | None

    def ways(self, count: int | None = None) -> list[Parts]:
        """Those that fit the number of heads that is said, or another one."""
        if "query_key_value" in self.stored:
            found = parts_of_fused(self.stored["query_key_value"], self.settings, self.read, count)
        else:
            found = parts_of_pairs(self.stored, self.settings, self.read, count)
        return [(roles, heads) for roles, heads in found if heads is not None]

    def is_sure(self) -> bool:
        """Whether heads are known and lie in one way only, or in a way that is told."""
        ways = self.ways()
        if not ways or len({_places(roles) for roles, _ in ways}) == 1:
            return bool(ways)
        whole = next(self.stored[role] for role in ("query_key_value", "key_value", "query_key") if role in self.stored)
        return is_told(whole, self.settings)

    def untried(self) -> tuple[Parts, str]:
        """The likeliest."""
        ways = self.ways()
        if not ways:
            return self._without_heads(), _UNKNOWN
        if self.is_sure():
            return ways[0], ""
        return self._guessed(ways[0]), _BY_CONVENTION

    def tried(self, trial: Trial) -> tuple[Parts, str]:
        """The first that the module itself confirms."""
        size = self.read or min(part.outputs for part in self.stored.values())
        others = (way for count in counts_of(size) for way in self.ways(count))
        for roles, heads in chain(self.ways(), others):
            if heads is not None and trial.confirms(roles, heads):
                return (roles, heads), "" if trial.is_softmax(roles) else _NO_SOFTMAX
        parts, note = self.untried()
        return parts, f"{note}; {_NOT_CONFIRMED}" if parts[1] else note

    def _without_heads(self) -> Parts:
        if "query_key_value" in self.stored:
            return undivided(self.stored["query_key_value"], self.read)
        return parts_of_pairs(self.stored, self.settings, self.read)[0][0], None

    def _guessed(self, parts: Parts) -> Parts:
        names = {part.name for role, part in self.stored.items() if role in ("query", "key", "value")}
        roles = {role: part if part.name in names else _as_guess(part) for role, part in parts[0].items()}
        return roles, parts[1]


def _as_guess(part: Projection) -> Projection:
    return replace(part, confidence="guess", alternatives=("dense",))


def _places(roles: Mapping[str, Projection]) -> tuple[object, ...]:
    return tuple((part.name, tuple(part.strips.pieces(0, part.outputs))) for part in roles.values())


_BIASES = {"query": ("q_bias", "r_w_bias"), "key": ("k_bias",), "value": ("v_bias",)}
"""Parameters of an attention module that are added to what its projections without a bias give."""


def _with_bias(part: Projection, path: str, owner: nn.Module, network: Network) -> Projection:
    for name in _BIASES.get(part.kind, ()) if part.bias is None else ():
        loader = network.loaders.get(join(path, name)) if owner._parameters.get(name) is not None else None
        if loader is not None and prod(loader.shape) == part.outputs:
            flat: Loader = HeadStack(loader, 0, 1) if len(loader.shape) == 2 else loader
            return replace(part, bias=flat, bias_strips=Strips(0, part.outputs, part.outputs))
    return part


def _reasons(found: Found, *, has_output: bool) -> dict[str, str]:
    """Circuit to why there is none."""
    bent = {role: text for role, child in found.roles.items() if role != "output" and (text := bends(child))}
    reasons = {}
    for circuit, letters in (("query_key", ("query", "key")), ("value_output", ("value",))):
        texts = [text for role, text in bent.items() if any(letter in role for letter in letters)]
        if texts:
            reasons[circuit] = f"no {circuit}, which would be no linear map: {'; '.join(texts)}"
    before = found.roles["output"].before if has_output else ()
    if not has_output:
        reasons["value_output"] = _NO_OUTPUT
    elif before:
        names = ", ".join(type(module).__name__ for module in before)
        reasons.setdefault("value_output", f"no value_output: {names} stands between the values and the output")
    return reasons


def _finished(
    roles: Mapping[str, Projection],
    output: Projection | None,
    heads: Heads | None,
    reasons: Mapping[str, str],
    note: str,
) -> Layout:
    said = {role: part.noted(note) for role, part in roles.items()}
    if heads is not None:
        for circuit, role in (("query_key", "query"), ("value_output", "value")):
            said[role] = said[role].noted(reasons.get(circuit, ""))
    rows = {part.name: part for part in said.values()}
    if output is not None:
        rows[output.name] = output if heads is not None else output.noted(note)
    everything = {**said, **({"output": output} if output is not None else {})}
    return Layout(everything, tuple(rows.values()), heads, frozenset(reasons), note)
