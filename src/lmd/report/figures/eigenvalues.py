"""The eigenvalues of recurrent maps in the complex plane."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.numbers import compact

__all__ = ["eigenvalue_planes"]

_MOST_POINTS = 400
_ALL_POINTS = 20_000
_GRID = 999  # coordinates are sent as integers of this range: finer than a screen shows


def eigenvalue_planes(
    layers: Iterable[tuple[int, Mapping[str, Any], Mapping[str, NDArray[Any]]]],
) -> list[dict[str, Any]]:
    """The complex plane of each recurrent map, for the browser.

    Args:
        layers: position in the document, row and arrays of each layer.

    Returns:
        Per map: its position, integer coordinates ``re im re im ...``, the unit of those, how many eigenvalues there
        are, the spectral radius and that of a random map. Of many eigenvalues the largest are drawn.
    """
    found = [one for one in layers if one[2].get("square_map.eigenvalues") is not None]
    most = max(16, min(_MOST_POINTS, _ALL_POINTS // max(len(found), 1)))
    return [_plane(index, layer, arrays["square_map.eigenvalues"], most) for index, layer, arrays in found]


def _plane(index: int, layer: Mapping[str, Any], values: NDArray[Any], most: int) -> dict[str, Any]:
    points = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    sizes = np.hypot(*points.T)
    chosen = points[np.argsort(-sizes, kind="stable")[:most]]
    largest = float(sizes.max(initial=0.0))
    radius = layer.get("findings", {}).get("spectral_radius", {})
    return {
        "layer": index,
        "points": np.round(chosen * (_GRID / largest if largest else 0.0)).astype(int).ravel().tolist(),
        "unit": compact(largest / _GRID, 6),
        "of": len(points),
        "radius": compact(radius.get("value")),
        "random": compact(radius.get("baseline")),
    }
