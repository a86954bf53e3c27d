"""What was found on data, for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmd.cli.plain import plain

if TYPE_CHECKING:
    from lmd.atlas.atlas import Atlas

__all__ = ["on_data"]

_COLUMNS = (
    ("data_gain", "gain", ".3g"),
    ("data_gain_share", "of largest", ".3g"),
    ("leading_energy", "energy in leading", ".3g"),
    ("gates_open", "gates open", ".3g"),
    ("dead_units", "dead", "d"),
    ("duplicate_units", "duplicates", "d"),
    ("pieces", "pieces", ".4g"),
    ("near_folds", "folds to neighbour", ".3g"),
)
_WORDS = (
    ("accuracy", "accuracy", "the commonest class alone"),
    ("loss", "loss", "the best constant answer"),
    ("network_pieces", "linear pieces met", "one for each example"),
    ("network_near_folds", "gates that change on the way to the nearest neighbour", "to a random example"),
    ("jacobian_norm", "largest singular value of the Jacobian, median over examples", "product of the layers' norms"),
    ("jacobian_largest", "the same at the worst example", "product of the layers' norms"),
    ("largest_expansion", "distances between neighbours grow at most", "between random examples"),
    ("smallest_expansion", "distances between neighbours grow at least", "between random examples"),
)


def on_data(console: Console, atlas: "Atlas", shown: Sequence[Mapping[str, Any]]) -> None:
    """The examples, the network on them in a few lines, and a table of its layers; nothing without data."""
    data = atlas.provenance.get("data")
    if not isinstance(data, Mapping):
        return
    shape = " x ".join(map(str, data["shape"]))
    console.print()
    head = f"on {data['count']:,} examples of {data['source']}, each {shape or 'one number'}"
    console.print(Text(plain(head), style="bold"))
    for note in data["notes"]:
        console.print(Text(plain(f"note: {note}"), style="yellow"))
    for key, words, beside in _WORDS:
        _line(console, atlas.whole.get(key, {}), words, beside)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    for _, title, _ in _COLUMNS:
        table.add_column(title, justify="right")
    for entry in shown:
        cells = [_cell(entry["findings"].get(key, {}), form) for key, _, form in _COLUMNS]
        if any(cell.plain != "-" for cell in cells):
            table.add_row(Text(plain(entry["name"])), *cells)
    if table.row_count:
        console.print(table)


def _line(console: Console, found: Mapping[str, Any], words: str, beside: str) -> None:
    if found.get("value") is None:
        return
    error = f" ± {found['error']:.2g}" if found["error"] else ""
    against = f" ({beside}: {found['baseline']:.4g})" if found["baseline"] is not None else ""
    console.print(Text(f"{words}: {found['value']:.4g}{error}{against}"))


def _cell(found: Mapping[str, Any], form: str) -> Text:
    if found.get("value") is None:
        return Text("-", style="dim")
    text = Text(format(found["value"], form))
    if found["baseline"] is not None:
        text.append(f" ({format(found['baseline'], '.3g')})", style="dim")
    return text
