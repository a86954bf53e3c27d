"""How far rounding turns each direction."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lmd.report.figures.drawing import Drawing, chosen_indices, figure
from lmd.report.numbers import compact

__all__ = ["draw_turned_by"]


@figure(
    "turned_by",
    title="How far rounding turns each direction",
    caption="Angle, root mean square, by which rounding of the weights turns each direction kept; grey is a random "
    "matrix of the same shape and size under even noise of the same size. A direction well below 5 degrees is one of "
    "its own; those near it and above are mixed with others, and only the space of the block means something.",
    x="direction",
    y="angle (degrees)",
    log="y",
)
def draw_turned_by(layer: Mapping[str, Any], _arrays: Mapping[str, NDArray[Any]], points: int) -> Drawing | None:
    """The larger angle of both sides; nothing where there are too few directions for a line."""
    finding = layer.get("findings", {}).get("turned_by", {})
    values, baseline = finding.get("value"), finding.get("baseline")
    if not isinstance(values, (list, tuple)) or len(values) < 2:
        return None
    at = chosen_indices(len(values), points)
    drawing: Drawing = {"x": (at + 1).tolist(), "value": compact([values[i] for i in at], 3)}
    if isinstance(baseline, (list, tuple)) and len(baseline) == len(values):
        drawing["baseline"] = compact([baseline[i] for i in at], 3)
    return drawing
