"""What one head compares, and what it writes: two products of thin factors."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from lmd.layers.attention.comparison import Form, Side, query_key_factors, value_output_factors
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.norms import HeadNorm
from lmd.layers.attention.positions import Rotary
from lmd.layers.attention.projection import Projection
from lmd.layers.attention.remarks import about_query_key, about_value_output
from lmd.layers.registry import join
from lmd.layers.thin_product import ThinProduct
from lmd.sources.loaders import Combined, Loader
from lmd.sources.wishes import Wishes

__all__ = ["Attention", "circuits"]

_Parts = dict[str, Loader | None]


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """An attention layer with its heads known.

    Attributes:
        path: of the module.
        query: rows of all heads, and so on.
        output: None where the module has none.
        heads: how many, how wide.
        rotary: its positions, None without rotary ones.
        norms: of query, key and value, None without.
        left_out: what else the module holds that no circuit takes in, in words.
    """

    path: str
    query: Projection
    key: Projection
    value: Projection
    output: Projection | None
    heads: Heads
    rotary: Rotary | None = None
    norms: tuple[HeadNorm | None, HeadNorm | None, HeadNorm | None] = (None, None, None)
    left_out: str = ""


def circuits(attention: Attention, wishes: Wishes) -> Iterator[ThinProduct]:
    """Each query head's comparison ``x_q^T W_Q^T R W_K x_k``, then what it writes, ``W_O W_V x``.

    With grouped keys and values every query head is taken with the key head that it shares.
    """
    for head in range(attention.heads.queries):
        yield _query_key(attention, head, wishes)
    if attention.output is not None:
        for head in range(attention.heads.queries):
            yield _value_output(attention, attention.output, head, wishes)


def _query_key(attention: Attention, head: int, wishes: Wishes) -> ThinProduct:
    heads, rotary = attention.heads, attention.rotary
    width, shared = heads.width, heads.queries // heads.keys
    query, key, (query_norm, key_norm, _) = attention.query, attention.key, attention.norms
    firsts = _side("query", query, query_norm, head, width, fold_bias=wishes.fold_bias)
    seconds = _side("key", key, key_norm, head // shared, width, fold_bias=wishes.fold_bias)
    parts = {**firsts, **seconds}
    known = rotary.frequencies if rotary is not None and isinstance(rotary.frequencies, tuple) else ()
    if rotary is not None and not isinstance(rotary.frequencies, tuple):
        parts["frequencies"] = rotary.frequencies
    ahead, behind = max(wishes.distance, 0), max(-wishes.distance, 0)
    sign = -1 if rotary is not None and rotary.backwards else 1
    form = Form(
        labels=_labels(parts),
        first=_form(query, query_norm, sign * ahead),
        second=_form(key, key_norm, sign * behind),
        frequencies=known,
        interleaved=rotary is not None and rotary.interleaved,
        factor=1.0 if rotary is None else rotary.factor,
    )
    out, inn = query.inputs + _columns(firsts), key.inputs + _columns(seconds)
    loader = Combined(partial(query_key_factors, form=form), _given(parts), (out + inn, width))
    biased = (query.bias is not None or key.bias is not None, query_norm, key_norm)
    note = about_query_key(biased, rotary, wishes, attention.left_out)
    name = join(attention.path, f"query_key.{head}")
    constants = (firsts.get("query_bias") is not None, seconds.get("key_bias") is not None)
    return ThinProduct(
        name, "query_key", (out, inn), loader, view_of=query.name, note=note, inner=width, constants=constants
    )


def _value_output(attention: Attention, output: Projection, head: int, wishes: Wishes) -> ThinProduct:
    heads, value, norm = attention.heads, attention.value, attention.norms[2]
    width = heads.value_width
    sides = _side("value", value, norm, head // (heads.queries // heads.keys), width, fold_bias=wishes.fold_bias)
    parts = {"output": output.columns(head * width, width), **sides}
    form = Form(_labels(parts), first=_form(value, norm, 0), output_transposed=output.stored_transposed)
    out, inn = output.outputs, value.inputs + _columns(sides)
    loader = Combined(partial(value_output_factors, form=form), _given(parts), (out + inn, width))
    biases = (value.bias is not None, output.bias is not None)
    note = about_value_output(biases, norm, wishes, gated=heads.gated, left_out=attention.left_out)
    name = join(attention.path, f"value_output.{head}")
    constants = (False, sides.get("value_bias") is not None)
    return ThinProduct(
        name, "value_output", (out, inn), loader, view_of=output.name, note=note, inner=width, constants=constants
    )


def _side(
    role: str, projection: Projection, norm: HeadNorm | None, head: int, width: int, *, fold_bias: bool
) -> _Parts:
    """What is to be read for one head's rows of a projection, by label."""
    start, outputs = head * width, projection.outputs
    parts: _Parts = {role: projection.rows(start, width)}
    if fold_bias:
        parts[f"{role}_bias"] = projection.biases(start, width)
    if norm is None:
        return parts
    parts[f"{role}_gain"] = norm.gain(head, width)
    if fold_bias:
        parts[f"{role}_shift"] = norm.shift(head, width)
    if norm.centred_over_all:
        parts[f"{role}_whole"] = projection.rows(0, outputs)
        if fold_bias:
            parts[f"{role}_whole_bias"] = projection.biases(0, outputs)
    return parts


def _columns(parts: _Parts) -> int:
    """How many inputs there are beside those of the projection: for a bias, for a shift."""
    return sum(
        part is not None
        for label, part in parts.items()
        if label.count("_") == 1 and label.endswith(("_bias", "_shift"))
    )


def _form(projection: Projection, norm: HeadNorm | None, position: int) -> Side:
    transposed = projection.stored_transposed
    if norm is None:
        return Side(transposed, position=position)
    return Side(transposed, norm.from_one, norm.centred, norm.behind_turn, position)


def _labels(parts: _Parts) -> tuple[str, ...]:
    return tuple(label for label, part in parts.items() if part is not None)


def _given(parts: _Parts) -> tuple[Loader, ...]:
    return tuple(part for part in parts.values() if part is not None)
