"""Settings that several layer classes have."""

from typing import Any

from lmd.sources.keras.building.steps import CannotRunError
from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["axes_of", "channels_first", "number", "numbers", "pairs"]


def channels_first(layer: LayerConfig) -> bool:
    """Whether the layer takes ``(N, C, ...)``."""
    return layer.settings.get("data_format") == "channels_first"


def numbers(layer: LayerConfig, name: str, count: int, default: int) -> tuple[int, ...]:
    """A setting for each axis; one number serves for all.

    Raises:
        CannotRunError: it is something else.
    """
    value = layer.setting(name, default)
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value] * count
    if not isinstance(value, list | tuple) or len(value) != count or not all(isinstance(n, int) for n in value):
        raise CannotRunError(f"its {name} is {str(value)[:60]}, {count} whole numbers are needed")
    return tuple(value)


def number(layer: LayerConfig, name: str, default: float) -> float:
    """A setting that is a number.

    Raises:
        CannotRunError: it is something else.
    """
    value: Any = layer.setting(name, default)
    if isinstance(value, dict):
        # arrays are written as dictionaries, by Keras 3 with a configuration in them
        value = value["config"].get("value") if isinstance(value.get("config"), dict) else value.get("value")
    if not isinstance(value, int | float):
        raise CannotRunError(f"its {name} is {str(value)[:60]}, a number is needed")
    return float(value)


def pairs(layer: LayerConfig, name: str, count: int, default: int) -> tuple[tuple[int, int], ...]:
    """What is added or left out before and behind each axis; of one number, as much on all sides.

    Raises:
        CannotRunError: it is something else.
    """
    value = layer.setting(name, default)
    if isinstance(value, int):
        value = [value] * count
    if count == 1 and isinstance(value, list | tuple) and len(value) == 2 and not isinstance(value[0], list):
        value = [value]
    if not isinstance(value, list | tuple) or len(value) != count:
        raise CannotRunError(f"its {name} is {str(value)[:60]}, {count} pairs of whole numbers are needed")
    found = []
    for pair in value:
        before, behind = (pair, pair) if isinstance(pair, int) else pair
        found.append((int(before), int(behind)))
    return tuple(found)


def axes_of(layer: LayerConfig, default: int = -1) -> tuple[int, ...]:
    """The axes that a layer is along.

    Raises:
        CannotRunError: they are no whole numbers.
    """
    axis = layer.setting("axis", default)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if not all(isinstance(n, int) for n in axes):
        raise CannotRunError(f"its axis is {str(axis)[:60]}, whole numbers are needed")
    return tuple(axes)
