"""How much of what enters a layer lies along the directions it stretches most."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lmd.report.figures.drawing import Drawing, chosen_indices, figure
from lmd.report.numbers import compact

__all__ = ["draw_projection_energy"]


@figure(
    "projection_energy",
    title="Input energy by direction",
    caption="The share of the training inputs' energy that lies along each leading direction: bars above the grey ones are "
    "directions the layer reads and the data really uses; grey is data spread evenly over all directions.",
    x="singular index i",
    y="share of input energy (unit 1)",
    shape="bars",
)
def draw_projection_energy(layer: Mapping[str, Any], _arrays: Mapping[str, NDArray[Any]], points: int) -> Drawing | None:
    """Energy of the inputs along each leading right singular vector, when the finding is a list."""
    finding = layer.get("findings", {}).get("projection_energy", {})
    shares, baseline = finding.get("value"), finding.get("baseline")
    if not isinstance(shares, (list, tuple)) or not shares:
        return None
    at = chosen_indices(len(shares), points).tolist()
    drawing: Drawing = {"x": [i + 1 for i in at], "value": compact([shares[i] for i in at], 4)}
    if isinstance(baseline, (int, float)):
        drawing["baseline"] = [compact(baseline, 4)] * len(at)
    if isinstance(baseline, (list, tuple)) and len(baseline) == len(shares):
        drawing["baseline"] = compact([baseline[i] for i in at], 4)
    return drawing
