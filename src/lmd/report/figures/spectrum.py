"""Every singular value of a layer, beside those of a random matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmd.report.figures.drawing import Drawing, chosen_indices, figure
from lmd.report.numbers import compact

__all__ = ["draw_spectrum"]


@figure(
    "spectrum",
    title="Spectrum",
    caption="How much the layer stretches each of its directions, strongest first: where the line runs above the grey "
    "one, the layer does more than a random matrix of the same shape and Frobenius norm would (Marchenko–Pastur "
    "quantiles); the dashed line is where the spectrum of noise alone would end. Of coarsely stored weights the dotted "
    "line is what rounding alone would give: nothing is to be read from values near it.",
    x="singular index i",
    y="singular value σ (output/input)",
    log="x",
)
def draw_spectrum(layer: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], points: int) -> Drawing | None:
    """Singular values and baseline at chosen indices, with the noise edge; the leading ones when not all are known."""
    every = arrays.get("spectrum", layer.get("singular_values"))
    S = np.asarray(arrays.get("S", ()) if every is None else every, dtype=np.float64).ravel()
    if not S.size:
        return None
    at = chosen_indices(S.size, points)
    drawing: Drawing = {"x": (at + 1).tolist(), "value": compact(S[at].tolist())}
    baseline = np.asarray(arrays.get("baseline", ()), dtype=np.float64).ravel()
    if every is None:
        drawing["of"] = max(baseline.size, S.size)
    if baseline.size >= S.size:
        drawing["baseline"] = compact(baseline[at].tolist())
    floor = np.asarray(arrays.get("rounding_floor.floor_spectrum", ()), dtype=np.float64).ravel()
    if floor.size >= S.size:
        drawing["floor"] = compact(floor[at].tolist())
    edge = layer.get("findings", {}).get("noise_edge", {}).get("value")
    if isinstance(edge, (int, float)):
        drawing["edge"] = compact(edge)
    return drawing
