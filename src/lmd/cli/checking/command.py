"""`lmd check`: words to the call, and the exit code of its verdict."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.exits import exits

__all__ = ["check"]


def check(  # noqa: PLR0913 - typer reads a command's options from its parameters
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="As for decompose; or a folder that `lmd decompose --out` wrote, with what was found on data.",
        ),
    ],
    *,
    policy: Annotated[Path, typer.Option(metavar="FILE", help="TOML file with one [[rule]] for each demand.")],
    layers: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only layers whose name fits are looked at.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Examples, for rules about findings on data; more options: decompose --out, then check that folder.",
        ),
    ] = None,
    targets: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="What the network should say of each example.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for the linear algebra.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, and no output but the exit code.")] = False,
) -> None:
    """Hold the findings against limits: exit code 0 if all demands are met, 1 with the layers that break them."""
    from lmd.cli.limits import limited

    with exits(), limited(threads):
        from lmd.cli.progress import layer_progress
        from lmd.pipeline.checking.check import check as run
        from lmd.pipeline.checking.policy import read_policy

        demanded = read_policy(policy)
        given = {"layers": layers, "data": data, "targets": targets}
        with layer_progress(quiet=quiet) as progress:
            found = run(model, demanded, progress=progress, **{k: v for k, v in given.items() if v is not None})
        if json_:
            typer.echo(json.dumps(found.document(), indent=1, ensure_ascii=False, allow_nan=False))
        elif not quiet:
            from lmd.cli.checking.tables import check_table

            check_table(found)
    if not found.passed:
        raise typer.Exit(1)
