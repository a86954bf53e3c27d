"""Words on the command line to one of the calls; exit codes; nothing else."""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmd.atlas.json_values import json_value
from lmd.cli.checking.command import check
from lmd.cli.comparing.command import compare, earlier_comparison, saved_page
from lmd.cli.exits import OneLine, exits
from lmd.cli.limits import limited
from lmd.cli.on_data.options import (
    Data,
    HeaderRow,
    Label,
    Layout,
    Length,
    Loss,
    Mean,
    Rows,
    Scale,
    Std,
    Targets,
    Tokenizer,
    Transform,
    checked_loss,
    opened,
)
from lmd.cli.peer_columns import peer_document, peer_exports, peer_table
from lmd.sources.errors import UnreadableModelError

if TYPE_CHECKING:
    from lmd.atlas.atlas import Atlas

__all__ = ["app", "main"]

app = typer.Typer(
    name="lmd",
    cls=OneLine,
    help="Layer Matrix Decomposition: open a trained network and see, layer by layer, what its weights encode.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 ok, 1 a requested check failed, 2 usage, 3 unreadable input or unwritable output, 4 unsafe "
    "file refused, 5 at least one layer failed, 130 interrupted.",
)

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Checkpoint file, Hugging Face folder, or Hub name owner/name[@revision]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no hints.")]
Seed = Annotated[int, typer.Option(min=0, max=2**62, help="Seed of everything random.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads for the linear algebra; all cores by default.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="GLOB=KIND", help="Read modules of a bare checkpoint as KIND; may be repeated."),
]


def main() -> None:
    """Run the command line."""
    app()


@app.callback()
def _root(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if show:
        from lmd import __version__

        typer.echo(f"lmd {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model, the atlas and the page.")] = Path("lmd-demo"),
    seed: Seed = 0,
    threads: Threads = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a small network on built-in data, decompose it, and write a page to look at."""
    with exits(), limited(threads):
        from lmd.cli.demonstration import run_demo

        atlas, page = run_demo(out, seed, quiet=quiet)
        _show(atlas, as_json=json_)
        if not json_:
            model = out / "digits.pt"
            typer.echo(f"\nPage:  {page}\nAtlas: {out / 'atlas'}\nModel: {model}  (try: lmd decompose {model})")


@app.command()
def inspect(model: Model, kind: Kinds = None, json_: Json = False) -> None:
    """Say what a file holds and how its layers would be read, from its header alone."""
    with exits():
        from lmd.cli.tables import inspection_table
        from lmd.sources.inspection import inspect_model

        found = inspect_model(model, _kinds(kind))
        typer.echo(_as_json(found)) if json_ else inspection_table(found)


@app.command()
def decompose(
    model: Model,
    layers: Annotated[str, typer.Option(metavar="GLOB", help="Only layers whose name fits.")] = "*",
    rank: Annotated[int | None, typer.Option(help="Keep this many singular triples of each layer.")] = None,
    energy: Annotated[float | None, typer.Option(help="Keep triples up to this share of ||W||_F^2, in (0, 1].")] = None,
    error: Annotated[
        float | None, typer.Option(help="Keep triples until the relative Frobenius error is at most this.")
    ] = None,
    vectors: Annotated[str, typer.Option(metavar="all|none|K", help="How many triples to keep without a rule.")] = "32",
    base: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Decompose W - W of OTHER: the model this one, or this adapter, came from."),
    ] = None,
    data: Data = None,
    targets: Targets = None,
    label: Label = None,
    header: HeaderRow = "auto",
    layout: Layout = "CHW",
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    transform: Transform = None,
    rows: Rows = None,
    tokenizer: Tokenizer = None,
    length: Length = 128,
    loss: Loss = None,
    kind: Kinds = None,
    builder: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION", help="Your function that returns the module of a bare checkpoint; it is run."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the atlas, written layer by layer.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in --out.")] = False,
    export: Annotated[
        list[str] | None, typer.Option(metavar="csv|parquet|json", help="Write the numbers too; may be repeated.")
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts/--no-parts", help="Rows for parts of layers too: heads, circuits, operators.")
    ] = True,
    distance: Annotated[int, typer.Option(help="Query minus key position, for heads with rotary positions.")] = 0,
    fold_bias: Annotated[bool, typer.Option("--fold-bias", help="Take [W b] where layers have biases.")] = False,
    fold_norm: Annotated[
        bool, typer.Option("--fold-norm", help="Take W diag(gain) where a normalisation comes right before.")
    ] = False,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]CxHxW[:TYPE]",
            help="Shape of one example, 3x32x32: convolutions as operators on such inputs. Repeat it for each input.",
        ),
    ] = None,
    rounding: Annotated[
        str,
        typer.Option(metavar="TYPE", help="Rounding to survive: stored, float32, float16, bf16, fp8, int8 or int4."),
    ] = "stored",
    pseudospectra: Annotated[
        bool,
        typer.Option("--pseudospectra", help="Growth of states before they fade, of recurrent maps; seconds each."),
    ] = False,
    weightwatcher_columns: Annotated[
        bool,
        typer.Option("--weightwatcher-columns", help="The columns of WeightWatcher, with the quality of its fit."),
    ] = False,
    fit_draws: Annotated[
        int, typer.Option(min=0, metavar="N", help="Samples for the p-value of that fit; 100 take seconds.")
    ] = 0,
    seed: Seed = 0,
    threads: Threads = None,
    device: Annotated[str, typer.Option(help="Where to compute; cpu is the only choice so far.")] = "cpu",
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decompose every layer's matrix, with exact errors, and print what was found."""
    with exits(out), limited(threads):
        _refuse_device(device)
        exports = _export_targets(export or [], out, model, force=force or resume)
        rules = {"rank": rank, "energy": energy, "error": error}
        count = _vector_count(vectors, rules)
        from lmd.cli.progress import layer_progress
        from lmd.pipeline.decompose import decompose as run

        how = {"targets": targets, "label": label, "header": header, "layout": layout, "scale": scale, "mean": mean}
        how |= {"std": std, "transform": transform, "rows": rows, "tokenizer": tokenizer, "length": length}
        with layer_progress(quiet=quiet) as progress:
            atlas = run(
                model,
                opened(data, model, how),
                loss=checked_loss(loss),
                base=base,
                out=out,
                resume=resume,
                force=force,
                builder=builder,
                progress=progress,
                layers=layers,
                vectors=count,
                seed=seed,
                kinds=_kinds(kind),
                parts=parts,
                distance=distance,
                fold_bias=fold_bias,
                fold_norm=fold_norm,
                input_shape=input_shape or None,
                rounding=rounding,
                pseudospectra=pseudospectra,
                power_law=weightwatcher_columns,
                power_law_draws=fit_draws,
                **rules,
            )
        # first what cannot be lost: an export may fail for want of a library or of space
        _show(atlas, as_json=json_, peer=weightwatcher_columns)
        for word, target in exports.items():
            atlas.export(target, word)
        if weightwatcher_columns:
            exports |= peer_exports(atlas, exports)
        _tell(out, exports, quiet=quiet or json_)
    if any(record.failed for record in atlas.layers):
        raise typer.Exit(5)


app.command()(compare)
app.command()(check)


@app.command()
def report(
    atlas: Annotated[
        Path, typer.Argument(metavar="ATLAS", help="Folder that `lmd decompose --out` or `lmd compare --out` wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="File for the page; report.html in the atlas by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --out names.")] = False,
    quiet: Quiet = False,
) -> None:
    """Turn an atlas, or a comparison, into one offline page."""
    with exits():
        if out is not None and out.exists() and not force:
            raise FileExistsError(f"{out} exists already; add --force to replace it.")

        compared = earlier_comparison([str(atlas)])
        if compared is not None:
            page = saved_page(compared, out or atlas / "report.html")
            typer.echo(str(page) if quiet else f"Page: {page}")
            return
        from lmd.atlas.atlas import Atlas
        from lmd.report.page import write_page

        try:
            loaded = Atlas.load(atlas)
        except (FileNotFoundError, ValueError) as fault:
            raise UnreadableModelError(str(fault)) from fault
        folder = atlas.parent if atlas.name == "atlas.json" else atlas
        page = write_page(loaded.document(), loaded.arrays, out or folder / "report.html")
        typer.echo(str(page) if quiet else f"Page: {page}")


@app.command()
def doctor(json_: Json = False) -> None:
    """Print versions, installed extras and threads, for a bug report."""
    with exits():
        from lmd.cli.doctor import diagnosis
        from lmd.cli.tables import diagnosis_table

        found = diagnosis()
        typer.echo(_as_json(found)) if json_ else diagnosis_table(found)


def _kinds(words: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words or []:
        glob, _, kind = word.rpartition("=")
        if not glob or not kind:
            raise ValueError(f"--kind {word} must be GLOB=KIND, for example 'embedding=dense'.")
        pairs[glob] = kind
    return pairs


def _refuse_device(device: str) -> None:
    if device != "cpu":
        raise ValueError(f"--device {device}: decompositions run in double precision on the cpu; leave --device out.")


def _vector_count(word: str, rules: Mapping[str, Any]) -> int | None:
    if word != "32" and any(value is not None for value in rules.values()):
        raise ValueError("--vectors and --rank, --energy or --error exclude each other; keep one of them.")
    if word in ("all", "none"):
        return None if word == "all" else 0
    if not word.isdecimal():
        raise ValueError(f"--vectors {word} must be all, none or a number of triples.")
    return int(word)


_EXPORTS = {"csv": "layers.csv", "parquet": "layers.parquet", "json": "document.json"}


def _export_targets(words: list[str], out: Path | None, model: str, *, force: bool) -> dict[str, Path]:
    """Where each export goes: into the atlas, or beside the caller under the model's name."""
    wrong = [word for word in words if word not in _EXPORTS]
    if wrong:
        raise ValueError(f"--export {wrong[0]} must be one of {', '.join(_EXPORTS)}.")
    stem = Path(model.partition("@")[0]).stem
    targets = {word: (out / _EXPORTS[word] if out else Path(f"{stem}.{_EXPORTS[word]}")) for word in words}
    for target in targets.values():
        if target.exists() and not force:
            raise FileExistsError(f"{target} exists already; add --force to replace it.")
    return targets


def _show(atlas: "Atlas", *, as_json: bool, peer: bool = False) -> None:
    if as_json:
        typer.echo(_as_json(peer_document(atlas) if peer else atlas.document()))
        return
    if peer:
        peer_table(atlas)
        return
    from lmd.cli.tables import atlas_table

    atlas_table(atlas)


def _as_json(value: Any) -> str:
    return json.dumps(json_value(value), indent=1, ensure_ascii=False, allow_nan=False)


def _tell(out: Path | None, targets: Mapping[str, Path], *, quiet: bool) -> None:
    if quiet:
        return
    with suppress(OSError):
        for target in targets.values():
            typer.echo(f"wrote {target}", err=True)
    hint = f"atlas in {out}; look at it: lmd report {out}" if out else "nothing saved; keep it with --out FOLDER"
    with suppress(OSError):
        typer.echo(hint, err=True)


if __name__ == "__main__":
    sys.exit(main())
