"""Convolutions: the norm of each on a whole input, and what it does to waves."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.numbers import compact

__all__ = ["wave_pictures"]

_SHADES = 999  # values are sent as integers of this range: finer than a screen shows
_ALL_PIXELS = 60_000
_FEWEST = 8


def wave_pictures(
    layers: Iterable[tuple[int, Mapping[str, Any], Mapping[str, NDArray[Any]]]],
) -> list[dict[str, Any]]:
    """The symbol of each convolution as a picture over its frequencies, for the browser.

    Args:
        layers: position in the document, row and arrays of each layer.

    Returns:
        Per symbol: its row, the rows of its kernel matrix and of its operator (None where there is none), height, width
        and pixels of the largest singular value at each frequency in units of ``peak / 999``, and the peak. Of three
        axes the middle of the first is shown; a picture is thinned when there are very many.
    """
    rows = list(layers)
    places = {layer["name"]: index for index, layer, _ in rows}
    # of several sizes the first
    operators: dict[Any, int] = {}
    for index, layer, _ in rows:
        if layer.get("kind") == "conv_operator":
            operators.setdefault(layer.get("view_of"), index)
    found = [one for one in rows if one[2].get("symbol.extremes") is not None]
    side = max(_FEWEST, int((_ALL_PIXELS / max(len(found), 1)) ** 0.5))
    return [
        {
            "layer": index,
            "kernel": places.get(layer.get("view_of") or ""),
            "operator": operators.get(layer.get("view_of")),
            **_picture(np.asarray(arrays["symbol.extremes"], dtype=np.float64)[0], side),
        }
        for index, layer, arrays in found
    ]


def _picture(largest: NDArray[np.float64], side: int) -> dict[str, Any]:
    while largest.ndim > 2:
        largest = largest[largest.shape[0] // 2]
    plane = np.atleast_2d(largest)
    steps = [max(1, -(-n // side)) for n in plane.shape]
    plane = plane[:: steps[0], :: steps[1]]
    peak = float(largest.max(initial=0.0))
    shades = np.round(plane * (_SHADES / peak if peak else 0.0)).astype(int)
    return {"height": plane.shape[0], "width": plane.shape[1], "pixels": shades.ravel().tolist(), "peak": compact(peak)}
