"""What a copy of an attention module does with its queries, keys and values, when these are changed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmd.layers.attention.projection import Projection
from lmd.layers.attention.trial import FAILURES, Trial, Tried

__all__ = ["Conduct", "conduct_of"]

_UNCHANGED = 1e-2
"""Of what a changed sign changes: a normalisation adds a small number to what it divides by."""
_STILL = 1e-9
"""Of the largest number: nothing changed."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How heads weigh and mix.

    Attributes:
        softmax: whether the weights are a softmax over the keys, as far as equal tokens show.
        compares: whether queries and keys matter through their product only.
        divides: whether the length of a query or of a key does not matter.
        centres: whether what all coordinates of a query or of a key have in common does not matter.
        mixes: whether a value of the other sign gives an answer of the other sign.
    """

    softmax: bool
    compares: bool
    divides: bool
    centres: bool
    mixes: bool


def conduct_of(trial: Trial, roles: Mapping[str, Projection]) -> Conduct | None:
    """Change the copy's projections, as these roles lie in its weights; None if it fails."""
    try:
        with torch.no_grad():
            changes = [_changes(trial, roles, further=False), _changes(trial, roles, further=True)]
    except FAILURES:
        return None
    # what is added by position may hide the product, and what is multiplied with it is not to be 0
    best = next((found for found in changes if found["product"]), changes[0])
    return Conduct(trial.is_softmax(roles), best["product"], best["length"], best["mean"], best["value"])


def _changes(trial: Trial, roles: Mapping[str, Projection], *, further: bool) -> dict[str, bool]:
    tried = trial.tried
    with _kept(tried.module):
        _silence(tried, further=further)
        plain = tried.call(tried.tokens)
        sign = _distance(trial, roles, {"query": -1.0}, plain)
        both = _distance(trial, roles, {"query": -2.0, "key": -0.5}, plain)
        longer = min(_distance(trial, roles, {role: 3.0}, plain) for role in ("query", "key"))
        raised = min(_raised(trial, roles, role, plain) for role in ("query", "key"))
        flipped = _distance(trial, roles, {"value": -1.0}, -plain)
    alone = _shared(trial, roles)
    matters = sign > _STILL and not alone
    return {
        "product": alone or (matters and both < _UNCHANGED * sign),
        "length": matters and longer < _UNCHANGED * sign,
        "mean": matters and raised < _UNCHANGED * sign,
        "value": flipped < _UNCHANGED,
    }


def _shared(trial: Trial, roles: Mapping[str, Projection]) -> bool:
    """Whether query and key are one projection, which cannot be changed one without the other."""
    query, key = (trial.marked(roles, [(roles[role], 0, roles[role].outputs)]) for role in ("query", "key"))
    return any(bool((query[name] & key[name]).any()) for name in query)


@contextmanager
def _kept(module: nn.Module) -> Iterator[None]:
    held = [(tensor, tensor.clone()) for tensor in (*module.parameters(), *module.buffers())]
    try:
        yield
    finally:
        for tensor, before in held:
            tensor.copy_(before)


def _silence(tried: Tried, *, further: bool) -> None:
    """Take out what is added to queries, keys and values, ``further`` also what may be added to their product."""
    # a mask may be called bias, as in GPT-2
    masks = {name for name, _ in tried.module.named_buffers() if "running" not in name}
    for name, tensor in (*tried.module.named_parameters(), *tried.module.named_buffers()):
        added = name.rpartition(".")[2] in ("bias", "running_mean") or (further and "." not in name)
        if added and name not in masks:
            tensor.zero_()
    for inner in tried.module.modules() if further else ():
        if isinstance(inner, nn.Embedding):
            inner.weight.zero_()


def _distance(trial: Trial, roles: Mapping[str, Projection], factors: Mapping[str, float], plain: Tensor) -> float:
    """How far off the answer is where projections are multiplied by numbers."""
    reads: Iterable[tuple[str, Tensor, float]] = [
        (name, mask, factor)
        for role, factor in factors.items()
        for name, mask in trial.marked(roles, [(roles[role], 0, roles[role].outputs)]).items()
    ]
    held = {name: trial.tried.weights[name][0].clone() for name, _, _ in reads}
    for name, mask, factor in reads:
        rows = _rows(trial.tried, name)
        rows[mask] *= factor
    return _off(trial.tried, plain, held)


def _raised(trial: Trial, roles: Mapping[str, Projection], role: str, plain: Tensor) -> float:
    """How far off the answer is where every row of a projection has the same added to it."""
    marks = trial.marked(roles, [(roles[role], 0, roles[role].outputs)])
    held = {name: trial.tried.weights[name][0].clone() for name in marks}
    for name, mask in marks.items():
        rows = _rows(trial.tried, name)
        rows[mask] += rows[:1].clone()
    return _off(trial.tried, plain, held)


def _rows(tried: Tried, name: str) -> Tensor:
    weight, axis = tried.weights[name]
    return weight.data.movedim(axis, 0)


def _off(tried: Tried, plain: Tensor, held: Mapping[str, Tensor]) -> float:
    answer = tried.call(tried.tokens)
    for name, before in held.items():
        tried.weights[name][0].copy_(before)
    return float((answer - plain).abs().max() / plain.abs().max().clamp_min(1e-300))
