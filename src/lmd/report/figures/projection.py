"""The training data as each layer sees it: its inputs on the directions that the layer stretches most."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.numbers import compact

__all__ = ["clouds"]

_GRID = 999  # coordinates are sent as integers of this range: finer than a screen shows
_ALL_POINTS = 60_000
_NO_CLASS = -1
_FEWEST, _MOST = 150, 2_000


def clouds(layers: Iterable[tuple[int, Mapping[str, NDArray[Any]]]]) -> list[dict[str, Any]]:
    """The point clouds of the layers that have one, for the browser.

    Args:
        layers: position in the document and arrays of each layer.

    Returns:
        Per layer: its position, three integer coordinates per point, the unit of those, class names, class of each
        point, how many points there were, and the share of the drawn variance that lies between classes.
    """
    found = [(index, arrays) for index, arrays in layers if _drawable(arrays.get("projection.coordinates"))]
    share = min(_MOST, max(_FEWEST, _ALL_POINTS // max(len(found), 1)))
    return [_cloud(index, arrays, share) for index, arrays in found]


def _drawable(points: NDArray[Any] | None) -> bool:
    return points is not None and points.ndim == 2 and points.shape[0] > 0 and points.shape[1] > 0


def _cloud(index: int, arrays: Mapping[str, NDArray[Any]], most: int) -> dict[str, Any]:
    points = np.asarray(arrays["projection.coordinates"], dtype=np.float64)[:, :3]
    points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
    labels = np.asarray(arrays.get("projection.labels", ())).ravel()
    labelled = len(labels) == len(points) and bool((labels != _NO_CLASS).any())
    labels = labels if labelled else np.zeros(0, dtype=int)
    finite = np.isfinite(points).all(axis=1)
    points, labels = points[finite], labels[finite] if labels.size else labels
    names, classes = np.unique(labels, return_inverse=True)
    kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), most)).astype(int)) if len(points) else []
    largest = float(np.abs(points).max(initial=0.0))
    grid = np.round(points[kept] * (_GRID / largest if largest else 0.0)).astype(int)
    return {
        "layer": index,
        "points": grid.ravel().tolist(),
        "unit": compact(largest / _GRID, 6),
        "of": len(points),
        "names": names.tolist(),
        "classes": classes[kept].tolist() if labels.size else [],
        "between": compact(_between(points[:, :2], classes), 4) if labels.size else None,
        "chance": compact(_chance(len(names), len(points)), 4) if labels.size else None,
    }


def _between(points: NDArray[np.float64], classes: NDArray[np.int64]) -> float | None:
    """Share of the variance of the drawn plane that lies between the classes (correlation ratio, Pearson 1905)."""
    sizes = np.bincount(classes)
    centred = points - points.mean(axis=0)
    total = float((centred**2).sum())
    sums = np.stack([np.bincount(classes, weights=centred[:, axis]) for axis in range(points.shape[1])])
    return float((sums**2 / sizes).sum()) / total if total > 0 else None


def _chance(names: int, points: int) -> float | None:
    """The mean of that share over all ways of shuffling the labels."""
    return (names - 1) / (points - 1) if points > 1 else None
