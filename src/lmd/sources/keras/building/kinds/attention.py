"""Attention: with heads and projections, and without weights."""

from typing import Any

import torch
from torch import nn

from lmd.sources.keras.building.layouts import Permuted
from lmd.sources.keras.building.modules.attention import KerasAttention
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["dot_attention", "multi_head_attention"]


def _build_heads(layer: LayerConfig, built: Built) -> None:
    shapes = {part: built.shape(f"{part}.kernel") for part in ("query", "key", "value", "output")}
    if any(len(shape) != 3 for shape in shapes.values()):
        raise CannotRunError(f"its kernels have the shapes {list(shapes.values())}; one axis for the heads is known")
    (q_in, heads, width), (k_in, kv_heads, _), (v_in, _, value_width) = (shapes[p] for p in ("query", "key", "value"))
    fits = shapes["key"][1:] == (kv_heads, width) and shapes["value"][1] == kv_heads and heads % max(kv_heads, 1) == 0
    if not fits or shapes["output"][:2] != (heads, value_width):
        raise CannotRunError(f"its kernels have the shapes {list(shapes.values())}, which do not fit")
    bias, outputs = built.has("query.bias"), shapes["output"][2]
    module = KerasAttention((q_in, k_in, v_in, outputs), heads, kv_heads, width, value_width, bias=bias)
    loaders = {}
    for part, shape in shapes.items():
        matrix = (shape[0], shape[1] * shape[2]) if part != "output" else (shape[0] * shape[1], shape[2])
        loaders[f"{part}.weight"] = Permuted(built.stored(f"{part}.kernel", matrix), (1, 0))
        if bias:
            loaders[f"{part}.bias"] = built.stored(f"{part}.bias", (matrix[1],))
    built.add(module, loaders)


@layer_kind("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention", build=_build_heads)
def multi_head_attention(given: Given, built: Built, steps: Steps) -> Value | list[Value]:
    """Query, value and, if it is another one, key."""
    if given.layer.settings.get("attention_axes") not in (None, [1], (1,)) or given.layer.settings.get(
        "flash_attention"
    ):
        raise CannotRunError("it attends along several axes, or in a way of its own")
    query, value = given.value, _value(given.argument("value", 0), "value")
    key = given.argument("key", 1)
    key = value if key is None else _value(key, "key")
    mask = given.argument("attention_mask", 4 if given.layer.version == 3 else 2)
    masks = (
        _value(mask, "attention_mask").name if mask is not None else "",
        query.mask,
        value.mask or key.mask,
    )
    scores = bool(given.argument("return_attention_scores", 5 if given.layer.version == 3 else 3))
    causal = bool(given.named.get("use_causal_mask"))
    taken = (query.name, value.name, key.name, *masks)
    found = steps.call(built.path, taken, 2 if scores else 1, causal=causal, scores=scores)
    values = [Value(found[0], query.mask), *map(Value, found[1:])]
    return values if scores else values[0]


def _value(argument: Any, name: str) -> Value:
    if not isinstance(argument, Value):
        raise CannotRunError(f"its argument {name!r} is no value of the graph")
    return argument


def _build_scale(layer: LayerConfig, built: Built) -> None:
    for role in built.arrays:
        built.hold(role, nn.Parameter(torch.empty(built.shape(role), device="meta")))


@layer_kind("Attention", "AdditiveAttention", build=_build_scale)
def dot_attention(given: Given, built: Built, steps: Steps) -> Value | list[Value]:
    """Query, value and, if it is another one, key, compared by their products or by the tangent of their sums."""
    layer = given.layer
    if layer.setting("score_mode", "dot") != "dot" or not 2 <= len(given.values) <= 3:
        raise CannotRunError("its scores are not products, or it takes other values than query, value and key")
    query, value = given.values[:2]
    key = given.values[2] if len(given.values) > 2 else value
    masks = given.named.get("mask")
    if masks is not None:
        raise CannotRunError("masks as an argument are not known")
    scores = bool(given.named.get("return_attention_scores"))
    causal = bool(given.named.get("use_causal_mask") or layer.flag("causal", default=False))
    taken = (query.name, value.name, key.name, query.mask, value.mask)
    taken = (*taken, built.name("scale") if built.has("scale") else "")
    additive = layer.class_name == "AdditiveAttention"
    settings = {"additive": additive, "causal": causal, "scores": scores}
    found = steps.several(layer.path, "keras.attend", taken, 2 if scores else 1, **settings)
    values = [Value(found[0], query.mask), *map(Value, found[1:])]
    return values if scores else values[0]
