"""A comparison as tables that need no other page to be read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lmd.cli.plain import plain
from lmd.cli.tables import console_for_tables

if TYPE_CHECKING:
    from rich.console import Console

    from lmd.atlas.trajectory import Trajectory

__all__ = ["comparison_table"]

_COLUMNS = (
    ("relative_change", "change", ".3g"),
    ("spectra_distance", "spectrum moved", ".2g"),
    ("change_stable_rank", "stable rank of change", ".3g"),
    ("change_above_rounding", "rank of change", "d"),
    ("overlap_out", "outputs kept", ".2f"),
    ("overlap_in", "inputs kept", ".2f"),
    ("intruders", "intruders", "d"),
)
_LEGEND = (
    "change: ‖later−earlier‖/‖earlier‖ (1.41 = unrelated matrices of one size). spectrum moved: the same of the "
    "singular values alone. rank of change: its directions beyond rounding. outputs / inputs kept: share of the k "
    "leading directions of the earlier layer that those of the later one still span, k = rank_90 of the earlier, at "
    "most 32. "
    "intruders: of the later layer's 10 leading output directions those like none of the earlier one's. In brackets "
    "what chance gives."
)
_PLAIN = {"equal": "equal", "rounding": "equal up to rounding", "reordered": "reordered", "rescaled": "rescaled"}
_FOLLOWED = (
    ("relative_change", "change since the first", ".3g"),
    ("spectral_norm", "σ₁", ".3g"),
    ("stable_rank", "stable rank", ".3g"),
)
_MOST_STEPS = 6


def comparison_table(found: "Trajectory") -> None:
    """What the models are, a table for each pair, and what became of each layer over all of them."""
    console = console_for_tables()
    for place, model in enumerate(found.models):
        console.print(Text(plain(_model(place, model)), style="bold"))
    for note in found.notes:
        console.print(Text(plain(f"note: {note}"), style="yellow"))
    for pair in found.pairs:
        _pair(console, found.models, pair)
    if any(not pair["equal"] for pair in found.pairs):
        console.print(Text(f"\n{_LEGEND}", style="dim"))
    if len(found.trajectory.get("steps", ())) > 2 or not found.pairs:
        _over_time(console, found.trajectory)


def _model(place: int, model: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {value:g}" for name, value in model.get("training", {}).items())
    return f"{_letter(place)}  {model['name']}" + (f"  ({told})" if told else "")


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"#{place + 1}"


def _pair(console: "Console", models: Sequence[Mapping[str, Any]], pair: Mapping[str, Any]) -> None:
    letters = f"{_letter(pair['earlier'])} → {_letter(pair['later'])}"
    counts = ", ".join(f"{number} {_PLAIN.get(status, status)}" for status, number in pair["counts"].items())
    console.print(Text(f"\n{letters}: {counts or 'no layer'}; matched {pair['matched']}", style="bold"))
    for note in pair["notes"]:
        console.print(Text(plain(f"note: {note}"), style="yellow"))
    if pair["equal"]:
        console.print(f"{letters}: equal: every number of every layer is the same")
        return
    shown = [layer for layer in pair["layers"] if layer["findings"] and layer["status"] != "equal"]
    if shown:
        console.print(_table(shown))
    if pair["moved_most"]:
        console.print(Text(plain("moved most: " + ", ".join(pair["moved_most"]))))
    _said(console, pair)


def _table(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("out x in", justify="right")
    for _, title, _ in _COLUMNS:
        table.add_column(title, justify="right")
    table.add_column("k", justify="right")
    for layer in layers:
        findings = layer["findings"]
        cells = [_cell(findings.get(key, {}), form) for key, _, form in _COLUMNS]
        k = findings.get("compared_directions", {}).get("value")
        table.add_row(
            Text(plain(layer["name"])), " x ".join(map(str, layer["shape"])), *cells, "-" if k is None else str(k)
        )
    return table


def _cell(number: Mapping[str, Any], form: str) -> Text:
    value, baseline = number.get("value"), number.get("baseline")
    if value is None:
        return Text("-", style="dim")
    beside = "" if baseline is None else f" ({_formatted(baseline, form)})"
    return Text(_formatted(value, form)).append(beside, style="dim")


def _formatted(value: float, form: str) -> str:
    whole = form == "d" and float(value).is_integer()
    return format(int(value), "d") if whole else format(value, ".2g" if form == "d" else form)


def _said(console: "Console", pair: Mapping[str, Any]) -> None:
    """What a number alone does not tell: no counterpart, another order, a fault."""
    for layer in pair["layers"]:
        if layer["status"] in ("unmatched", "failed"):
            word = "not compared" if layer["status"] == "unmatched" else "failed"
            console.print(Text(plain(f"{word}: {layer['name']}: {layer['reason']}")))
        elif layer["status"] in ("reordered", "rescaled"):
            console.print(Text(plain(f"{layer['status']}: {layer['name']}: {layer['note'].partition(';')[0]}")))
    others = pair.get("other_tensors", ())
    if others:
        counts: dict[str, int] = {}
        for one in others:
            counts[one["status"]] = counts.get(one["status"], 0) + 1
        told = ", ".join(f"{number} {status}" for status, number in counts.items())
        console.print(Text(f"biases and other tensors outside layers: {told}", style="dim"))


def _over_time(console: "Console", trajectory: Mapping[str, Any]) -> None:
    steps = trajectory.get("steps", ())
    chosen = _few(len(steps))
    console.print(Text(f"\nover the {len(steps)} {trajectory.get('of', 'checkpoints')}", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    keys = [key for key in _FOLLOWED if any(_values(layer, key[0]) for layer in trajectory.get("layers", ()))]
    for _, title, _ in keys:
        table.add_column(title)
    for layer in trajectory.get("layers", ()):
        cells = [_journey(_values(layer, key), chosen, form) for key, _, form in keys]
        table.add_row(Text(plain(layer["name"])), *cells)
    console.print(table)
    console.print(Text("columns follow " + ", ".join(_step(steps[place]) for place in chosen), style="dim"))


def _values(layer: Mapping[str, Any], key: str) -> Sequence[float | None]:
    return layer.get("quantities", {}).get(key, {}).get("values", ())


def _journey(values: Sequence[float | None], chosen: Sequence[int], form: str) -> str:
    if not values:
        return "-"
    return " → ".join("-" if values[place] is None else format(values[place], form) for place in chosen)


def _few(count: int) -> list[int]:
    if count <= _MOST_STEPS:
        return list(range(count))
    return sorted({round(place * (count - 1) / (_MOST_STEPS - 1)) for place in range(_MOST_STEPS)})


def _step(step: Mapping[str, Any]) -> str:
    for name in ("step", "iterations", "epoch"):
        if name in step:
            return f"{name} {step[name]:g}"
    return _letter(step["index"])
