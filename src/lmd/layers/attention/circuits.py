"""What one head compares, and what it writes: two products of thin factors."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.attention.counts import Heads
from lmd.layers.attention.norms import HeadNorm
from lmd.layers.attention.positions import Rotary
from lmd.layers.attention.projection import Projection
from lmd.layers.registry import join
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.linalg.rotary import rotated
from lmd.sources.loaders import Combined, Loader
from lmd.sources.wishes import Wishes

__all__ = ["Attention", "circuits"]


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """An attention layer with its heads known.

    Attributes:
        path: of the module.
        query: rows of all heads, and so on.
        output: None where the module has none.
        heads: how many, how wide.
        rotary: its positions, None without rotary ones.
        norms: of query and key, None without.
    """

    path: str
    query: Projection
    key: Projection
    value: Projection
    output: Projection | None
    heads: Heads
    rotary: Rotary | None = None
    norms: tuple[HeadNorm | None, HeadNorm | None] = (None, None)


def circuits(attention: Attention, wishes: Wishes) -> Iterator[ThinProduct]:
    """Each query head's comparison ``x_q^T W_Q^T R W_K x_k``, then what it writes, ``W_O W_V x``.

    With grouped keys and values every query head is taken with the key head that it shares.
    """
    note = _note(attention, wishes)
    for head in range(attention.heads.queries):
        yield _query_key(attention, head, wishes, note)
    if attention.output is not None:
        for head in range(attention.heads.queries):
            yield _value_output(attention, attention.output, head, wishes)


@dataclass(frozen=True, slots=True)
class _Form:
    """How the parts of a circuit become its factors; plain data, so that it can be sent to another machine."""

    labels: tuple[str, ...]
    transposed: tuple[str, ...]
    from_one: tuple[str, ...] = ()
    centred: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()
    distance: int = 0
    interleaved: bool = False


def _query_key(attention: Attention, head: int, wishes: Wishes, note: str) -> ThinProduct:
    width, shared = attention.heads.width, attention.heads.queries // attention.heads.keys
    parts: dict[str, Loader | None] = {}
    places = {"query": head, "key": head // shared}
    norms = dict(zip(places, attention.norms, strict=True))
    projections = {"query": attention.query, "key": attention.key}
    for role, place in places.items():
        parts[role] = projections[role].rows(place * width, width)
        norm = norms[role]
        if wishes.fold_bias:
            parts[f"{role}_bias"] = projections[role].biases(place * width, width)
        parts[f"{role}_gain"] = norm.of_head(place, width) if norm else None
    rotary = attention.rotary if wishes.distance else None
    known = () if rotary is None or not isinstance(rotary.frequencies, tuple) else rotary.frequencies
    if rotary is not None and not isinstance(rotary.frequencies, tuple):
        parts["frequencies"] = rotary.frequencies
    form = _Form(
        labels=_labels(parts),
        transposed=tuple(role for role, projection in projections.items() if projection.stored_transposed),
        from_one=tuple(role for role, norm in norms.items() if norm and norm.from_one),
        centred=tuple(role for role, norm in norms.items() if norm and norm.centred),
        frequencies=known,
        distance=wishes.distance,
        interleaved=rotary.interleaved if rotary else False,
    )
    out, inn = (projections[role].inputs + (parts.get(f"{role}_bias") is not None) for role in places)
    loader = Combined(partial(_query_key_factors, form=form), _given(parts), (out + inn, width))
    name = join(attention.path, f"query_key.{head}")
    return ThinProduct(name, "query_key", (out, inn), loader, view_of=attention.query.name, note=note, inner=width)


def _value_output(attention: Attention, output: Projection, head: int, wishes: Wishes) -> ThinProduct:
    width, shared = attention.heads.value_width, attention.heads.queries // attention.heads.keys
    start = head // shared * width
    parts = {
        "output": output.columns(head * width, width),
        "value": attention.value.rows(start, width),
        "value_bias": attention.value.biases(start, width) if wishes.fold_bias else None,
    }
    turned = tuple(p.kind for p in (output, attention.value) if p.stored_transposed)
    form = _Form(_labels(parts), tuple("output" if kind == "attention_output" else kind for kind in turned))
    out, inn = output.outputs, attention.value.inputs + (parts["value_bias"] is not None)
    loader = Combined(partial(_value_output_factors, form=form), _given(parts), (out + inn, width))
    note = "before the gate" if attention.heads.gated else ""
    if parts["value_bias"] is not None:
        note = "; ".join(filter(None, (note, "the last input is the constant 1; the bias of the output is no head's")))
    name = join(attention.path, f"value_output.{head}")
    return ThinProduct(name, "value_output", (out, inn), loader, view_of=output.name, note=note, inner=width)


def _labels(parts: dict[str, Loader | None]) -> tuple[str, ...]:
    return tuple(label for label, part in parts.items() if part is not None)


def _given(parts: dict[str, Loader | None]) -> tuple[Loader, ...]:
    return tuple(part for part in parts.values() if part is not None)


def _query_key_factors(*parts: Tensor, form: _Form) -> Float64[Tensor, "out_and_in width"]:
    given = dict(zip(form.labels, parts, strict=True))
    Q, K = (_head(given, role, form) for role in ("query", "key"))
    frequencies = given.get("frequencies", torch.tensor(form.frequencies, dtype=torch.float64)).double()
    if form.distance and len(frequencies):
        Q = rotated(Q, form.distance * frequencies, interleaved=form.interleaved)
    return stacked(Q.T, K)


def _value_output_factors(*parts: Tensor, form: _Form) -> Float64[Tensor, "out_and_in width"]:
    given = dict(zip(form.labels, parts, strict=True))
    O = given["output"].double()  # noqa: E741 - the literature's letter
    return stacked(O.T if "output" in form.transposed else O, _head(given, "value", form))


def _head(given: dict[str, Tensor], role: str, form: _Form) -> Float64[Tensor, "width in"]:
    """One head's rows in float64: with the bias as a last column, then centred, then scaled, as the layer does."""
    W = given[role].double()
    W = W.T if role in form.transposed else W
    if f"{role}_bias" in given:
        W = torch.cat([W, given[f"{role}_bias"].double()[:, None]], dim=1)
    if role in form.centred:
        W = W - W.mean(0)
    if f"{role}_gain" in given:
        gain = given[f"{role}_gain"].double().reshape(-1, 1)
        W = W * (gain + 1.0 if role in form.from_one else gain)
    return W


def _note(attention: Attention, wishes: Wishes) -> str:
    texts = ["before scaling and softmax"]
    if any(attention.norms):
        texts.append("with the gains of the query and key norms; dividing by their sizes is not linear and left out")
    if wishes.fold_bias and (attention.query.bias or attention.key.bias):
        texts.append("biases folded in: the last row and column belong to the constant 1")
    if wishes.distance:
        texts.append(_about_distance(attention.rotary, wishes.distance))
    elif attention.rotary is not None:
        texts.append("rotary positions at distance 0")
    return "; ".join(texts)


def _about_distance(rotary: Rotary | None, distance: int) -> str:
    if rotary is None:
        return f"no rotary positions: distance {distance} has no effect"
    if rotary.reason:
        return f"distance {distance} left out: {rotary.reason}"
    return f"rotary positions at distance {distance}, query minus key"
