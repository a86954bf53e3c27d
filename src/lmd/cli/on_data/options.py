"""What a command that takes data takes with it; used by every command that has ``--data``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

if TYPE_CHECKING:
    from lmd.data.examples import Examples

__all__ = [
    "Data",
    "HeaderRow",
    "Label",
    "Layout",
    "Length",
    "Loss",
    "Mean",
    "Rows",
    "Scale",
    "Std",
    "Targets",
    "Tokenizer",
    "Transform",
    "checked_loss",
    "opened",
]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Run the network on these examples: .npy, .npz, idx, .csv, .tsv, .parquet, a folder of pictures, .txt.",
    ),
]
Targets = Annotated[str | None, typer.Option(metavar="FILE", help="Targets of the examples, one for each.")]
Label = Annotated[
    str | None, typer.Option(metavar="COLUMN|INDEX", help="Column of a table that holds the targets; -1 is the last.")
]
HeaderRow = Annotated[str, typer.Option("--header", metavar="auto|yes|no", help="Whether a table's first line names.")]
Layout = Annotated[str, typer.Option(metavar="CHW|HWC", help="Whether pictures are stored with channels last, HWC.")]
Scale = Annotated[str | None, typer.Option(metavar="FACTOR", help="Multiply the inputs by it, such as 1/255.")]
Mean = Annotated[str | None, typer.Option(metavar="M[,M...]", help="Then take this away, one number or per channel.")]
Std = Annotated[str | None, typer.Option(metavar="S[,S...]", help="Then divide by this, one number or per channel.")]
Transform = Annotated[
    str | None,
    typer.Option(metavar="FILE.py:FUNCTION", help="Then apply your function from a batch to a batch; it is run."),
]
Rows = Annotated[int | None, typer.Option(min=1, help="Use the first examples only.")]
Tokenizer = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Of a text: a folder, tokenizer.json or tok*.bin; MODEL's if it has one."),
]
Length = Annotated[int, typer.Option(min=1, help="Tokens in one example of a text.")]
Loss = Annotated[
    str | None,
    typer.Option(metavar="cross_entropy|mse", help="Of outputs and targets; by the targets' type if left out."),
]


def checked_loss(word: str | None) -> Literal["cross_entropy", "mse"] | None:
    """The loss that the word names.

    Raises:
        ValueError: it names none.
    """
    if word in (None, "cross_entropy", "mse"):
        return cast("Literal['cross_entropy', 'mse'] | None", word)
    raise ValueError(f"--loss {word} must be cross_entropy or mse; leave it out to go by the targets' type.")


def opened(data: str | None, model: str, how: dict[str, Any]) -> "Examples | None":
    """The examples that the options describe; None without ``--data``.

    Raises:
        ValueError: options about data without data, or one that does not fit.
    """
    given = {name: value for name, value in how.items() if value is not None}
    defaults = {"header": "auto", "layout": "CHW", "length": 128}
    if data is None:
        idle = [name for name, value in given.items() if value != defaults.get(name)]
        if idle:
            raise ValueError(f"--{idle[0]} came without --data; give the examples that it is about with --data.")
        return None
    from lmd.data.open_data import open_data

    if "tokenizer" not in given and data.endswith((".txt", ".md", ".text")) and Path(model).is_dir():
        given["tokenizer"] = model
    return open_data(data, **given)
