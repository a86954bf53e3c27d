"""What a configuration tells beside the layers: how the model was trained, and what its layers were asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["facts_of", "inputs_of"]

_REGULARISERS = (
    "kernel_regularizer",
    "bias_regularizer",
    "recurrent_regularizer",
    "activity_regularizer",
    "depthwise_regularizer",
    "pointwise_regularizer",
    "embeddings_regularizer",
    "gamma_regularizer",
    "beta_regularizer",
    "W_regularizer",
    "b_regularizer",
)
_COEFFICIENTS = ("l1", "l2")


def facts_of(model: LayerConfig, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs, activations, regularisation, what was frozen, the optimiser and the loss."""
    leaves = list(model.leaves())
    activations = {leaf.path: found for leaf in leaves if (found := _activation(leaf))}
    penalties = {leaf.path: found for leaf in leaves if (found := _penalties(leaf))}
    starts = {layer.path: found for leaf in leaves for layer in _within(leaf) if (found := _initialisers(layer))}
    frozen = [leaf.path for leaf in leaves if not leaf.trainable and leaf.class_name != "InputLayer"]
    facts: dict[str, Any] = {"layers": {leaf.path: leaf.class_name.lstrip("?") for leaf in leaves}}
    inputs = inputs_of(model)
    if inputs:
        facts["inputs"] = inputs
    if len(inputs) == 1 and (shape := inputs[0]["shape"]) and all(isinstance(n, int) and n > 0 for n in shape[1:]):
        facts["input_shape"] = list(shape[1:])
    told = {"activations": activations, "regularisation": penalties, "not trained": frozen, "initialisers": starts}
    return {**facts, **{name: value for name, value in told.items() if value}, **_training(configuration)}


def _within(layer: LayerConfig) -> Iterator[LayerConfig]:
    yield layer
    for inner in layer.inside:
        yield from _within(inner)


def _initialisers(layer: LayerConfig) -> dict[str, dict[str, Any]]:
    """What the weights were drawn from, by the part of the layer: class and settings."""
    found: dict[str, dict[str, Any]] = {}
    for name, told in layer.settings.items():
        part = name.removesuffix("_initializer")
        if part == name or part.endswith("bias"):
            continue
        if isinstance(told, str):
            found[part] = {"class": told, "config": {}}
        elif isinstance(told, Mapping) and isinstance(told.get("class_name"), str):
            config = told.get("config")
            found[part] = {"class": told["class_name"], "config": config if isinstance(config, Mapping) else {}}
    return found


def inputs_of(model: LayerConfig) -> list[dict[str, Any]]:
    """Name and declared shape of each input, its number of examples first; None where no shape is declared."""
    layers = {layer.name: layer for layer in model.inside}
    found = []
    for reference in model.inputs:
        layer = layers.get(reference.layer)
        shape = None if layer is None else layer.settings.get("batch_shape", layer.settings.get("batch_input_shape"))
        shape = list(shape) if isinstance(shape, list | tuple) else None
        found.append({"name": reference.layer, "shape": shape})
    return found


def _activation(layer: LayerConfig) -> Any:
    chosen = layer.settings.get("activation")
    if isinstance(chosen, Mapping):
        chosen = chosen.get("class_name") if chosen.get("class_name") != "function" else chosen.get("config")
    return chosen if isinstance(chosen, str) and chosen != "linear" else None


def _penalties(layer: LayerConfig) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name in _REGULARISERS:
        told = layer.settings.get(name)
        config = told.get("config", told) if isinstance(told, Mapping) else None
        if not isinstance(config, Mapping):
            continue
        numbers = {
            key: config[key] for key in _COEFFICIENTS if isinstance(config.get(key), int | float) and config[key]
        }
        if numbers:
            found[name.removesuffix("_regularizer")] = numbers
    for inner in layer.inside:
        found.update(_penalties(inner))
    return found


def _training(configuration: Mapping[str, Any]) -> dict[str, Any]:
    told = configuration.get("training_config") or configuration.get("compile_config")
    if not isinstance(told, Mapping):
        return {}
    optimiser = told.get("optimizer_config") or told.get("optimizer")
    facts: dict[str, Any] = {}
    if isinstance(optimiser, Mapping):
        facts["optimiser"] = {"class": str(optimiser.get("class_name")), "config": optimiser.get("config")}
    elif isinstance(optimiser, str):
        facts["optimiser"] = {"class": optimiser}
    if told.get("loss") is not None:
        facts["loss"] = told["loss"]
    return facts
