"""Each layer against the one that comes before it, as the layers are done."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lmd.atlas.layer_record import LayerRecord, findings_entry
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, NotApplicable, analyses, run
from lmd.findings.geometry.maps.coupling import Upstream

__all__ = ["coupled", "predecessor", "with_coupling"]

_BESIDE = frozenset({"query", "key", "value", "gate"})
"""Kinds whose rows stand beside each other and read the same input."""
_PASSED_OVER = frozenset({"diagonal", "query_key", "value_output"})
_NONE = "no row before it has as many outputs as it has inputs"


def coupled(records: Iterable[LayerRecord]) -> Iterator[LayerRecord]:
    """The records, in the order of the layers, each with its coupling to the one before it."""
    before: list[LayerRecord] = []
    for record in records:
        fresh = with_coupling(record, before)
        before.append(fresh)
        yield fresh


def with_coupling(record: LayerRecord, before: Sequence[LayerRecord]) -> LayerRecord:
    """A record with its coupling to one of those before it, or with the reason why there is none."""
    if record.failed or not record.entry["findings"]:
        return record
    findings = {**record.entry["findings"], **findings_entry([_finding(record, before)])}
    return replace(record, entry={**record.entry, "findings": findings})


def predecessor(record: LayerRecord, before: Sequence[LayerRecord]) -> tuple[LayerRecord, str] | None:
    """The row that is taken to come before this one, and why; None if none fits.

    Rows are in the order of the modules. Normalisations and views are passed over; an attention's query, key and value
    read what came before the first of them; its output reads the value. All of it is an assumption, which the finding
    repeats: the order of modules need not be the order of the forward pass.
    """
    if not _takes_part(record):
        return None
    kind = record.entry["kind"]
    places = (one for one in reversed(before) if _takes_part(one))
    why = "the row before it, in the order of the modules"
    if kind in _BESIDE:
        places = (one for one in places if one.entry["kind"] not in _BESIDE)
        why = "the row before the rows beside it, in the order of the modules"
    elif kind == "attention_output":
        places = (one for one in places if one.entry["kind"] == "value")
        why = "the value of the same attention"
    found = next(places, None)
    return None if found is None or found.entry["shape"][0] != record.entry["shape"][1] else (found, why)


def _takes_part(record: LayerRecord) -> bool:
    entry = record.entry
    return not (record.failed or entry["view_of"] or entry["kind"] in _PASSED_OVER) and entry["rank"] > 0


def _begins_mixed(record: LayerRecord) -> bool:
    return any(first == 1 for first, _ in record.entry.get("mixed") or ())


def _finding(record: LayerRecord, before: Sequence[LayerRecord]) -> Finding:
    found = predecessor(record, before)
    if found is None:
        reason = "a part of another row" if record.entry["view_of"] else _NONE
        return NotApplicable(layer=record.name, analysis="coupling", reason=reason)
    mixed = tuple(one.name for one in (found[0], record) if _begins_mixed(one))
    given = {Factors: record.factors(), Upstream: Upstream(found[0].factors(), found[1], mixed)}
    return run(analyses()["coupling"], record.name, given)
