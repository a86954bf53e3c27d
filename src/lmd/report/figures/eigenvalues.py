"""The eigenvalues of square maps in the complex plane."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.numbers import compact

__all__ = ["eigenvalue_planes"]

_MOST_POINTS = 400
_ALL_POINTS = 20_000
_MOST_OTHERS = 24
_DEEPEST = -6
_GRID = 999  # coordinates are sent as integers of this range: finer than a screen shows


def eigenvalue_planes(
    layers: Iterable[tuple[int, Mapping[str, Any], Mapping[str, NDArray[Any]]]],
) -> list[dict[str, Any]]:
    """The complex plane of square maps, for the browser: recurrent ones first, then whole layers, then parts.

    All recurrent ones are drawn; of the others, so that a page with many heads stays readable, the first 24.

    Args:
        layers: position in the document, row and arrays of each layer.

    Returns:
        Per map: its position, integer coordinates ``re im re im ...``, the unit of those, how many eigenvalues there
        are, the spectral radius and that of a random map. Of many eigenvalues the largest are drawn. Where it was
        asked for, the pseudospectrum: integer powers of ten of the upper half plane, row by row, and where it ends.
    """
    given = [one for one in layers if one[2].get("square_map.eigenvalues") is not None and not _diagonal(one[1])]
    found = sorted((one for one in given if not _order(one[1])), key=lambda one: one[0])
    found += sorted((one for one in given if _order(one[1])), key=lambda one: (_order(one[1]), one[0]))[:_MOST_OTHERS]
    most = max(16, min(_MOST_POINTS, _ALL_POINTS // max(len(found), 1)))
    return [
        {**_plane(index, layer, arrays["square_map.eigenvalues"], most), **_pseudospectrum(arrays)}
        for index, layer, arrays in found
    ]


def _order(layer: Mapping[str, Any]) -> int:
    if "numerical_abscissa" in layer.get("findings", {}):
        return 0
    return 2 if layer.get("view_of") else 1


def _diagonal(layer: Mapping[str, Any]) -> bool:
    # a scale of every unit: its eigenvalues are the numbers that are stored
    return layer.get("kind") == "diagonal" and _order(layer) > 0


def _pseudospectrum(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    grid = arrays.get("transient.pseudospectrum")
    if grid is None:
        return {}
    levels = np.clip(np.floor(grid), _DEEPEST, 1).astype(int)
    reach = compact(float(arrays["transient.reach"][0]), 4)
    return {"pseudo": levels.ravel().tolist(), "columns": levels.shape[1], "reach": reach}


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
