"""Two or more networks in, what moved between them out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import nn

from lmd.atlas.layer_record import glossary
from lmd.atlas.trajectory import COMPARISON_FILE, Trajectory
from lmd.engines.local import Engine, Local
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.alignment import Alignment, align
from lmd.layers.updates.differences import compared
from lmd.layers.updates.matching import plain
from lmd.layers.updates.pairs import Changed, paired
from lmd.layers.walk import Walk, walk
from lmd.pipeline.comparing.other_tensors import other_tensors
from lmd.pipeline.comparing.over_time import FOLLOWED
from lmd.pipeline.comparing.pair_task import PairTask, change_row, pair_row
from lmd.pipeline.comparing.progress_of import ascending, told_progress
from lmd.pipeline.comparing.timeline import known_already, timeline
from lmd.sources.network import Network
from lmd.sources.open_network import open_network
from lmd.sources.wishes import Wishes

__all__ = ["compare"]

Progress = Callable[[int, int, str], None]
_MOST_MOVED = 5
_PAIR_KEYS = "comparison"


def compare(  # noqa: PLR0913 - the documented options of the call, keyword-only
    *models: nn.Module | str | Path,
    align: Mapping[str, str] | None = None,
    layers: str = "*",
    out: str | Path | None = None,
    force: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Trajectory:
    """Compare checkpoints, a model with its fine-tune or its adapter, or one network in two formats.

    Args:
        *models: two or more, in the order of their training: modules, paths or Hub names.
        align: glob of layer names in the first model to the glob of the same layers in the others.
        layers: glob of the layers to compare, by their names in the first model.
        out: folder for the comparison.
        force: replace a comparison in ``out``.
        engine: where the work runs; this process by default.
        progress: called with (layers done, layers in all, name of the last).
        kinds: glob of module paths to kind, for bare files.

    Returns:
        Each model against the next and the first against the last, and the cheap findings of each layer over all.

    Raises:
        TypeError: a model is of another type.
        ValueError: fewer than two models, or two of them have no layer in common.
        UnreadableModelError: a model cannot be read.
        UnsafeModelError: reading it would run code.
        FileExistsError: ``out`` holds a comparison already.

    >>> import torch, lmd
    >>> before = torch.nn.Linear(3, 2)
    >>> lmd.compare(before, before).pair()["equal"]
    True
    """
    _refuse(models, out, force=force)
    clock, started = perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    opened = [_Opened.of(model, kinds, whole=layers) for model in models]
    plans = [_plan(opened[i], opened[j], align or {}, (i, j), layers) for i, j in _places(len(models))]
    counter = _Counter(progress, sum(len(plan.tasks) for plan in plans))
    run = engine or Local()
    rows = [list(counter.through(run.map(pair_row, plan.tasks))) for plan in plans]
    known = known_already(plans, rows)
    pairs = tuple(_pair(plan, done) for plan, done in zip(plans, rows, strict=True))
    changes = _since_first(opened, plans, rows, align or {}, layers, run)
    told = [told_progress(one.network.facts) for one in opened]
    result = Trajectory(
        models=tuple(_described(one.network, facts) for one, facts in zip(opened, told, strict=True)),
        pairs=pairs,
        trajectory=timeline([one.found for one in opened], plans, known, changes, run, told, layers),
        notes=_notes(told),
        provenance={"lmd": version("lmd"), "torch": version("torch"), "started": started, "layers": layers}
        | {"align": dict(align or {}), "seconds": round(perf_counter() - clock, 3)},
        glossary=_glossary(),
    )
    if out is not None:
        result.save(out, force=force)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    network: Network
    found: Walk

    @classmethod
    def of(cls, model: nn.Module | str | Path, kinds: Mapping[str, str] | None, *, whole: str) -> "_Opened":
        network = open_network(model, kinds=None if isinstance(model, nn.Module) else kinds)
        network = replace(network, wishes=Wishes(parts=False))
        found = walk(network)
        return cls(network, Walk(tuple(row for row in found.layers if row.view_of is None), found.reasons))


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is to be done for one pair."""

    places: tuple[int, int]
    alignment: Alignment
    tasks: list[PairTask]
    others: list[dict[str, Any]]
    notes: tuple[str, ...]


def _places(count: int) -> list[tuple[int, int]]:
    neighbours = [(place, place + 1) for place in range(count - 1)]
    return neighbours if count == 2 else [*neighbours, (0, count - 1)]


def _plan(earlier: _Opened, later: _Opened, globs: Mapping[str, str], places: tuple[int, int], layers: str) -> _Plan:
    # the globs rename from the first model's names; between two later ones the names agree already
    alignment = _align(earlier, later, globs if places[0] == 0 else {})
    try:
        rows = compared(alignment.rows, earlier.network, later.network).layers
    except ValueError as fault:
        raise ValueError(
            f"{later.network.name} has no layer in common with {earlier.network.name}: neither names, with or without "
            f"a prefix, nor shapes in their order fit; compare networks of one architecture, or name the layers with "
            f"--align GLOB=GLOB."
        ) from fault
    chosen = [row for row in rows if fnmatchcase(row.name, layers)]
    if rows and not chosen:
        some = ", ".join(row.name for row in rows[:4])
        raise ValueError(f"layers={layers!r} fits none of the {len(rows)} layers; names look like {some}.")
    lone = [sum(1 for row in one.found.layers if row.kind == "diagonal") for one in (earlier, later)]
    folded = lone[0] != lone[1]
    others = other_tensors(earlier.network, later.network, earlier.found, later.found)
    tasks = [PairTask(row, folded) for row in _beside_adapters([paired(row) for row in chosen])]
    return _Plan(places, alignment, tasks, others, _conventions(lone))


