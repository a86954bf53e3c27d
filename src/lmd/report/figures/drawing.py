"""The registry of figures: one small file per kind, by the key of the finding it draws.

A figure is said once (title, caption, axes) and its numbers come per layer, so that a page of a thousand layers stays
small. The numbers carry roles, not colours: the browser paints them after the theme.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmd.report.figures

__all__ = ["Drawing", "Figure", "Layer", "chosen_indices", "figure", "figures"]

Layer = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
Drawing = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """What is said of a figure once for all layers.

    Attributes:
        key: the finding drawn, or ``spectrum``.
        title: a few words.
        caption: one sentence that says what to see, and what the grey baseline is.
        x: title of the horizontal axis, with unit.
        y: title of the vertical axis, with unit.
        log: the axes that are always logarithmic: '', 'x', 'y' or 'xy'.
        draw: layer, arrays and number of points to ``{"x": [...], "value": [...], "baseline": [...]}``, or None.
    """

    key: str
    title: str
    caption: str
    x: str
    y: str
    log: str
    draw: Callable[[Layer, Arrays, int], Drawing | None]

    def said(self) -> dict[str, str]:
        """Everything but the numbers, for the browser."""
        return {name: text for name, text in asdict(self).items() if name != "draw"}


_registry: dict[str, Figure] = {}


def figure(key: str, *, title: str, caption: str, x: str, y: str, log: str = "") -> Callable:
    """Register the function that draws a finding; a finding without one is a line of the table."""

    def register(
        draw: Callable[[Layer, Arrays, int], Drawing | None],
    ) -> Callable[[Layer, Arrays, int], Drawing | None]:
        _registry[key] = Figure(key, title, caption, x, y, log, draw)
        return draw

    return register


def figures() -> Mapping[str, Figure]:
    """Every registered figure, the spectrum first, then by key."""
    for module in iter_modules(lmd.report.figures.__path__, "lmd.report.figures."):
        import_module(module.name)
    return dict(sorted(_registry.items(), key=lambda item: (item[0] != "spectrum", item[0])))


@lru_cache(maxsize=256)
def chosen_indices(length: int, points: int) -> NDArray[np.int64]:
    """At most ``points`` of ``range(length)``, first and last among them, half of them crowded at the start.

    >>> chosen_indices(5, 9).tolist(), chosen_indices(1000, 8).tolist()
    ([0, 1, 2, 3, 4], [0, 9, 99, 333, 666, 999])
    """
    if length <= points:
        return np.arange(length)
    crowded = np.geomspace(1, length, points // 2) - 1
    even = np.linspace(0, length - 1, points // 2)
    return np.unique(np.round(np.concatenate([crowded, even])).astype(np.int64))
