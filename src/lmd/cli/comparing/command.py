"""`lmd compare`: words to the call, and to what is shown."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmd.cli.exits import exits
from lmd.sources.errors import UnreadableModelError

if TYPE_CHECKING:
    from lmd.atlas.trajectory import Trajectory

__all__ = ["compare", "earlier_comparison", "parsed_globs", "saved_page"]


def compare(  # noqa: PLR0913 - typer reads a command's options from its parameters
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]",
            help="Models in the order of their training, as for decompose; or one folder that a Recorder, or an "
            "earlier --out, wrote.",
        ),
    ],
    *,
    align: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB=GLOB", help="Names in A = names in the others; may be repeated. 'enc.*=encoder.*'"),
    ] = None,
    layers: Annotated[str, typer.Option(metavar="GLOB", help="Only layers whose name in A fits.")] = "*",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="GLOB=KIND", help="Read modules of bare checkpoints as KIND; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the comparison and its page.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in --out.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for the linear algebra.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no hints.")] = False,
) -> None:
    """Say what moved between two models, or along several: sizes, spectra, leading directions, each with its null."""
    from lmd.cli.limits import limited

    with exits(), limited(threads):
        found = earlier_comparison(models) or _fresh(
            models, parsed_globs(align or [], "--align"), layers, parsed_globs(kind or [], "--kind"), quiet=quiet
        )
        if out is not None:
            found.save(out, force=force)
            page = saved_page(found, out / "report.html")
        if json_:
            typer.echo(json.dumps(found.document(), indent=1, ensure_ascii=False, allow_nan=False))
        else:
            from lmd.cli.comparing.tables import comparison_table

            comparison_table(found)
        if not quiet and not json_:
            typer.echo(f"page: {page}" if out else "nothing saved; keep it with --out FOLDER", err=True)
    if any(layer["status"] == "failed" for pair in found.pairs for layer in pair["layers"]):
        raise typer.Exit(5)


def saved_page(found: "Trajectory", path: Path) -> Path:
    """Write the page of a comparison."""
    from lmd.report.comparing.page import write_comparison

    return write_comparison(found.document(), path)


def earlier_comparison(models: list[str]) -> "Trajectory | None":
    """A comparison that was saved, or a training that was recorded."""
    if len(models) != 1:
        return None
    from lmd.atlas.trajectory import COMPARISON_FILE, Trajectory
    from lmd.training.recorded import is_recorded, recorded_trajectory

    try:
        if is_recorded(models[0]):
            return recorded_trajectory(models[0])
        if (Path(models[0]) / COMPARISON_FILE).is_file():
            return Trajectory.load(models[0])
    except ValueError as fault:
        raise UnreadableModelError(str(fault)) from fault
    return None


def _fresh(
    models: list[str], align: dict[str, str], layers: str, kinds: dict[str, str], *, quiet: bool
) -> "Trajectory":
    from lmd.cli.progress import layer_progress
    from lmd.pipeline.comparing.compare import compare as run

    with layer_progress(quiet=quiet) as progress:
        return run(*models, align=align, layers=layers, kinds=kinds, progress=progress)


def parsed_globs(words: list[str], option: str) -> dict[str, str]:
    """``GLOB=WORD`` pairs of a repeated option.

    Raises:
        ValueError: one of them is no such pair.
    """
    pairs: dict[str, str] = {}
    for word in words:
        glob, _, other = word.rpartition("=")
        if not glob or not other:
            raise ValueError(f"{option} {word} must be two words around an equals sign, for example 'encoder.*=enc.*'.")
        pairs[glob] = other
    return pairs
