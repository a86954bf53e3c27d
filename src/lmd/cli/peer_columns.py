"""The columns that users of WeightWatcher know: as a table, in the document, and as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmd.atlas.atlas import Atlas

__all__ = ["peer_document", "peer_exports", "peer_table"]

_COLUMNS = (
    ("alpha", "alpha", ".3g"),
    ("interval", "95 %", ""),
    ("alpha_random", "random", ".3g"),
    ("num_pl_spikes", "in tail", "d"),
    ("D", "D", ".3f"),
    ("pl_p", "p", ".2g"),
    ("lognormal_p", "p log-n.", ".2g"),
    ("alpha_weighted", "weighted", ".3g"),
    ("log_norm", "log norm", ".3g"),
    ("num_spikes", "spikes", "d"),
)
_SHOWN_PARTS = ("conv_operator", "conv_symbol")
_LEGEND = (
    "95 %: interval of alpha. random: alpha of a random matrix of the same shape. in tail: eigenvalues that alpha is "
    "from. p: of the fit, with --fit-draws 100. p log-n.: small if a log-normal tail fits better. All columns: --json, "
    "--export csv. What differs and why: docs/weightwatcher.md"
)
_NARROWEST = 32


def peer_table(atlas: "Atlas") -> None:
    """One line for each layer, heads and other parts left out but for what a convolution is on whole inputs."""
    from rich.table import Table
    from rich.text import Text

    from lmd.cli.plain import plain
    from lmd.cli.tables import console_for_tables
    from lmd.pipeline.weightwatcher import weightwatcher_rows

    rows = [row for row in weightwatcher_rows(atlas) if row["view_of"] is None or row["layer_type"] in _SHOWN_PARTS]
    # which matrix is a question where a layer has several
    named = any(row["layer_type"] == "kernel_matrix" for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold", min_width=_NARROWEST)
    columns = [column for column in _COLUMNS if column[0] != "pl_p" or any(row["pl_p"] is not None for row in rows)]
    for title in ("matrix",) * named + ("N x M", *(title for _, title, _ in columns)):
        table.add_column(title, justify="right")
    for row in rows:
        head = (row["longname"], *((row["matrix"],) * named), f"{row['N']} x {row['M']}")
        table.add_row(*(Text(plain(cell)) for cell in head), *(Text(_cell(row, *column)) for column in columns))
    console = console_for_tables()
    console.print(table)
    console.print(Text(_LEGEND, "dim"))


def _cell(row: Mapping[str, Any], key: str, _title: str, form: str) -> str:
    if key == "interval":
        return "-" if row["alpha"] is None else f"{row['alpha_low']:.3g}..{row['alpha_high']:.3g}"
    return "-" if row[key] is None else format(row[key], form)


def peer_document(atlas: "Atlas") -> dict[str, Any]:
    """The atlas's document, with the rows under ``weightwatcher``."""
    from lmd.pipeline.weightwatcher import weightwatcher_rows

    return {**atlas.document(), "weightwatcher": weightwatcher_rows(atlas)}


def peer_exports(atlas: "Atlas", exports: Mapping[str, Path]) -> dict[str, Path]:
    """Write the rows beside each export, ``weightwatcher.csv`` beside ``layers.csv``; where they are."""
    from lmd.atlas.atlas import write_rows
    from lmd.pipeline.weightwatcher import weightwatcher_rows

    rows = weightwatcher_rows(atlas)
    return {
        f"weightwatcher {word}": write_rows(rows, target.with_name(_beside(target, word)), word)
        for word, target in exports.items()
    }


def _beside(target: Path, word: str) -> str:
    stem = target.name.rpartition(f"{'document' if word == 'json' else 'layers'}.{word}")[0]
    return f"{stem}weightwatcher.{word}"
