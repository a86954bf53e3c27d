"""Tables for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmd.cli.on_data.tables import on_data
from lmd.cli.plain import plain
from lmd.findings.sentence import sentence_of
from lmd.findings.words import words_of
from lmd.report.mixed import mixed_text
from lmd.sources.coverage import UNCHOSEN

if TYPE_CHECKING:
    from lmd.atlas.atlas import Atlas

__all__ = ["atlas_table", "console_for_tables", "coverage_line", "diagnosis_table", "inspection_table"]

_WIDTH_OF_A_PIPE = 200


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the exit code to the command line; rich would choose 1."""
        raise BrokenPipeError


def console_for_tables() -> Console:
    """On a terminal as wide as that is, and wide enough for a table anywhere else."""
    console = _Console(highlight=False)
    return console if console.is_terminal else _Console(highlight=False, width=_WIDTH_OF_A_PIPE)


def coverage_line(name: str, coverage: Mapping[str, Any]) -> str:
    """The first line of every output."""
    return (
        f"{name}: {coverage['parameters']:,} parameters, {_percent(coverage['decomposed'])} decomposed, "
        f"{_percent(coverage['accounted'])} accounted for"
    )


def _percent(share: float) -> str:
    # 99.96 % must not read as 100 %
    text = f"{100 * share:.1f}"
    return f"{'>99.9' if text == '100.0' and share < 1 else text} %"


_NO_OPERATOR = ("no operator: the forward pass failed", "no operator: a bare checkpoint")
_QUIET = ("buffer", "optimiser", "tied")
_MOST_QUIET = 20
"""Lines of such tensors."""
_MOST_SENTENCES = 12
_COLUMNS = (
    ("spectral_norm", "σ₁", ".4g"),
    ("stable_rank", "stable rank", ".4g"),
    ("rank_90", "rank 90 %", "d"),
    ("rank_99", "rank 99 %", "d"),
    ("spikes", "spikes", "d"),
    ("stable_directions", "stable", "d"),
)


def atlas_table(atlas: "Atlas") -> None:
    """Coverage, one line for each layer, and what was not decomposed."""
    console = console_for_tables()
    document = {
        "parameters": atlas.coverage.parameters,
        "decomposed": atlas.coverage.decomposed,
        "accounted": atlas.coverage.accounted,
    }
    console.print(Text(plain(coverage_line(atlas.network["name"], document)), style="bold"))
    entries = [record.entry for record in atlas.layers]
    whole = atlas.provenance.get("options", {}).get("layers", "*") == "*"
    # whoever chose layers by name sees what was chosen, heads and other parts included
    shown = [entry for entry in entries if entry["view_of"] is None or not whole]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("kind")
    table.add_column("out x in", justify="right")
    for _, title, _ in _COLUMNS:
        table.add_column(title, justify="right")
    brackets = _brackets(entries)
    if brackets:
        table.add_column("operator norm", justify="right")
    table.add_column("words")
    for entry in shown:
        beside = [brackets.get(entry["name"], Text("-", style="dim"))] if brackets and not entry["failed"] else []
        table.add_row(*_layer_cells(entry), *beside, *_words(entry))
    console.print(table)
    _sentences(console, shown)
    on_data(console, atlas, shown)
    if any((entry["findings"].get(key) or {}).get("baseline") is not None for entry in shown for key, _, _ in _COLUMNS):
        console.print(
            Text("value (what a random matrix of the same shape and Frobenius norm gives: Marchenko-Pastur)", "dim")
        )
    if len(shown) < len(entries):
        console.print(
            Text(
                f"{len(entries) - len(shown)} views (parts of layers) left out here; --json and the page have them",
                "dim",
            )
        )
    if atlas.provenance.get("options", {}).get("input_shape") is not None:
        _unsized(console, shown)
    _cannot_run(console, atlas.facts)
    _failures(console, entries)
    _rest(console, [(t.name, t.status, t.reason) for t in atlas.coverage.tensors])


