"""What is lost when only the strongest directions are kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.figures.drawing import Drawing, chosen_indices, figure
from lmd.report.numbers import compact

__all__ = ["draw_eckart_young"]


@figure(
    "eckart_young",
    title="What keeping k directions loses",
    caption="The smallest error any matrix of rank k can have (Eckart–Young): the sooner the line falls below the grey "
    "one, the fewer directions carry the layer; grey is a random matrix of the same shape.",
    x="directions kept k",
    y="relative Frobenius error (unit 1)",
)
def draw_eckart_young(layer: Mapping[str, Any], _arrays: Mapping[str, NDArray[Any]], points: int) -> Drawing | None:
    """The error of keeping k = 0 .. r directions, at chosen k, and its baseline."""
    finding = layer.get("findings", {}).get("eckart_young", {})
    errors, baseline = finding.get("value"), finding.get("baseline")
    if not isinstance(errors, (list, tuple)) or not errors:
        return None
    at = chosen_indices(len(errors), points)
    drawing: Drawing = {"x": at.tolist(), "value": compact(_at(errors, at), 4)}
    if isinstance(baseline, (list, tuple)) and len(baseline) == len(errors):
        drawing["baseline"] = compact(_at(baseline, at), 4)
    return drawing


def _at(values: Any, indices: NDArray[np.int64]) -> list[Any]:
    return [values[index] for index in indices]
