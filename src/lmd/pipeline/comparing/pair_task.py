"""The unit of work of a comparison: one layer of two networks to its row."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, prod
from typing import Any

from lmd.atlas.layer_record import findings_entry
from lmd.factors.factors import Factors
from lmd.factors.sides import Sides
from lmd.factors.svd import factors_of
from lmd.findings.analysis import NotApplicable, analyses, run
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.pairs import Changed, Pair
from lmd.layers.updates.unpaired import Unpaired
from lmd.linalg.conventions import row_order, row_scaling
from lmd.linalg.threads import fitting_threads
from lmd.pipeline.comparing.over_time import LAYER_FAULTS, cheap_findings

__all__ = ["PairTask", "change_row", "pair_row"]

_VECTORS = 32
_EVERY_VECTOR_BELOW = 1024
"""Up to this shorter side all left directions of the earlier layer are kept: an intruder is unlike every one."""
_MANY = 64
_SAME_SPECTRUM, _MOVED = 0.02, 0.1
"""Relative to the layer: a spectrum as it was beside entries that are elsewhere."""
_MOST_PRODUCTS = 1 << 33
"""Of numbers, to look for another order of the rows."""


@dataclass(frozen=True, slots=True, eq=False)
class PairTask:
    """A layer's difference with both sides, and whether only one of the networks has normalisations.

    Attributes:
        layer: what ``paired`` gave.
        folded: look whether each row of the one is a multiple of the other's.
    """

    layer: LayerMatrix
    folded: bool = False


def pair_row(task: PairTask) -> dict[str, Any]:
    """One layer of two networks as JSON values; a fault costs its row."""
    layer = task.layer
    head = {"name": layer.name, "kind": layer.kind, "shape": list(layer.shape), "note": layer.note}
    if isinstance(layer, Pair):
        head["kind"] = layer.earlier.kind
        head["adapter"] = isinstance(layer, Changed) and layer.adapter
    if not isinstance(layer, Pair) or 0 in layer.shape:
        return {**head, "status": "unmatched", "reason": _reason(layer), "findings": {}}
    try:
        with fitting_threads((layer.full_rank, max(layer.shape))):
            findings, followed = _compared(layer)
            status = _status(findings)
            word, words = (
                _conventions(layer, findings, folded=task.folded) if status["status"] == "changed" else ("", "")
            )
    except LAYER_FAULTS as fault:
        return {**head, "status": "failed", "reason": f"{type(fault).__name__}: {fault}", "findings": {}}
    own = layer.note.removeprefix("W - W of the base").removeprefix("; ")
    head["note"] = "; ".join(text for text in (words, own) if text)
    return {**head, **status, **({"status": word} if word else {}), "findings": findings, "followed": followed}


def change_row(task: PairTask) -> dict[str, Any]:
    """Name and relative change alone, which need no decomposition."""
    layer = task.layer
    if not isinstance(layer, Pair) or 0 in layer.shape:
        return {"name": layer.name, "change": {"value": None, "reason": _reason(layer)}}
    try:
        size, change, after = (_norm(one) for one in (layer.earlier, layer, layer.later))
    except LAYER_FAULTS as fault:
        return {"name": layer.name, "change": {"value": None, "reason": f"{type(fault).__name__}: {fault}"}}
    if size == 0:
        return {"name": layer.name, "change": {"value": None, "reason": "the earlier layer is zero"}}
    error = 2.0**-50 * (1 + change / size)
    unrelated = hypot(1.0, after / size)
    return {"name": layer.name, "change": {"value": change / size, "baseline": unrelated, "error": error}}


def _norm(layer: LayerMatrix) -> float:
    return hypot(*(panel.double().norm().item() for panel in layer.panels()))


def _reason(layer: LayerMatrix) -> str:
    if 0 in layer.shape:
        return "the matrix has no entries"
    if not isinstance(layer, Unpaired):
        return layer.note or "not a difference of two matrices"
    return layer.reason.replace("the base", "the earlier model").replace(" here", " in the later model")


def _compared(layer: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """The findings of the pair, and the cheap ones of both sides, whose values are known then."""
    difference = factors_of(layer, vectors=0)
    if difference.frobenius_norm == 0:
        before = after = factors_of(layer.earlier, vectors=_VECTORS)
    else:
        known = min(layer.shape) <= _EVERY_VECTOR_BELOW and max(layer.shape) <= 4 * _EVERY_VECTOR_BELOW
        before = factors_of(layer.earlier, vectors=None if known else _MANY)
        after = factors_of(layer.later, vectors=_VECTORS)
    given: dict[type, Any] = {Factors: difference, Pair: layer, Sides: Sides(before, after)}
    finding = run(analyses()["comparison"], layer.name, given)
    entry = findings_entry([finding])
    if isinstance(finding, NotApplicable) and difference.frobenius_norm == 0:
        entry["relative_change"] = _zero()
    earlier = cheap_findings(layer.earlier, before)
    return entry, {"earlier": earlier, "later": earlier if after is before else cheap_findings(layer.later, after)}


def _zero() -> dict[str, Any]:
    """Both sides are zero matrices."""
    blank = {"baseline": None, "error": 0.0, "unit": "1", "direction": "exact"}
    return {**blank, "value": 0.0, "reason": "both are zero"}


def _status(findings: dict[str, Any]) -> dict[str, str]:
    change = findings["relative_change"]
    if change["value"] is None:
        failed = bool(change.get("failed"))
        return {"status": "failed" if failed else "changed", "reason": change["reason"]}
    if change["value"] == 0:
        return {"status": "equal", "reason": ""}
    above = findings["change_above_rounding"]["value"]
    return {"status": "rounding" if above == 0 else "changed", "reason": ""}


def _conventions(layer: Pair, findings: Mapping[str, Any], *, folded: bool) -> tuple[str, str]:
    """What the two sides have in common under another convention: a status and its words, or nothing."""
    numbers = {key: findings[key]["value"] or 0.0 for key in ("relative_change", "spectra_distance")}
    alike = numbers["spectra_distance"] < _SAME_SPECTRUM and numbers["relative_change"] > _MOVED
    if not (folded or alike) or prod(layer.shape) * max(layer.shape) > _MOST_PRODUCTS:
        return "", ""
    A, B = (side.load().double() for side in (layer.earlier, layer.later))
    if folded and (scaling := row_scaling(A, B)) is not None:
        factors = f"between {scaling.least:.4g} and {scaling.most:.4g}"
        words = f"each row is the earlier one's times a factor of its own, {factors}: a normalisation was folded in"
        return "rescaled", words
    if alike:
        for name, (one, other) in {"rows": (A, B), "columns": (A.T, B.T)}.items():
            order = row_order(one, other)
            if order is not None:
                moved = sum(1 for place, origin in enumerate(order) if place != origin)
                return "reordered", f"the same {name} in another order: {moved} of {len(order)} are elsewhere"
    return "", ""