def _words(entry: Mapping[str, Any]) -> list[Text]:
    return [] if entry["failed"] else [Text(", ".join(words_of(entry)))]


def _sentences(console: Console, entries: Sequence[Mapping[str, Any]]) -> None:
    if len(entries) > _MOST_SENTENCES:
        console.print(Text("a sentence for each layer: --json, --export csv and the page have them", "dim"))
        return
    for entry in entries:
        if entry["kind"] != "diagonal":
            said = " ".join(word for word in (sentence_of(entry), mixed_text(entry.get("mixed"))) if word)
            console.print(Text.assemble((plain(entry["name"]), "bold"), ": ", plain(said)))


def _brackets(entries: Sequence[Mapping[str, Any]]) -> dict[str, Text]:
    """Name of a kernel matrix to both bounds of the norm of its operator, on the first size it is called on."""
    found: dict[str, Text] = {}
    for entry in entries:
        bounds = [entry["findings"].get(f"operator_norm_{side}", {}).get("value") for side in ("lower", "upper")]
        if entry["view_of"] is not None and None not in bounds:
            # rounded outwards, so that what is shown holds too
            lower, upper = (_outwards(bound, up=up) for bound, up in zip(bounds, (False, True), strict=True))
            found.setdefault(entry["view_of"], Text(f"[{lower}, {upper}]"))
    return found


def _outwards(bound: float, *, up: bool) -> str:
    """Four digits, none of which takes a bound to its wrong side."""
    if bound == 0 or not isfinite(bound):
        return format(bound, ".4g")
    step = 10.0 ** (floor(log10(abs(bound))) - 3)
    return format((ceil if up else floor)(bound / step) * step, ".4g")


def _layer_cells(entry: Mapping[str, Any]) -> list[Text]:
    guess = "?" if entry["confidence"] == "guess" else ""
    # of an update that needs its base only the tensors are known
    shape = "-" if entry["kind"] == "adapter" and entry["method"] is None else " x ".join(map(str, entry["shape"]))
    head = [entry["name"], entry["kind"] + guess, shape]
    if entry["failed"]:
        return [Text(plain(cell)) for cell in (*head, "failed")]
    return [
        *(Text(plain(cell)) for cell in head),
        *(_number(entry["findings"].get(key), form) for key, _, form in _COLUMNS),
    ]


def _number(found: Mapping[str, Any] | None, form: str) -> Text:
    if found is None or found["value"] is None:
        return Text("-", style="dim")
    text = Text(format(found["value"], form))
    if found["baseline"] is not None:
        text.append(f" ({format(found['baseline'], form)})", style="dim")
    return text


def _unsized(console: Console, entries: Sequence[Mapping[str, Any]]) -> None:
    """Why a size of input that was given led to no operators: said once."""
    said = (part for entry in entries for part in entry["note"].split("; ") if part.startswith(_NO_OPERATOR))
    reason = next(said, None)
    if reason is not None:
        console.print(Text(plain(reason), style="yellow"))


def _cannot_run(console: Console, facts: Mapping[str, Any]) -> None:
    """What of a file's own graph is not known."""
    for reason in facts.get("cannot run", ())[:5]:
        console.print(Text(plain(f"cannot be run on data: {reason}"), style="yellow"))


