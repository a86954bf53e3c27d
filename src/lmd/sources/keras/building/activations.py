"""Activations as layers name them: a word, or a dictionary."""

from collections.abc import Mapping
from typing import Any

from lmd.sources.keras.building.steps import CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.operations.activations import FUNCTIONS

__all__ = ["activated", "function_of", "word_of"]


def word_of(setting: Any) -> str:
    """The name of an activation; '' where it has settings of its own."""
    if setting is None:
        return "linear"
    if isinstance(setting, Mapping):
        name = setting.get("class_name")
        return str(setting.get("config")) if name == "function" else ""
    return str(setting)


def function_of(setting: Any, version: int) -> str:
    """The name in ``FUNCTIONS``.

    Raises:
        CannotRunError: it is not known.
    """
    word = word_of(setting)
    if word == "hard_sigmoid":
        return f"hard_sigmoid_{3 if version == 3 else 2}"
    if word not in FUNCTIONS:
        raise CannotRunError(f"its activation {word or setting!r} is not known")
    return word


def activated(value: Value, layer: LayerConfig, steps: Steps, setting: str = "activation") -> Value:
    """The value behind the layer's own activation."""
    chosen = layer.settings.get(setting)
    if word_of(chosen) == "linear":
        return value
    if isinstance(chosen, Mapping) and chosen.get("class_name") != "function":
        return _as_layer(value, chosen, layer, steps)
    return steps.on(value, layer.path, "keras.activation", function=function_of(chosen, layer.version))


def _as_layer(value: Value, chosen: Mapping[str, Any], layer: LayerConfig, steps: Steps) -> Value:
    """An activation that is a layer, such as LeakyReLU, or a dictionary of a word."""
    from lmd.sources.keras.building.registry import kind_of
    from lmd.sources.keras.building.steps import Built

    name, settings = str(chosen.get("class_name")), chosen.get("config")
    if name == "Activation" or not isinstance(settings, Mapping):
        word = settings.get("activation") if isinstance(settings, Mapping) else name
        return steps.on(value, layer.path, "keras.activation", function=function_of(word, layer.version))
    inner = LayerConfig(layer.name, name, layer.path, settings, layer.version)
    found = kind_of(name).run(Given(inner, (value,)), Built(layer.path, {}), steps)
    if not isinstance(found, Value):
        raise CannotRunError(f"its activation {name} gives several values")
    return found
