"""Small drawings as SVG: a line over time, a share beside its chance."""

from collections.abc import Sequence
from html import escape
from math import isfinite

__all__ = ["lines", "share", "sparkline"]

_WIDTH, _HEIGHT = 120, 26
_WIDE, _TALL = 860, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 230, 14, 40
_FLAT = 1e-12

Numbers = Sequence[float | None]


def sparkline(values: Numbers) -> str:
    """A line from the first number to the last, between the least and the largest of them; gaps stay gaps.

    >>> sparkline([None])
    ''
    """
    known = [value for value in values if value is not None and isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    spread = high - low if high - low > _FLAT * max(1.0, abs(high)) else 1.0
    across = (_WIDTH - 6) / max(1, len(values) - 1)
    runs = _runs(
        [
            None if value is None else (3 + place * across, _HEIGHT - 4 - (value - low) / spread * (_HEIGHT - 8))
            for place, value in enumerate(values)
        ]
    )
    drawn = "".join(_stroke(run, "line") for run in runs)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width={_WIDTH} height={_HEIGHT}'
    return f"<svg class=spark {size} aria-hidden=true>{drawn}</svg>"


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _stroke(run: Sequence[tuple[float, float]], name: str) -> str:
    if len(run) == 1:
        return f'<circle class={name} cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2"/>'
    return f'<polyline class={name} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in run)}"/>'


def share(value: float | None, chance: float | None) -> str:
    """A share between 0 and 1 as a bar, with a mark where chance alone would be."""
    if value is None:
        return ""
    mark = (
        "" if chance is None else f'<line class=chance x1="{100 * chance:.1f}" x2="{100 * chance:.1f}" y1="0" y2="10"/>'
    )
    bar = f'<rect class=bar x="0" y="2" width="{100 * min(1.0, max(0.0, value)):.1f}" height="6"/>'
    return f'<svg class=share viewBox="0 0 100 10" width=100 height=10 aria-hidden=true>{bar}{mark}</svg>'


def lines(series: Sequence[tuple[str, Numbers]], places: Sequence[str], y: str) -> str:
    """The trajectory figure: named lines over the steps, from 0 up; a name stands where its line ends."""
    known = [value for _, values in series for value in values if value is not None and isfinite(value)]
    if not known or len(places) < 2:
        return ""
    top = max(*known, _FLAT) * 1.05
    across = (_WIDE - _LEFT - _RIGHT) / (len(places) - 1)
    drawn = [_axes(top, places, across, y)]
    ends = []
    for number, (name, values) in enumerate(series):
        points = [None if v is None else (_LEFT + i * across, _height(v, top)) for i, v in enumerate(values)]
        drawn += [_stroke(run, f'"line c{number % 8}"') for run in _runs(points)]
        last = next((point for point in reversed(points) if point is not None), None)
        if last is not None:
            ends.append((last[1], number, name))
    drawn += _names(ends)
    return f'<svg class=figure viewBox="0 0 {_WIDE} {_TALL}" role=img aria-label="{escape(y)}">{"".join(drawn)}</svg>'


def _height(value: float, top: float) -> float:
    return _TALL - _BOTTOM - value / top * (_TALL - _TOP - _BOTTOM)


def _axes(top: float, places: Sequence[str], across: float, y: str) -> str:
    grid = []
    for step in range(5):
        value = top * step / 4
        at = _height(value, top)
        grid.append(f'<line class=grid x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        grid.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor=end>{value:.3g}</text>')
    every = max(1, len(places) // 8)
    for place in {*range(0, len(places), every), len(places) - 1}:
        x = _LEFT + place * across
        grid.append(f'<text x="{x:.1f}" y="{_TALL - _BOTTOM + 18}" text-anchor=middle>{escape(places[place])}</text>')
    grid.append(f'<text x="{_LEFT}" y="{_TALL - 4}">{escape(y)}</text>')
    return "".join(grid)


def _names(ends: list[tuple[float, int, str]]) -> list[str]:
    """The names beside the ends of their lines, pushed apart where they would lie on each other."""
    drawn, least = [], float("-inf")
    for at, number, name in sorted(ends):
        least = max(at, least + 14)
        short = name if len(name) <= 32 else f"…{name[-31:]}"
        drawn.append(
            f'<text class="name c{number % 8}" x="{_WIDE - _RIGHT + 8}" y="{least + 4:.1f}">{escape(short)}</text>'
        )
    return drawn
