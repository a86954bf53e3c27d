"""Which layer class is built and called how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import walk_packages

from lmd.sources.keras import operations
from lmd.sources.keras.building import kinds
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["Kind", "build_nothing", "kind_of", "layer_kind"]

Build = Callable[[LayerConfig, Built], None]
Run = Callable[[Given, Built, Steps], Value | Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a layer class becomes modules, once, and steps, at each call."""

    build: Build
    run: Run


_kinds: dict[str, Kind] = {}


def build_nothing(layer: LayerConfig, built: Built) -> None:
    """Of layers without weights."""


def layer_kind(*classes: str, build: Build = build_nothing) -> Callable[[Run], Run]:
    """Register the function that runs layers of these classes, and the one that builds their modules."""

    def add(run: Run) -> Run:
        for name in classes:
            _kinds[name] = Kind(build, run)
        return run

    return add


def kind_of(class_name: str) -> Kind:
    """The kind of a class.

    Raises:
        CannotRunError: none is known.
    """
    _load()
    found = _kinds.get(class_name)
    if found is None:
        own = class_name.startswith("?")
        word = "is a class of its own, whose code is in no file" if own else "is not known"
        raise CannotRunError(f"{class_name.lstrip('?')} {word}")
    return found


@cache
def _load() -> None:
    for room in (kinds, operations):
        for module in walk_packages(room.__path__, f"{room.__name__}."):
            import_module(module.name)
