"""The document as the browser reads it: few digits, few bytes, no key twice."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from lmd.report.figures.convolutions import wave_pictures
from lmd.report.figures.drawing import Layer, figures
from lmd.report.figures.eigenvalues import eigenvalue_planes
from lmd.report.figures.heads import asked, head_grids
from lmd.report.figures.pictures import pictures
from lmd.report.figures.projection import clouds
from lmd.report.mixed import mixed_text
from lmd.report.numbers import compact

__all__ = ["as_script", "finding_keys", "payload"]

_CURVE_BUDGET = 1_000_000  # bytes for all curves of a page; a number takes about six
_MOST_POINTS, _FEWEST_POINTS = 120, 8
_DIRECTIONS = ("exact", "estimate", "upper", "lower")
_READING_ORDER = (
    "operator_norm_lower",
    "operator_norm_upper",
    "operator_norm_ratio",
    "symbol_peak",
    "symbol_peak_frequency",
    "low_pass_share",
    "spectral_norm",
    "frobenius_norm",
    "nuclear_norm",
    "smallest_gain",
    "condition_number",
    "isometry_distance",
    "spectral_radius",
    "henrici_departure",
    "copying_score",
    "stable_rank",
    "effective_rank",
    "participation_ratio",
    "numerical_rank",
    "rank_90",
    "rank_95",
    "rank_99",
    "rank_99_9",
    "noise_edge",
    "spikes",
    "eckart_young",
    "stable_directions",
    "direction_blocks",
    "largest_block",
    "turned_by",
    "projection_energy",
    "data_gain",
    "data_gain_share",
    "leading_directions",
    "leading_energy",
    "gates_open",
    "dead_units",
    "always_open_units",
    "unseen_share",
    "duplicate_units",
    "constant_units",
    "pieces",
    "near_folds",
    "near_folds_share",
)
_UNSAID = (None, "", [], (), "declared", "shape")
_ABOUT_COMPUTATION = ("confidence", "alternatives", "note", "method", "residual", "orthogonality_defect")


def payload(document: Mapping[str, Any], arrays: Callable[[str], Mapping[str, NDArray[Any]]]) -> dict[str, Any]:
    """Everything that the page's script draws."""
    layers = document.get("layers", ())
    keys = finding_keys(document)
    reasons: dict[str, int] = {"": 0}
    indices: dict[tuple[int, ...], int] = {}
    points = min(_MOST_POINTS, max(_FEWEST_POINTS, _CURVE_BUDGET // (6 * 6 * max(len(layers), 1))))
    held = [arrays(layer["name"]) for layer in layers]
    rows = [(index, layer, found) for index, (layer, found) in enumerate(zip(layers, held, strict=True))]
    glossary = document.get("glossary", {})
    return {
        "keys": keys,
        "units": [glossary.get(key, {}).get("unit") or _unit(layers, key) for key in keys],
        "meanings": [glossary.get(key, {}).get("meaning", "") for key in keys],
        "layers": [
            _layer(one, keys, reasons, _curves(one, found, points, indices))
            for one, found in zip(layers, held, strict=True)
        ],
        "reasons": list(reasons),
        "indices": list(indices),
        "figures": {key: figure.said() for key, figure in figures().items()},
        "heads": head_grids(layers),
        "asked": asked(document.get("provenance", {}).get("options", {})),
        "waves": wave_pictures(rows),
        "planes": eigenvalue_planes(rows),
        "clouds": clouds(enumerate(held)),
        "pictures": pictures(document, arrays),
    }


def finding_keys(document: Mapping[str, Any]) -> list[str]:
    """Every key: those known here in the order of reading, then the glossary's other ones, then what else was met."""
    known = document.get("glossary", {})
    keys = dict.fromkeys([*(key for key in _READING_ORDER if key in known), *known])
    for layer in document.get("layers", ()):
        keys.update(dict.fromkeys(layer.get("findings", {})))
    return list(keys)


def as_script(data: Any) -> str:
    """JSON that is safe between script tags, whatever the names are made of."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _unit(layers: Iterable[Layer], key: str) -> str:
    return next((layer["findings"][key].get("unit", "") for layer in layers if key in layer.get("findings", {})), "")


def _curves(
    layer: Layer, arrays: Mapping[str, NDArray[Any]], points: int, indices: dict[tuple[int, ...], int]
) -> dict[str, Any]:
    """The drawings of a layer; layers of one rank share their horizontal coordinates."""
    drawn = ((key, figure.draw(layer, arrays, points)) for key, figure in figures().items())
    return {
        key: {**drawing, "x": indices.setdefault(tuple(drawing["x"]), len(indices))}
        for key, drawing in drawn
        if drawing is not None
    }


def _layer(layer: Layer, keys: list[str], reasons: dict[str, int], curves: dict[str, Any]) -> dict[str, Any]:
    findings = layer.get("findings", {})
    small: dict[str, Any] = {
        "name": layer["name"],
        "kind": layer.get("kind", ""),
        "shape": list(layer.get("shape", ())),
        "findings": [_finding(findings[key], reasons, drawn=key in curves) if key in findings else 0 for key in keys],
        "curves": curves,
    }
    if layer.get("view_of"):
        small["view_of"] = layer["view_of"]
    small |= {name: layer[name] for name in ("words", "sentence") if layer.get(name)}
    if layer.get("mixed"):
        small |= {"mixed": [list(span) for span in layer["mixed"]], "rounding": mixed_text(layer["mixed"])}
    if layer.get("failed"):
        small["failed"] = layer.get("reason") or "no reason was given"
    about = {name: _plain(layer[name]) for name in _ABOUT_COMPUTATION if layer.get(name) not in _UNSAID}
    rank = layer.get("rank")
    return small | ({"about": about} if about else {}) | ({"rank": rank} if rank is not None else {})


def _plain(value: Any) -> Any:
    return compact(value, 3) if isinstance(value, (int, float)) else value


def _finding(finding: Mapping[str, Any], reasons: dict[str, int], *, drawn: bool) -> list[Any]:
    """Value, baseline, error, direction, reason; what is missing at the end is cut."""
    reason = reasons.setdefault(finding.get("reason") or "", len(reasons))
    value, baseline = finding.get("value"), finding.get("baseline")
    value, baseline = _short(value, drawn=drawn), _short(baseline, drawn=drawn)
    direction = _DIRECTIONS.index(finding.get("direction") or "exact")
    row = [value, baseline, compact(finding.get("error"), 2), direction, reason]
    # of a value and a baseline 0 says something
    while len(row) > 1 and (row[-1] is None or (row[-1] == 0 and len(row) > 2)):
        row.pop()
    return row


def _short(value: Any, *, drawn: bool) -> Any:
    """A number; of a curve its length, first and last value, since the figure shows the rest."""
    if not isinstance(value, (list, tuple)):
        return compact(value)
    if drawn or not value:
        return [len(value)] if value else None
    return [len(value), *compact([value[0], value[-1]])]
