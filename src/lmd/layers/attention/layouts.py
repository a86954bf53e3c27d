"""Where the outputs of query, key and value lie in the weights that an attention layer stores."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from torch import nn

from lmd.layers.attention.children import Found
from lmd.layers.attention.choice import Choice
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.norms import is_norm_of_heads
from lmd.layers.attention.pieces import HeadStack
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.settings import Settings
from lmd.layers.attention.stored import bends, stored_projection
from lmd.layers.registry import join
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["Layout", "layout_of"]

_NO_OUTPUT = "no value_output: the module holds no output projection, its values are what its heads give"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The projections of an attention layer and its heads.

    Attributes:
        roles: ``query``, ``key``, ``value``, and ``gate`` and ``output`` where there are any; what is known of them.
        rows: what is to be shown, output last.
        heads: None where they are not known.
        missing: circuits that there are none of.
        note: what is to be said of the circuits too.
        guessed: whether the circuits are a guess.
        about: what is to be said of a circuit only.
    """

    roles: Mapping[str, Projection]
    rows: tuple[Projection, ...]
    heads: Heads | None
    missing: frozenset[str]
    note: str
    guessed: bool = False
    about: Mapping[str, str] = field(default_factory=dict)


def layout_of(module: nn.Module, path: str, found: Found, settings: Settings, network: Network) -> Layout:
    """The projections of a module and its heads if they are known.

    Raises:
        KeyError: a weight that the module has is not in the file.
    """
    stored = {role: stored_projection(path, child, role, network) for role, child in found.roles.items()}
    output = stored.pop("output", None)
    # heads of a mixed attention share the output with a convolution, which comes behind them
    read = output.inputs if output and "head_ratio" not in settings.own else None
    choice = Choice(stored, settings, read, has_norms=any(is_norm_of_heads(n) for n in found.owner._modules))
    judged = choice.untried() if path in network.readings else choice.judged(module, path, found, network)
    roles, heads = judged.parts
    inside = join(path, found.inside) if found.inside else path
    roles = {role: _with_bias(part, inside, found.owner, network) for role, part in roles.items()}
    reasons = {**judged.reasons, **_reasons(found, has_output=output is not None)}
    return replace(_finished(roles, output, heads, reasons, judged.note), guessed=judged.guessed, about=judged.about)


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
