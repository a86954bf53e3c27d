"""The cheap findings of every layer over a sequence of networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from lmd.engines.local import Engine
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.alignment import Alignment
from lmd.layers.updates.matching import plain
from lmd.layers.walk import Walk
from lmd.pipeline.comparing.over_time import FOLLOWED, LAYER_FAULTS, cheap_findings

__all__ = ["Followed", "follow", "known_already", "timeline"]


class _Planned(Protocol):
    @property
    def places(self) -> tuple[int, int]: ...
    @property
    def alignment(self) -> Alignment: ...


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """One layer of one network to be measured: its name in the first network, and in the one before its own."""

    name: str
    called: str
    place: int
    layer: LayerMatrix


def follow(task: Followed) -> dict[str, Any]:
    """Its cheap findings; a fault is a reason."""
    try:
        return {"name": task.name, "place": task.place, "found": cheap_findings(task.layer), "reason": ""}
    except LAYER_FAULTS as fault:
        return {"name": task.name, "place": task.place, "found": {}, "reason": f"{type(fault).__name__}: {fault}"}


Known = Mapping[tuple[int, str], Mapping[str, Any]]


def known_already(plans: Sequence[_Planned], rows: Sequence[Sequence[Mapping[str, Any]]]) -> Known:
    """Place of a network and name of a layer to what its pairs found of it alone."""
    known: dict[tuple[int, str], Mapping[str, Any]] = {}
    for plan, done in zip(plans, rows, strict=True):
        earlier, later = plan.places
        for row in done:
            # names are those of the earlier one, and only between neighbours those that the timeline goes by
            if "followed" in row and later == earlier + 1:
                known[later, row["name"]] = {**row["followed"]["later"], "adapter": row.get("adapter", False)}
                if earlier == 0:
                    known[0, row["name"]] = row["followed"]["earlier"]
    return known


def timeline(  # noqa: PLR0913, PLR0917 - what a comparison knows already, each by its name
    found: Sequence[Walk],
    plans: Sequence[_Planned],
    known: Known,
    changes: Sequence[Mapping[str, Mapping[str, Any]]],
    engine: Engine,
    told: Sequence[Mapping[str, float]],
    layers: str,
) -> dict[str, Any]:
    """Layer by layer, under the first network's names: its findings over the networks, its change since the first."""
    tasks = list(_tasks(found, plans, layers))
    measured: dict[str, dict[int, dict[str, Any]]] = {task.name: {} for task in tasks}
    for task in tasks:
        if (task.place, task.called) in known:
            measured[task.name][task.place] = {"found": known[task.place, task.called], "reason": ""}
    for row in engine.map(follow, [task for task in tasks if (task.place, task.called) not in known]):
        measured[row["name"]][row["place"]] = row
    for (place, called), one in known.items():
        if called in measured and one.get("adapter"):
            # what the layer is with its adapter
            measured[called][place] = {"found": one, "reason": ""}
    first = {task.name: task.layer for task in reversed(tasks)}
    steps = [{"index": place, **one} for place, one in enumerate(told)]
    return {
        "of": "checkpoints",
        "steps": steps,
        "layers": [
            {
                "name": name,
                "kind": first[name].kind,
                "shape": list(first[name].shape),
                "quantities": {key: _series(key, measured[name], len(found)) for key in FOLLOWED}
                | {"relative_change": _since_first(name, changes)},
            }
            for name in measured
        ],
    }


def _tasks(found: Sequence[Walk], plans: Sequence[_Planned], layers: str) -> list[Followed]:
    """Each network's rows under the names of the first, through the names of those between."""
    tasks: list[Followed] = []
    # of each network: plain name in it to name in the first
    known = {plain(row.name): plain(row.name) for row in found[0].layers}
    steps = {plan.places[1]: plan.alignment for plan in plans if plan.places[1] == plan.places[0] + 1}
    for place, walked in enumerate(found):
        rows = walked.layers if place == 0 else steps[place].rows.layers
        if place:
            known = {plain(row.name): known.get(plain(row.name), plain(row.name)) for row in rows}
        for row in rows:
            name = known[plain(row.name)]
            if fnmatchcase(name, layers) and row.kind != "adapter":
                tasks.append(Followed(name, row.name, place, row))
        if place:
            own = dict(steps[place].names)
            known = {plain(own.get(row.name, row.name)): known[plain(row.name)] for row in rows}
    return tasks


def _series(key: str, measured: Mapping[int, Mapping[str, Any]], count: int) -> dict[str, Any]:
    found = [measured.get(place, {}).get("found", {}).get(key, {}) for place in range(count)]
    reasons = [
        one.get("reason") or measured.get(place, {"reason": "no layer of this name"})["reason"]
        for place, one in enumerate(found)
    ]
    return {
        "values": [one.get("value") for one in found],
        "baselines": [one.get("baseline") for one in found],
        "errors": [one.get("error") for one in found],
        **({"reasons": reasons} if any(reasons) else {}),
    }


def _since_first(name: str, changes: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    start = {"value": 0.0, "baseline": None, "error": 0.0}
    found = [start, *(one.get(name, {"reason": "no layer of this name"}) for one in changes)]
    reasons = [one.get("reason", "") for one in found]
    return {
        "values": [one.get("value") for one in found],
        "baselines": [one.get("baseline") for one in found],
        "errors": [one.get("error") for one in found],
        **({"reasons": reasons} if any(reasons) else {}),
    }
