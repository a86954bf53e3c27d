"""Calls of layers, in the list form of Keras 1 and 2 and in the dictionaries of Keras 3."""

from collections.abc import Iterator, Mapping
from typing import Any

from lmd.sources.keras.configuration.layer_config import Call, Reference

__all__ = ["calls_of", "references_of"]

_CONSTANT = "_CONSTANT_VALUE"


def calls_of(nodes: Any) -> tuple[Call, ...]:
    """The calls that ``inbound_nodes`` lists; of a layer that takes nothing, an input, none."""
    if not isinstance(nodes, list):
        return ()
    found = (_of_keras_3(node) if isinstance(node, Mapping) else _of_list(node) for node in nodes)
    return tuple(call for call in found if call is not None)


def _of_keras_3(node: Mapping[str, Any]) -> Call:
    arguments = _with_references(node.get("args", []))
    named = _with_references(node.get("kwargs", {}))
    return Call(tuple(arguments) if isinstance(arguments, list) else (), named if isinstance(named, dict) else {})


def _with_references(value: Any) -> Any:
    if isinstance(value, Mapping):
        history = value.get("config", {}) if value.get("class_name") == "__keras_tensor__" else None
        if isinstance(history, Mapping) and isinstance(history.get("keras_history"), list):
            return _reference(history["keras_history"])
        return {key: _with_references(part) for key, part in value.items()}
    return [_with_references(part) for part in value] if isinstance(value, list) else value


def _of_list(node: Any) -> Call | None:
    """``[[layer, call, output, {more arguments}], ...]``; the first arguments make up one list, if there are more."""
    if not isinstance(node, list) or not node:
        return None
    entries = [node] if isinstance(node[0], str) else node
    taken, named = [], {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) < 3:
            return None
        taken.append(entry[2] if entry[0] == _CONSTANT else _reference(entry))
        if len(entry) > 3 and isinstance(entry[3], Mapping):
            named.update({key: _taken_by_name(value) for key, value in entry[3].items()})
    return Call((taken[0] if len(taken) == 1 else taken,), named)


def _taken_by_name(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(n, int) for n in value[1:3]):
            return value[2] if value[0] == _CONSTANT else _reference(value)
        return [_taken_by_name(part) for part in value]
    return value


def references_of(value: Any) -> tuple[Reference, ...]:
    """What ``input_layers`` and ``output_layers`` name: one, a list, or a dictionary of them."""
    return tuple(_references_in(value))


def _references_in(value: Any) -> Iterator[Reference]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _references_in(part)
    elif isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str):
        yield _reference(value)
    elif isinstance(value, list):
        for part in value:
            yield from _references_in(part)


def _reference(entry: list[Any]) -> Reference:
    layer, call, output = entry[:3]
    if not isinstance(layer, str) or not isinstance(call, int) or not isinstance(output, int):
        raise TypeError(f"{entry[:3]} names no value")
    return Reference(layer, call, output)
