"""Right singular vectors of the first layer, as the pictures they answer to."""

from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.numbers import compact

__all__ = ["pictures"]

_GRID = 999
_MOST_VECTORS = 32
_SATURATED = 0.99  # else one pixel would pale all others
_FEWEST_PIXELS, _MOST_PIXELS = 3 * 3, 64 * 64


def pictures(document: Mapping[str, Any], arrays: Callable[[str], Mapping[str, NDArray[Any]]]) -> dict[str, Any] | None:
    """The leading right singular vectors of the first layer, if its inputs can be laid out as a picture.

    Returns:
        Position of the layer, height, width, and for each picture its singular value, its first and last direction and
        whether rounding mixes them; the edge where noise ends (0 if unknown), integer pixels, the value at which they
        saturate, and whether the
        document says that inputs are pictures (else it is a guess from a square number); None when there is nothing.
    """
    layers: Sequence[Mapping[str, Any]] = document.get("layers", ())
    first = next((i for i, layer in enumerate(layers) if _may_read_pictures(layer)), None)
    if first is None:
        return None
    size = _size(document, layers[first])
    found = arrays(layers[first]["name"])
    Vh, S = found.get("Vh"), found.get("S")
    if size is None or Vh is None or S is None or Vh.ndim != 2 or Vh.size == 0 or Vh.shape[1] != size[0] * size[1]:
        return None
    vectors, spans = _by_block(np.asarray(Vh, dtype=np.float64)[:_MOST_VECTORS], layers[first].get("mixed") or ())
    largest = float(np.quantile(np.abs(vectors), _SATURATED)) or 1.0
    pixels = np.round(np.clip(vectors / largest, -1, 1) * _GRID).astype(int)
    return {
        "layer": first,
        "height": size[0],
        "width": size[1],
        "declared": "picture" in document.get("network", {}),
        "sigma": compact(np.asarray(S, dtype=np.float64)[[start - 1 for start, _, _ in spans]].tolist(), 4),
        "spans": spans,
        "edge": _edge(layers[first]),
        "largest": compact(largest, 3),
        "pixels": pixels.tolist(),
    }


def _by_block(
    vectors: NDArray[np.float64], mixed: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], list[tuple[int, int, int]]]:
    """One picture for each direction, and one for each block: root mean square of its pixels, whatever its basis."""
    blocks = {first: min(last, len(vectors)) for first, last in mixed if first <= len(vectors)}
    drawn, spans, place = [], [], 1
    while place <= len(vectors):
        last = blocks.get(place, place)
        own = vectors[place - 1 : last]
        drawn.append(own[0] if place not in blocks else np.sqrt((own**2).mean(axis=0)))
        spans.append((place, last, int(place in blocks)))
        place = last + 1
    return np.stack(drawn), spans


def _edge(layer: Mapping[str, Any]) -> float:
    edge = layer.get("findings", {}).get("noise_edge", {}).get("value")
    return compact(edge, 4) if isinstance(edge, (int, float)) else 0


def _may_read_pictures(layer: Mapping[str, Any]) -> bool:
    return not layer.get("view_of") and layer.get("kind") != "diagonal" and len(layer.get("shape", ())) == 2


def _size(document: Mapping[str, Any], layer: Mapping[str, Any]) -> tuple[int, int] | None:
    """What the document declares; else a square, but only for a dense layer: a kernel or a table reads no picture."""
    inputs = layer["shape"][1]
    declared = document.get("network", {}).get("picture")
    if declared:
        height, width = declared
        return (height, width) if height * width == inputs else None
    side = isqrt(inputs)
    fits = side * side == inputs and _FEWEST_PIXELS <= inputs <= _MOST_PIXELS and layer.get("kind") == "dense"
    return (side, side) if fits else None
