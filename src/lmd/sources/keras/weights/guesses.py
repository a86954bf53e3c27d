"""The class of a layer that nobody names, from the names and shapes of its arrays."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import DataSet
from lmd.sources.reading import Confidence

__all__ = ["Guess", "guessed"]

_CELLS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}


@dataclass(frozen=True, slots=True)
class Guess:
    """What a layer looks like.

    Attributes:
        class_name: of Keras; ``?`` if it looks like none.
        settings: those that its arrays tell.
        confidence: whether the shapes allow one class only.
        reason: the evidence.
        inside: what it wraps.
    """

    class_name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    confidence: Confidence = "shape"
    reason: str = ""
    inside: tuple[LayerConfig, ...] = ()


def guessed(name: str, arrays: Sequence[DataSet]) -> Guess:
    """The class whose variables the arrays may be.

    Args:
        name: of the layer.
        arrays: in the order in which Keras made them.
    """
    word = re.sub(r"_\d+$", "", name).lower()
    for rule in (_both_directions, _heads, _gates_apart, _recurrent, _normalised, _separable, _table, _kernel):
        if (guess := rule(word, arrays)) is not None:
            return guess
    return Guess("?", confidence="guess", reason="its arrays are those of no layer that is known")


def _shapes(arrays: Sequence[DataSet]) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def _names(arrays: Sequence[DataSet]) -> set[str]:
    return {re.sub(r"_\d+$", "", array.name) for array in arrays}


def _recurrent(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    if len(arrays) not in (2, 3) or any(len(shape) != 2 for shape in _shapes(arrays)[:2]):
        return None
    (_, columns), (units, hidden), *rest = _shapes(arrays)
    if columns != hidden or not units or columns % units or columns // units not in _CELLS:
        return None
    name = _CELLS[columns // units]
    # a plain one and a GRU of another size could have the same shapes only if their gates did
    settings: dict[str, Any] = {"use_bias": bool(rest)}
    evidence = f"kernels {(_, columns)} and {(units, hidden)}: {columns // units} gates of {units}"
    if rest and rest[0] == (2 * columns,) and name in ("LSTM", "GRU"):
        return Guess(f"CuDNN{name}", settings, reason=f"{evidence}, two biases in a row as cuDNN has them")
    if rest and rest[0] not in ((columns,), (2, columns)):
        return None
    settings["reset_after"] = bool(rest) and rest[0] == (2, columns)
    return Guess(name, settings, reason=evidence)


def _gates_apart(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    """As Keras 1 stores them, ``lstm_1_W_i``: input, hidden and bias of one gate after the other."""
    lasts = [array.name.rpartition("_")[2] for array in arrays]
    name = {"iiicccfffooo": "LSTM", "zzzrrrhhh": "GRU"}.get("".join(lasts))
    if name is None:
        return None
    return Guess(name, {"consume_less": "cpu"}, reason=f"{len(arrays) // 3} gates of three arrays, named by Keras 1")


def _both_directions(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    half = len(arrays) // 2
    told = any("backward_" in array.path for array in arrays)
    if not told or len(arrays) % 2 or _shapes(arrays[:half]) != _shapes(arrays[half:]):
        return None
    inner = _recurrent(word, arrays[:half])
    if inner is None:
        return None
    layer = LayerConfig("layer", inner.class_name, "layer", inner.settings)
    reason = f"forward and backward: {inner.reason}"
    return Guess("Bidirectional", {"merge_mode": "concat"}, inner.confidence, reason, (layer,))


def _heads(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    shapes = _shapes(arrays)
    kernels = [shape for shape in shapes if len(shape) == 3]
    if len(kernels) != 4 or len(arrays) not in (4, 8) or kernels[3][:2] != (kernels[0][1], kernels[2][2]):
        return None
    if not any(part in array.path for array in arrays for part in ("query", "/q/")):
        return None
    reason = f"query, key, value and output of {kernels[0][1]} heads"
    return Guess("MultiHeadAttention", {"use_bias": len(arrays) == 8}, reason=reason)


def _normalised(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    shapes, names = _shapes(arrays), _names(arrays)
    if not 1 <= len(arrays) <= 4 or len(set(shapes)) != 1 or len(shapes[0]) != 1:
        return None
    batch = "moving_mean" in names or (names.isdisjoint({"gamma", "beta"}) and len(arrays) > 2)
    if not batch and names.isdisjoint({"gamma", "beta"}) and "norm" not in word:
        return None
    alone = len(arrays) - (2 if batch else 0)
    settings = {"scale": alone == 2 or "gamma" in names, "center": alone == 2 or "beta" in names}
    if alone == 1 and names.isdisjoint({"gamma", "beta"}):
        settings = {"scale": True, "center": False}
    if batch:
        return Guess("BatchNormalization", settings, reason="vectors of one length, two of them statistics")
    kind = "GroupNormalization" if "group" in word else "LayerNormalization"
    return Guess(kind, settings, "shape" if "gamma" in names else "guess", "vectors of one length: gain and shift")


def _separable(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    shapes = _shapes(arrays)
    named = "depthwise_kernel" in _names(arrays)
    if not shapes or len(shapes[0]) not in (3, 4):
        return None
    axes, biased = len(shapes[0]) - 2, len(shapes[-1]) == 1
    *_, channels, times = shapes[0]
    if len(shapes) > 1 and shapes[1][:-1] == (*(1,) * axes, channels * times):
        reason = "a depthwise kernel and a pointwise one that reads what it writes"
        return Guess(f"SeparableConv{axes}D", {"use_bias": biased}, reason=reason)
    if named or "depthwise" in word:
        reason = "named a depthwise kernel"
        return Guess(f"DepthwiseConv{axes}D", {"use_bias": biased}, "shape" if named else "guess", reason)
    return None


def _table(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    if len(arrays) != 1 or len(arrays[0].shape) != 2:
        return None
    if "embeddings" in _names(arrays):
        return Guess("Embedding", reason="one matrix, named embeddings")
    if "emb" in word:
        return Guess("Embedding", confidence="guess", reason="one matrix in a layer of that name")
    return None


def _kernel(word: str, arrays: Sequence[DataSet]) -> Guess | None:
    shapes = _shapes(arrays)
    if not 1 <= len(shapes) <= 2 or not 2 <= len(shapes[0]) <= 5 or (len(shapes) == 2 and len(shapes[1]) != 1):
        return None
    name = re.sub(r"_\d+$", "", arrays[0].name)
    if not (name in ("kernel", "w") or name.isdigit() or name.endswith(("_W", "_kernel", "/kernel"))):
        return None
    axes, settings = len(shapes[0]) - 2, {"use_bias": len(shapes) == 2}
    length = shapes[1][0] if len(shapes) == 2 else None
    if axes == 0:
        fits = length in (None, shapes[0][1])
        sure: Confidence = "shape" if name == "kernel" else "guess"
        return Guess("Dense", settings, sure, "a matrix (in, out), and its bias if it has one") if fits else None
    if axes == 2 and length == shapes[0][0] and length not in shapes[0][-2:]:
        reason = "a kernel (out, in, rows, columns), as Keras 1 has it where channels come first: the bias tells"
        return Guess("Conv2D", {**settings, "dim_ordering": "th"}, reason=reason)
    if length not in (None, shapes[0][-1], shapes[0][-2]):
        return None
    turned = length == shapes[0][-2] != shapes[0][-1] or "transpose" in word
    sure = "shape" if length is not None and shapes[0][-1] != shapes[0][-2] else "guess"
    kind = f"Conv{axes}DTranspose" if turned else f"Conv{axes}D"
    return Guess(
        kind, settings, sure, f"a kernel of {axes} axes" + (", whose bias tells which is out" if length else "")
    )
