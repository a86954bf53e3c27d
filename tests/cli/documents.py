"""What item by item a document of ``--json`` must hold."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["check_document", "strict_json"]

STATUS = {"decomposed", "vector", "buffer", "tied", "optimiser", "unsupported", "failed"}
KINDS = {
    "dense",
    "embedding",
    "kernel_matrix",
    "conv_operator",
    "conv_symbol",
    "query",
    "key",
    "value",
    "attention_output",
    "gate",
    "diagonal",
}


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def strict_json(text: str) -> Any:
    """One document and nothing beside it; no NaN, no Infinity, no key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    return json.loads(text, parse_constant=_refuse, object_pairs_hook=once)


def _is(value: Any, *types: type) -> None:
    # bool is an int to Python, not to JSON
    assert type(value) in types, (value, types)


def _count(value: Any) -> None:
    _is(value, int)
    assert value >= 0


def check_document(document: Mapping[str, Any]) -> None:
    """Keys and types of the issue's item 8."""
    assert document["schema_version"] == 1
    network = document["network"]
    assert {"name", "source", "sha256", "dtype"} <= set(network) <= {"name", "source", "sha256", "dtype", "picture"}
    for key in ("name", "source", "sha256", "dtype"):
        _is(network[key], str)
    assert len(network["sha256"]) == 64
    _check_coverage(document["coverage"])
    _is(document["layers"], list)
    for layer in document["layers"]:
        _check_layer(layer)
    found = {key for layer in document["layers"] for key in layer["findings"]}
    assert found <= set(document["glossary"])


def _check_coverage(coverage: Mapping[str, Any]) -> None:
    assert set(coverage) == {"parameters", "decomposed", "accounted", "tensors"}
    _count(coverage["parameters"])
    for key in ("decomposed", "accounted"):
        _is(coverage[key], float, int)
        assert 0 <= coverage[key] <= 1
    for tensor in coverage["tensors"]:
        assert set(tensor) == {"name", "shape", "parameters", "status", "reason"}
        _is(tensor["name"], str)
        for side in tensor["shape"]:
            _count(side)
        _count(tensor["parameters"])
        assert tensor["status"] in STATUS
        _is(tensor["reason"], str)
        assert tensor["status"] == "decomposed" or tensor["reason"]
    assert coverage["parameters"] == sum(t["parameters"] for t in coverage["tensors"])


def _check_layer(layer: Mapping[str, Any]) -> None:
    assert {"name", "kind", "shape", "rank", "singular_values", "view_of", "findings"} <= set(layer)
    _is(layer["name"], str)
    assert layer["kind"] in KINDS
    assert len(layer["shape"]) == 2
    for side in (*layer["shape"], layer["rank"]):
        _count(side)
    _is(layer["view_of"], str, type(None))
    values = layer["singular_values"]
    if values is None:
        assert layer["reason"]
    else:
        assert len(values) == min(layer["shape"]) or layer["kind"] == "diagonal"
        assert None not in values or layer["reason"]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=True)
    for key, finding in layer["findings"].items():
        _check_finding(key, finding)


def _check_finding(key: str, finding: Mapping[str, Any]) -> None:
    assert {"value", "baseline", "error", "unit", "reason"} <= set(finding), key
    for part in ("value", "baseline"):
        value = finding[part]
        for number in value if isinstance(value, list) else [value]:
            _is(number, int, float, type(None))
        assert value is not None or finding["reason"], (key, finding)
    _is(finding["error"], int, float, type(None))
    _is(finding["unit"], str)
    _is(finding["reason"], str)