def _since_first(
    opened: Sequence[_Opened],
    plans: Sequence[_Plan],
    rows: Sequence[Sequence[dict[str, Any]]],
    globs: Mapping[str, str],
    layers: str,
    engine: Engine,
) -> list[dict[str, Mapping[str, Any]]]:
    """For each model after the first: name of a layer in the first to its relative change since then."""
    known = {
        plan.places[1]: {row["name"]: row["findings"].get("relative_change", {}) for row in done}
        for plan, done in zip(plans, rows, strict=True)
        if plan.places[0] == 0
    }
    for place in range(1, len(opened)):
        if place not in known:
            tasks = _plan(opened[0], opened[place], globs, (0, place), layers).tasks
            known[place] = {row["name"]: row["change"] for row in engine.map(change_row, tasks)}
    return [known[place] for place in range(1, len(opened))]


def _align(earlier: _Opened, later: _Opened, globs: Mapping[str, str]) -> Alignment:
    """The later rows under the earlier ones' names."""
    return align(later.found, earlier.found, globs)


def _beside_adapters(rows: Sequence[LayerMatrix]) -> list[LayerMatrix]:
    """A layer and what its adapter makes of it are two rows: the one without the adapter says so."""
    adapted = {row.name for row in rows if isinstance(row, Changed) and row.adapter}
    return [
        replace(row, name=f"{plain(row.name)} (without its adapter)")
        if plain(row.name) in adapted and not (isinstance(row, Changed) and row.adapter)
        else row
        for row in rows
    ]


def _conventions(lone: Sequence[int]) -> tuple[str, ...]:
    if lone[0] == lone[1]:
        return ()
    return (
        f"the earlier model has {lone[0]} normalisation layers and the later one {lone[1]}: where one was folded into "
        f"the layer before it, that layer differs by a factor for each of its rows, and its row says so",
    )


def _pair(plan: _Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    layers = [_with_own_name(row, plan.alignment) for row in rows]
    statuses = [row["status"] for row in layers]
    others = [one["status"] for one in plan.others]
    moved = [row for row in layers if row["status"] == "changed" and row["findings"]]
    moved.sort(key=lambda row: -(row["findings"]["relative_change"]["value"] or 0.0))
    return {
        "earlier": plan.places[0],
        "later": plan.places[1],
        "matched": plan.alignment.rule,
        "equal": all(status == "equal" for status in (*statuses, *others)),
        "counts": {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        "moved_most": [row["name"] for row in moved[:_MOST_MOVED]],
        "notes": list(plan.notes),
        "layers": layers,
        "other_tensors": plan.others,
    }


def _with_own_name(row: dict[str, Any], alignment: Alignment) -> dict[str, Any]:
    own = alignment.names.get(row["name"])
    row = {key: value for key, value in row.items() if key != "followed"}
    return {**row, "later_name": own} if own is not None else row


def _described(network: Network, facts: Mapping[str, float]) -> dict[str, Any]:
    known = {"name": network.name, "source": network.source, "sha256": network.sha256, "dtype": network.dtype}
    return {**known, "training": dict(facts)}


def _notes(told: list[dict[str, float]]) -> tuple[str, ...]:
    if ascending(told) is False:
        return (
            "the models were not given in the order of their training, as their own files tell it; give them in that "
            "order to read the trajectory as one",
        )
    return ()


def _glossary() -> dict[str, Any]:
    from lmd.findings.analysis import analyses
    from lmd.findings.quantity import quantities_of

    keys = {q.key for q in quantities_of(analyses()[_PAIR_KEYS].finds)} | set(FOLLOWED)
    return {key: words for key, words in glossary().items() if key in keys}


def _refuse(models: Sequence[object], out: str | Path | None, *, force: bool) -> None:
    for model in models:
        if not isinstance(model, nn.Module | str | Path):
            raise TypeError(
                f"a model is of type {type(model).__name__}; give a torch.nn.Module, a path or a Hub name (a state "
                f"dict: save it with torch.save, or load it into its module)."
            )
    if len(models) < 2:
        raise ValueError(
            f"{len(models)} model came; a comparison needs at least two; add the one to compare it with, or decompose "
            f"it alone."
        )
    if out is not None and not force and (Path(out) / COMPARISON_FILE).exists():
        raise FileExistsError(f"{out} holds a comparison already; choose another folder, or use --force.")


class _Counter:
    """Tells how many rows are done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def through(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total, row["name"])
            yield row
