"""Layers around another layer."""

from collections.abc import Sequence
from dataclasses import replace

from lmd.sources.keras.building.registry import kind_of, layer_kind
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["as_it_is", "at_every_step"]


def _inner(layer: LayerConfig) -> LayerConfig:
    if len(layer.inside) != 1 or layer.inside[0].is_model:
        raise CannotRunError("what it wraps is no single layer")
    return replace(layer.inside[0], path=layer.path)


def _build_inner(layer: LayerConfig, built: Built) -> None:
    inner = _inner(layer)
    kind_of(inner.class_name).build(inner, built)


@layer_kind("TimeDistributed", build=_build_inner)
def at_every_step(given: Given, built: Built, steps: Steps) -> Value:
    """The same layer at every step: steps are taken as examples, and made steps again."""
    inner, path = _inner(given.layer), given.layer.path
    flat = Value(steps.apply(path, "keras.fold_time", (given.value.name,)))
    found = kind_of(inner.class_name).run(Given(inner, (flat,)), built, steps)
    if not isinstance(found, Value):
        raise CannotRunError("the layer at every step gives several values")
    return Value(steps.apply(path, "keras.unfold_time", (found.name, given.value.name)), given.value.mask)


@layer_kind("SpectralNormalization", build=_build_inner)
def as_it_is(given: Given, built: Built, steps: Steps) -> Value | Sequence[Value]:
    """Its kernel is stored as it is used."""
    inner = _inner(given.layer)
    return kind_of(inner.class_name).run(replace(given, layer=inner), built, steps)
