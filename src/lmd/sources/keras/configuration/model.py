"""The configuration of a model to its layers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lmd.sources.errors import UnreadableModelError
from lmd.sources.keras.configuration.calls import calls_of, references_of
from lmd.sources.keras.configuration.layer_config import MODELS, OWN_CLASS, Call, LayerConfig, Reference
from lmd.sources.keras.configuration.old_words import in_words_of_keras_2

__all__ = ["model_of"]

_MOST_LAYERS = 10_000
_MOST_DEPTH = 32
_WRAPPED = ("layer", "forward_layer", "backward_layer", "cell")
"""Settings that hold a layer."""
_FAULTS = (TypeError, KeyError, AttributeError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class _Around:
    """Where a layer stands."""

    path: str = ""
    version: int = 2
    trainable: bool = True
    depth: int = 0

    def within(self, layer: LayerConfig) -> "_Around":
        return replace(self, path=layer.path, trainable=layer.trainable, depth=self.depth + 1)


def model_of(configuration: Mapping[str, Any], version: int) -> LayerConfig:
    """Read it.

    Args:
        configuration: with ``class_name`` and ``config``.
        version: of Keras, 1, 2 or 3.

    Raises:
        UnreadableModelError: it is none of Keras's.
    """
    try:
        model = _layer(configuration, _Around(version=version), name="")
        model = _apart(replace(model, path=""), "", set())
        if sum(1 for _ in model.leaves()) > _MOST_LAYERS:
            raise ValueError(f"it has more than {_MOST_LAYERS} layers")
    except (*_FAULTS, RecursionError) as fault:
        raise UnreadableModelError(
            f"the configuration is none that Keras writes ({type(fault).__name__}: {fault}); layers with "
            f"class_name and config are needed. Save the model again with Keras."
        ) from fault
    return model


def _apart(layer: LayerConfig, path: str, taken: set[str]) -> LayerConfig:
    """The layers under paths of their own: one that is called ``a.b`` may stand beside a model ``a`` with a ``b``."""
    while path in taken:
        path += "_"
    taken.add(path)
    inside = (_apart(inner, f"{path}{inner.path.removeprefix(layer.path)}", taken) for inner in layer.inside)
    return replace(layer, path=path, inside=tuple(inside))


def _layer(entry: Mapping[str, Any], around: _Around, name: str | None = None) -> LayerConfig:
    if around.depth > _MOST_DEPTH:
        raise ValueError(f"models lie more than {_MOST_DEPTH} deep in each other")
    config = entry.get("config")
    settings = config if isinstance(config, Mapping) else {"layers": config} if isinstance(config, list) else {}
    told = entry.get("name") or settings.get("name") or str(entry["class_name"]).lower()
    own = str(told) if name is None else name
    path = f"{around.path}.{own}".lstrip(".")
    class_name, settings = in_words_of_keras_2(_class_name(entry), settings, around.version)
    layer = LayerConfig(
        name=own,
        class_name=class_name,
        path=path,
        settings=settings,
        version=around.version,
        calls=calls_of(entry.get("inbound_nodes")),
        trainable=around.trainable and settings.get("trainable") is not False,
    )
    if isinstance(settings.get("layers"), list) and (layer.class_name in MODELS or "output_layers" in settings):
        return _model(layer, settings, around.within(layer))
    return replace(layer, inside=_wrapped(settings, around.within(layer)))


def _class_name(entry: Mapping[str, Any]) -> str:
    name, module, registered = entry["class_name"], entry.get("module"), entry.get("registered_name")
    if not isinstance(name, str):
        raise TypeError(f"class_name {name!r}")
    if isinstance(module, str) and ".ops." in module:
        return f"ops.{name}"
    foreign = (isinstance(module, str) and not module.startswith(("keras", "tf_keras", "tensorflow"))) or (
        not module and isinstance(registered, str) and ">" in registered
    )
    own = name.rpartition(">")[2]
    return f"?{own}" if foreign or ">" in name else own


def _wrapped(settings: Mapping[str, Any], around: _Around) -> tuple[LayerConfig, ...]:
    found = []
    for key in _WRAPPED:
        value = settings.get(key)
        if isinstance(value, Mapping) and "class_name" in value:
            found.append(_layer(value, around))
    cells = settings.get("cells")
    found += [_layer(cell, around) for cell in cells if isinstance(cell, Mapping)] if isinstance(cells, list) else []
    return tuple(found)


def _model(model: LayerConfig, settings: Mapping[str, Any], around: _Around) -> LayerConfig:
    layers = [_layer(entry, around) for entry in settings["layers"]]
    inputs, outputs = references_of(settings.get("input_layers")), references_of(settings.get("output_layers"))
    if not outputs:
        return _chain(model, layers)
    repeated = [name for name, count in Counter(layer.name for layer in layers).items() if count > 1]
    if repeated:
        raise ValueError(f"two layers are called {repeated[0]!r}")
    shifted = _shifts(layers, outputs)
    layers = [replace(layer, calls=tuple(_moved(call, shifted) for call in layer.calls)) for layer in layers]
    outputs = tuple(_moved_reference(reference, shifted) for reference in outputs)
    if model.class_name not in MODELS:
        settings = {**settings, OWN_CLASS: model.class_name.lstrip("?")}
    return replace(
        model, class_name="Functional", settings=settings, inside=tuple(layers), inputs=inputs, outputs=outputs
    )


def _chain(model: LayerConfig, layers: list[LayerConfig]) -> LayerConfig:
    """A sequence: each layer is called once on what the one before it gave, the same one may stand there twice."""
    if not layers:
        raise ValueError("the model has no layers")
    if layers[0].class_name != "InputLayer":
        name = f"{layers[0].name}_input"
        shape = _declared_input(layers[0])
        layers.insert(0, LayerConfig(name, "InputLayer", f"{model.path}.{name}".lstrip("."), {"batch_shape": shape}))
    known: dict[str, LayerConfig] = {}
    last = Reference(layers[0].name)
    for layer in layers:
        before = known.get(layer.name)
        calls = before.calls if before else ()
        taken = () if layer.class_name == "InputLayer" else (*calls, Call((last,)))
        known[layer.name] = replace(before or layer, calls=taken)
        last = Reference(layer.name, max(len(taken) - 1, 0))
    return replace(model, inside=tuple(known.values()), inputs=(Reference(layers[0].name),), outputs=(last,))


def _declared_input(layer: LayerConfig) -> Any:
    for owner in (layer, *layer.inside):
        found = owner.settings.get("batch_input_shape") or owner.settings.get("batch_shape")
        if found is not None:
            return found
        if owner.settings.get("input_shape") is not None:
            return [None, *owner.settings["input_shape"]]
    return None


def _shifts(layers: list[LayerConfig], outputs: tuple[Reference, ...]) -> dict[str, int]:
    """How many calls too high a layer is referred to: those of the making of a nested model may be counted too."""
    highest = {reference.layer: 0 for reference in outputs}
    for reference in (*outputs, *(r for layer in layers for call in layer.calls for r in call.references())):
        highest[reference.layer] = max(highest.get(reference.layer, 0), reference.call)
    return {
        layer.name: highest[layer.name] - max(len(layer.calls) - 1, 0)
        for layer in layers
        if highest.get(layer.name, 0) >= max(len(layer.calls), 1)
    }


def _moved(call: Call, shifts: Mapping[str, int]) -> Call:
    return Call(_moved_in(call.arguments, shifts), _moved_in(call.named, shifts)) if shifts else call


def _moved_in(value: Any, shifts: Mapping[str, int]) -> Any:
    if isinstance(value, Reference):
        return _moved_reference(value, shifts)
    if isinstance(value, Mapping):
        return {key: _moved_in(part, shifts) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved_in(part, shifts) for part in value)
    return value


def _moved_reference(reference: Reference, shifts: Mapping[str, int]) -> Reference:
    call = reference.call - shifts.get(reference.layer, 0)
    return replace(reference, call=max(call, 0))