def _failures(console: Console, entries: Sequence[Mapping[str, Any]]) -> None:
    for entry in entries:
        if entry["failed"]:
            console.print(Text(plain(f"failed: {entry['name']}: {entry['reason']}"), style="red"))
    unpaired = [entry for entry in entries if entry["kind"] == "difference" and entry["method"] is None]
    for entry in unpaired[:20]:
        console.print(Text(plain(f"not compared: {entry['name']}: {entry['reason']}"), style="yellow"))
    if len(unpaired) > 20:
        console.print(Text(f"... and {len(unpaired) - 20} more; --json lists them"))
    guesses = [entry for entry in entries if entry["alternatives"] and entry["confidence"] == "guess"]
    guesses = [entry for entry in guesses if entry["view_of"] is None]
    for entry in guesses[:10]:
        kind = entry["kind"]
        choices = " or ".join(f"{one} with its rows as stored" if one == kind else one for one in entry["alternatives"])
        console.print(
            Text(plain(f"guessed: {entry['name']} as {kind}; if it is {choices}: --kind '{entry['name']}=...'"))
        )
    if len(guesses) > 10:
        console.print(Text(f"... and {len(guesses) - 10} more guesses"))


def _rest(console: Console, tensors: Sequence[tuple[str, str, str]]) -> None:
    counts = Counter(status for _, status, _ in tensors)
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    console.print(Text(f"tensors: {words}"))
    unsupported = [(name, reason) for name, status, reason in tensors if status == "unsupported"]
    unchosen = [name for name, reason in unsupported if reason == UNCHOSEN]
    if unchosen:
        console.print(Text(f"{UNCHOSEN}: {len(unchosen)} tensor{'s' if len(unchosen) > 1 else ''}", "dim"))
    unsupported = [(name, reason) for name, reason in unsupported if reason != UNCHOSEN]
    for name, reason in unsupported[:20]:
        console.print(Text(plain(f"unsupported: {name}: {reason}"), style="yellow"))
    if len(unsupported) > 20:
        console.print(Text(f"... and {len(unsupported) - 20} more; --json lists them"))


def inspection_table(found: Mapping[str, Any]) -> None:
    """Coverage, and one line for each tensor."""
    console = console_for_tables()
    console.print(Text(plain(coverage_line(found["network"]["name"], found["coverage"])), style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("tensor", "left"), ("shape", "right"), ("status", "left"), ("read as", "left")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]  # a literal
    read = {name: r for r in found["readings"] for name in r["tensors"]}
    tensors = found["coverage"]["tensors"]
    quiet = [tensor for tensor in tensors if tensor["status"] in _QUIET]
    beside = {id(tensor) for tensor in quiet[_MOST_QUIET:]}
    for tensor in (tensor for tensor in tensors if id(tensor) not in beside):
        reading = read.get(tensor["name"])
        how = f"{reading['kind']} ({reading['confidence']})" if reading and tensor["status"] == "decomposed" else ""
        shape = " x ".join(map(str, tensor["shape"])) or "one number"
        table.add_row(
            *(Text(plain(cell)) for cell in (tensor["name"], shape, tensor["status"], how or tensor["reason"]))
        )
    console.print(table)
    if beside:
        counts = Counter(tensor["status"] for tensor in quiet[_MOST_QUIET:])
        words = ", ".join(f"{number} {status}" for status, number in counts.items())
        console.print(Text(f"... and more tensors that are no weights or the same ones: {words}; --json lists them"))
    _cannot_run(console, found["facts"])


def diagnosis_table(found: Mapping[str, Any]) -> None:
    """Versions, extras and threads."""
    console = console_for_tables()
    console.print(Text(f"lmd {found['lmd']} on Python {found['python']}, {found['platform']}", style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, installed in found["packages"].items():
        table.add_row(Text(name), Text(installed or "missing"))
    for extra, packages in found["extras"].items():
        missing = [name for name, installed in packages.items() if installed is None]
        words = ", ".join(f"{name} {installed}" for name, installed in packages.items() if installed)
        state = f"install with: pip install 'lmd[{extra}]' (missing {', '.join(missing)})" if missing else words
        table.add_row(Text(f"extra {extra}"), Text(state))
    threads = found["threads"]
    libraries = ", ".join(f"{b['library']} {b['threads']}" for b in threads["blas"])
    table.add_row(Text("threads"), Text(f"{threads['cores']} cores, torch {threads['torch']}, {libraries}"))
    console.print(table)
