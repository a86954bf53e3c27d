"""The calls of a model's layers, one after the other, as steps."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.keras.building.registry import kind_of
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import OWN_CLASS, Call, LayerConfig, Reference

__all__ = ["Runner"]

_FIRST = ("inputs", "query", "sequences", "sequence", "input", "x", "x1", "a")
"""Names under which Keras may write the first argument of a layer."""
_OTHERWISE_IN_TRAINING = ("BatchNormalization", "Dropout", "GaussianNoise", "AlphaDropout", "SpatialDropout")
_OPERATIONS = ("TFOpLambda", "ops.")
_MOST_STEPS = 200_000
_UNKNOWN = Value("?")


@dataclass(slots=True, eq=False)
class Runner:
    """Runs a model on paper.

    Attributes:
        built: path of a layer to its modules.
        steps: what was collected.
        unknown: path of a layer to why it cannot be run.
    """

    built: Mapping[str, Built]
    steps: Steps = field(default_factory=Steps)
    unknown: dict[str, str] = field(default_factory=dict)

    def model(self, model: LayerConfig, taken: Sequence[Value]) -> list[Value]:
        """The outputs of a model called on values; layers that cannot be run are named and passed over."""
        if OWN_CLASS in model.settings:
            raise CannotRunError(f"{model.settings[OWN_CLASS]} is a class of its own, whose code is in no file")
        if len(taken) != len(model.inputs):
            raise CannotRunError(f"it takes {len(model.inputs)} values and is called on {len(taken)}")
        values = dict(zip(model.inputs, taken, strict=True))
        layers = {layer.name: layer for layer in model.inside}
        waiting = _Waiting(layers, values)
        while (ready := waiting.next()) is not None:
            layer, number = ready
            outputs = self._called(layer, layer.calls[number], values)
            values.update({Reference(layer.name, number, place): value for place, value in enumerate(outputs)})
            waiting.done(layer, number)
            if len(self.steps.steps) > _MOST_STEPS:
                raise CannotRunError(f"it takes more than {_MOST_STEPS} steps")
        return [_found(reference, values, layers) for reference in model.outputs]

    def _called(self, layer: LayerConfig, call: Call, values: Mapping[Reference, Value]) -> Sequence[Value]:
        try:
            given = _given(layer, call, values)
            if _is_poisoned(given):
                self._look(layer)
                return (_UNKNOWN,)
            if layer.is_model:
                return self.model(layer, given.values)
            found = self._run(layer, given) if layer.model is None else self._at_every_step(layer, layer.model, given)
        except CannotRunError as fault:
            self.unknown.setdefault(layer.path, str(fault))
        except FOREIGN_FAULTS as fault:
            # settings that no Keras writes
            self.unknown.setdefault(layer.path, f"its settings are not understood ({type(fault).__name__}: {fault})")
        else:
            return (found,) if isinstance(found, Value) else found
        return (_UNKNOWN,)

    def _run(self, layer: LayerConfig, given: Given) -> Value | Sequence[Value]:
        if given.named.get("training") is True and layer.class_name.startswith(_OTHERWISE_IN_TRAINING):
            raise CannotRunError("it is called as in training")
        kind = kind_of(layer.class_name)
        if layer.path in self.unknown:
            return _UNKNOWN
        return kind.run(given, self.built.get(layer.path) or Built(layer.path, {}), self.steps)

    def _at_every_step(self, layer: LayerConfig, model: LayerConfig, given: Given) -> Sequence[Value]:
        """Steps are taken as examples of a model, and made steps again."""
        name, value = layer.path, given.value
        flat = Value(self.steps.apply(name, "keras.fold_time", (value.name,)))
        found = self.model(model, [flat])
        if any(v is _UNKNOWN for v in found):
            return [_UNKNOWN] * len(found)
        return [Value(self.steps.apply(name, "keras.unfold_time", (v.name, value.name)), value.mask) for v in found]

    def _look(self, layer: LayerConfig) -> None:
        """Name a layer whose class is not known, though what comes into it is not known either."""
        for leaf in layer.leaves():
            if leaf.class_name != "InputLayer" and leaf.path not in self.unknown:
                kind_of(leaf.class_name)


def _is_poisoned(given: Given) -> bool:
    return any(value is _UNKNOWN for value in (*given.values, *given.arguments, *given.named.values()))


def _given(layer: LayerConfig, call: Call, values: Mapping[Reference, Value]) -> Given:
    arguments = [_resolved(argument, values) for argument in call.arguments]
    named = {name: _resolved(argument, values) for name, argument in call.named.items()}
    if not arguments:
        first = next((name for name in _FIRST if name in named), None)
        arguments = [named.pop(first)] if first is not None else arguments
    if not arguments:
        raise CannotRunError("it is called on nothing")
    first, *rest = arguments
    taken = _listed(first)
    if layer.class_name.startswith(_OPERATIONS) and not any(isinstance(value, Value) for value in taken):
        # a number may come before the value
        return Given(layer, (), (first, *rest), named)
    # operations of Keras 3 take several values side by side
    if not all(isinstance(value, Value) for value in taken):
        raise CannotRunError("it is called on constants")
    return Given(layer, tuple(taken), tuple(rest), named)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [found for part in value.values() for found in _listed(part)]
    return [found for part in value for found in _listed(part)] if isinstance(value, list | tuple) else [value]


def _resolved(value: Any, values: Mapping[Reference, Value]) -> Any:
    if isinstance(value, Reference):
        found = values.get(value)
        if found is None:
            poisoned = values.get(Reference(value.layer, value.call)) is _UNKNOWN
            if not poisoned:
                raise CannotRunError(f"it takes output {value.output} of {value.layer!r}, which there is not")
            return _UNKNOWN
        return found
    if isinstance(value, Mapping):
        return {key: _resolved(part, values) for key, part in value.items()}
    return [_resolved(part, values) for part in value] if isinstance(value, list | tuple) else value


def _found(reference: Reference, values: Mapping[Reference, Value], layers: Mapping[str, LayerConfig]) -> Value:
    found = values.get(reference)
    if found is not None:
        return found
    if values.get(Reference(reference.layer, reference.call)) is _UNKNOWN:
        return _UNKNOWN
    word = "is never made" if reference.layer in layers else "is no layer"
    raise CannotRunError(f"its output {reference.layer!r} {word}")


class _Waiting:
    """Calls that wait for values, in the order in which these come."""

    def __init__(self, layers: Mapping[str, LayerConfig], values: Mapping[Reference, Value]) -> None:
        self._layers = layers
        self._missing: dict[tuple[str, int], int] = {}
        self._after: dict[tuple[str, int], list[tuple[str, int]]] = {}
        self._ready: deque[tuple[str, int]] = deque()
        known = {(reference.layer, reference.call) for reference in values}
        for layer in layers.values():
            for number, call in enumerate(layer.calls):
                place = (layer.name, number)
                needed = {(r.layer, r.call) for r in call.references()} - known
                self._missing[place] = len(needed)
                for before in needed:
                    self._after.setdefault(before, []).append(place)
                if not needed and place not in known:
                    self._ready.append(place)

    def next(self) -> tuple[LayerConfig, int] | None:
        """A call whose values are all there; None if there is no more."""
        if not self._ready:
            return None
        name, number = self._ready.popleft()
        return self._layers[name], number

    def done(self, layer: LayerConfig, number: int) -> None:
        """The call has given its values."""
        for place in self._after.get((layer.name, number), ()):
            self._missing[place] -= 1
            if not self._missing[place]:
                self._ready.append(place)
