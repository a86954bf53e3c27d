"""How few units carry each direction."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lmd.report.figures.drawing import Drawing, chosen_indices, figure
from lmd.report.numbers import compact

__all__ = ["draw_participation_in", "draw_participation_out"]

_CAPTION = (
    "Inverse participation of each direction kept: 1 lies on a single unit, 1/m on m units evenly; grey is a "
    "random direction of the same length (3/(n+2)). A point far above it names a few units. Directions that rounding "
    "mixes are left out."
)
_X, _Y = "direction", "Σv⁴ (unit 1)"


@figure("participation_in", title="Units that inputs lie on", caption=_CAPTION, x=_X, y=_Y, log="y")
def draw_participation_in(layer: Mapping[str, Any], _arrays: Mapping[str, NDArray[Any]], points: int) -> Drawing | None:
    """Of the input directions."""
    return _drawing(layer, "participation_in", points)


@figure("participation_out", title="Units that outputs lie on", caption=_CAPTION, x=_X, y=_Y, log="y")
def draw_participation_out(
    layer: Mapping[str, Any], _arrays: Mapping[str, NDArray[Any]], points: int
) -> Drawing | None:
    """Of the output directions."""
    return _drawing(layer, "participation_out", points)


def _drawing(layer: Mapping[str, Any], key: str, points: int) -> Drawing | None:
    finding = layer.get("findings", {}).get(key, {})
    values, baseline = finding.get("value"), finding.get("baseline")
    # a line needs two points, and a diagonal map has no baseline to be beside
    if not isinstance(values, (list, tuple)) or len(values) < 2 or layer.get("kind") == "diagonal":
        return None
    at = chosen_indices(len(values), points)
    mixed = {place for first, last in layer.get("mixed") or () for place in range(first - 1, last)}
    if len(mixed) >= len(values):
        return None
    shown = [None if i in mixed else values[i] for i in at.tolist()]
    drawing: Drawing = {"x": (at + 1).tolist(), "value": compact(shown, 3)}
    if isinstance(baseline, (list, tuple)) and len(baseline) == len(values):
        drawing["baseline"] = compact([baseline[i] for i in at], 3)
    return drawing
