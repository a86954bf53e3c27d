"""What an atlas says of one layer beside its arrays, as JSON values."""

from typing import Any

from lmd.atlas.json_values import json_number
from lmd.atlas.layer_record import findings_entry
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, NotApplicable, analyses_of
from lmd.findings.geometry.chance.identifiability import Identifiability, mixed_spans
from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["empty_entry", "entry", "failed_entry", "unpaired_entry"]

_MEASURED = ("frobenius_norm", "residual", "orthogonality_defect", "remainder", "norm_bound")


def entry(layer: LayerMatrix, factors: Factors, findings: list[Finding]) -> dict[str, Any]:
    """A layer that was decomposed."""
    measured = {key: json_number(getattr(factors, key)) for key in _MEASURED}
    endless = [key for key in _MEASURED if measured[key] is None and getattr(factors, key) is not None]
    reason = f"beyond the range of float64: {', '.join(endless)}" if endless else ""
    # a symbol has blocks in the basis of waves only, which the layer's matrix does not show
    described = {**_described(layer), "groups": factors.groups}
    head = {**described, "rank": factors.rank, "method": factors.method, "inner": factors.inner, **measured}
    head["norm_method"] = factors.norm_method
    mixed = next((mixed_spans(one) for one in findings if isinstance(one, Identifiability)), None)
    return {**head, "mixed": mixed, "failed": False, "reason": reason, "findings": findings_entry(findings)}


def failed_entry(layer: LayerMatrix, reason: str) -> dict[str, Any]:
    """A layer that could not be decomposed; every finding is null with the reason."""
    return _without_numbers(layer, reason, failed=True)


def empty_entry(layer: LayerMatrix) -> dict[str, Any]:
    """A layer without rows or without columns: nothing to decompose, and nothing wrong."""
    return _without_numbers(layer, "the matrix has no entries", failed=False)


def unpaired_entry(layer: LayerMatrix, reason: str) -> dict[str, Any]:
    """A layer without a counterpart in the network it was to be compared with: nothing to decompose, nothing wrong."""
    return _without_numbers(layer, reason, failed=False)


def _without_numbers(layer: LayerMatrix, reason: str, *, failed: bool) -> dict[str, Any]:
    absent = [
        NotApplicable(layer=layer.name, analysis=chosen.name, reason=reason, failed=failed)
        for chosen in analyses_of(layer)
    ]
    head = {
        **_described(layer),
        "rank": 0,
        **dict.fromkeys(("method", *_MEASURED)),
        "inner": 0,
        "norm_method": "",
        "mixed": None,
    }
    return {**head, "failed": failed, "reason": reason, "findings": findings_entry(list(absent))}


def _described(layer: LayerMatrix) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "view_of": layer.view_of,
        "groups": layer.groups,
        "tensors": list(layer.loader.tensors),
        "confidence": layer.confidence,
        "alternatives": list(layer.alternatives),
        "note": layer.note,
    }
