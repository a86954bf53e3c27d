"""A comparison's document to one offline HTML page without scripts."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from lmd.report.comparing.sparklines import lines, share, sparkline
from lmd.report.whole_file import write_whole

__all__ = ["render_comparison", "write_comparison"]

_PAIR_COLUMNS = (
    ("relative_change", "change"),
    ("spectral_change", "largest stretch of change"),
    ("spectra_distance", "spectrum moved"),
    ("change_stable_rank", "stable rank of change"),
    ("change_above_rounding", "rank of change"),
    ("compared_directions", "k"),
    ("overlap_out", "outputs kept"),
    ("overlap_in", "inputs kept"),
    ("shared_out", "shared outputs"),
    ("shared_in", "shared inputs"),
    ("intruders", "intruders"),
)
_SHARES = ("overlap_out", "overlap_in")
_FOLLOWED = ("relative_change", "spectral_norm", "stable_rank", "effective_rank", "rank_90", "spikes")
_TITLES = {
    "relative_change": "change since the first",
    "spectral_norm": "σ₁",
    "stable_rank": "stable rank",
    "effective_rank": "effective rank",
    "rank_90": "rank 90 %",
    "spikes": "spikes",
}
_MOST_LINES = 8


def write_comparison(document: Mapping[str, Any], path: str | Path) -> Path:
    """Write the page; it is replaced, and only by a whole one.

    Raises:
        OSError: the file cannot be written.
    """
    return write_whole(path, render_comparison(document))


def render_comparison(document: Mapping[str, Any]) -> str:
    """The page as text: one file, no request, no script, the same bytes for the same document."""
    models = document["models"]
    title = " → ".join(str(model["name"]) for model in models) or "comparison"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _models(models),
        *(f"<p class=note>{escape(note)}</p>" for note in document["notes"]),
        _trajectory(document["trajectory"]),
        *(_pair(models, pair) for pair in document["pairs"]),
        _glossary(document.get("glossary", {})),
    ]
    head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    return f"{head}<title>{escape(title)}</title><style>{_style()}</style><main>{''.join(parts)}</main></html>\n"


def _style() -> str:
    return (files("lmd.report") / "browser" / "comparison.css").read_text(encoding="utf-8")


def _models(models: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(model['name']))}<td class=words>{escape(str(model.get('source', '')))}"
        f"<td class=words>{escape(_told(model.get('training', {})))}"
        for model in models
    )
    head = "<th>model<th class=words>source<th class=words>its file tells"
    return f"<div class=scroll><table><tr>{head}{rows}</table></div>"


def _told(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in facts.items())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _trajectory(trajectory: Mapping[str, Any]) -> str:
    steps, layers = trajectory.get("steps", ()), trajectory.get("layers", ())
    if len(steps) < 2 or not layers:
        return ""
    keys = [key for key in _FOLLOWED if any(_values(layer, key) for layer in layers)]
    moved = sorted(layers, key=lambda layer: -_last(layer))[:_MOST_LINES]
    figure = lines(
        [(layer["name"], _values(layer, "relative_change")) for layer in moved],
        [_step(step) for step in steps],
        "‖W − W(first)‖ / ‖W(first)‖, the layers that moved most; 1.41 is an unrelated matrix of the same size",
    )
    head = "".join(f"<th class=words>{_TITLES[key]}" for key in keys)
    rows = "".join(
        f"<tr><td>{escape(layer['name'])}" + "".join(_journey(_values(layer, key)) for key in keys) for layer in layers
    )
    many = f"<h2>Over the {len(steps)} {escape(trajectory.get('of', 'checkpoints'))}</h2>"
    return f"{many}{figure}<div class=scroll><table><tr><th>layer{head}{rows}</table></div>"


def _values(layer: Mapping[str, Any], key: str) -> Sequence[float | None]:
    return layer.get("quantities", {}).get(key, {}).get("values", ())


def _last(layer: Mapping[str, Any]) -> float:
    return next((value for value in reversed(_values(layer, "relative_change")) if value is not None), 0.0)


def _journey(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    ends = f"{_number(known[0])} → {_number(known[-1])}" if known else "–"
    return f"<td class=words>{sparkline(values)}<br><small>{ends}</small>"


def _step(step: Mapping[str, Any]) -> str:
    named = next((name for name in ("step", "iterations", "epoch") if name in step), None)
    return f"{named} {_number(step[named])}" if named else f"#{step['index'] + 1}"


def _pair(models: Sequence[Mapping[str, Any]], pair: Mapping[str, Any]) -> str:
    names = " → ".join(escape(str(models[pair[side]]["name"])) for side in ("earlier", "later"))
    counts = ", ".join(f"{number} {escape(status)}" for status, number in pair["counts"].items())
    said = f"<h2>{names}</h2><p>{counts or 'no layer'}; matched {escape(pair['matched'])}."
    if pair["equal"]:
        return f"{said} Equal: every number of every layer is the same.</p>"
    if pair["moved_most"]:
        said += f" Moved most: {escape(', '.join(pair['moved_most']))}."
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in pair["notes"])
    head = "".join(f"<th>{title}" for _, title in _PAIR_COLUMNS)
    rows = "".join(_row(layer) for layer in pair["layers"])
    words = "<p class=dim>In small print what chance gives; the red mark in a bar is chance too.</p>"
    table = f"<div class=scroll><table><tr><th>layer<th class=words>status{head}{rows}</table></div>"
    return f"{said}</p>{notes}{table}{words}"


def _row(layer: Mapping[str, Any]) -> str:
    why = layer["reason"] or (layer["note"].partition(";")[0] if layer["status"] in ("reordered", "rescaled") else "")
    said = escape(layer["status"]) + (f"<br><small>{escape(why)}</small>" if why else "")
    cells = "".join(_cell(key, layer["findings"].get(key, {})) for key, _ in _PAIR_COLUMNS)
    return f"<tr><td>{escape(layer['name'])}<td class=words>{said}{cells}"


def _cell(key: str, number: Mapping[str, Any]) -> str:
    value, baseline = number.get("value"), number.get("baseline")
    if value is None:
        return f"<td><small>{escape(number.get('reason', '') or '–')}</small>"
    beside = "" if baseline is None else f"<br><small>{_number(baseline)}</small>"
    bar = share(value, baseline) + "<br>" if key in _SHARES else ""
    return f"<td>{bar}{_number(value)}{beside}"


def _glossary(words: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(key)}<td class=words>{escape(one['symbol'])}<td class=words>{escape(one['meaning'])}"
        f"<td class=words><small>{escape(one['source'])}</small>"
        for key, one in words.items()
    )
    return f"<h2>What the numbers are</h2><div class=scroll><table>{rows}</table></div>" if rows else ""
