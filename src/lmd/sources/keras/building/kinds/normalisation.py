"""Normalisations, and slopes of their own."""

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from lmd.sources.keras.building.layouts import Constant, flat
from lmd.sources.keras.building.modules.normalisation import (
    KerasBatchNorm,
    KerasGroupNorm,
    KerasLayerNorm,
    KerasRMSNorm,
)
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.settings import axes_of, number
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.loaders import Loader

__all__ = ["batch_normalisation", "group_normalisation", "layer_normalisation", "prelu", "standardised", "unit"]


def _affine(built: Built, shape: tuple[int, ...]) -> dict[str, Loader]:
    """Gain and shift; 1 and 0 where Keras has one of the two alone."""
    if not built.has("gamma") and not built.has("beta"):
        return {}
    gain = built.stored("gamma", shape) if built.has("gamma") else Constant(shape, 1.0)
    return {"weight": gain, "bias": built.stored("beta", shape) if built.has("beta") else Constant(shape)}


def _build_batch(layer: LayerConfig, built: Built) -> None:
    if layer.settings.get("mode", 0) != 0:
        raise CannotRunError(f"its mode {str(layer.settings['mode'])[:20]} normalises by the batch or by each example")
    (width,) = built.shape("moving_mean")
    affine = _affine(built, (width,))
    module = KerasBatchNorm(width, eps=number(layer, "epsilon", 1e-3), affine=bool(affine), device="meta")
    # nobody counts batches in Keras
    module.register_buffer("num_batches_tracked", None)
    (module.axis,) = axes_of(layer)
    statistics = {
        "running_mean": built.stored("moving_mean"),
        "running_var": built.stored("moving_variance"),
    }
    built.add(module, {**affine, **statistics})


@layer_kind("BatchNormalization", build=_build_batch)
def batch_normalisation(given: Given, built: Built, steps: Steps) -> Value:
    """With the moving statistics, as at inference."""
    return steps.through(given.value, built.path)


def _build_layer(layer: LayerConfig, built: Built) -> None:
    shape = list(next(iter(built.arrays.values())).shape) if built.arrays else []
    axes = axes_of(layer)
    steps = [after - before for before, after in pairwise(axes)]
    if len(axes) != len(shape) or any(step != 1 for step in steps):
        raise CannotRunError(
            f"it normalises along the axes {axes} with a gain of shape {shape}; the last ones are known"
        )
    eps = number(layer, "epsilon", 1e-3)
    if layer.class_name == "RMSNormalization" or layer.flag("rms_scaling", default=False):
        role = "scale" if built.has("scale") else "gamma"
        scaling = KerasRMSNorm(shape, eps=eps, device="meta")
        scaling.axis = axes[-1]
        built.add(scaling, {"weight": built.stored(role)})
        return
    module = KerasLayerNorm(shape, eps=eps, device="meta")
    module.axis = axes[-1]
    built.add(module, _affine(built, tuple(shape)))


@layer_kind("LayerNormalization", "RMSNormalization", build=_build_layer)
def layer_normalisation(given: Given, built: Built, steps: Steps) -> Value:
    """Each example for itself."""
    if not built.arrays:
        raise CannotRunError("it has no weights, which would tell its width")
    return steps.through(given.value, built.path)


def _build_group(layer: LayerConfig, built: Built) -> None:
    (width,) = next(iter(built.arrays.values())).shape
    groups = int(layer.setting("groups", 32))
    groups = width if groups == -1 else groups
    if groups < 1 or width % groups:
        raise CannotRunError(f"it has {groups} groups of {width} channels")
    module = KerasGroupNorm(groups, width, eps=number(layer, "epsilon", 1e-3), device="meta")
    (module.axis,) = axes_of(layer)
    built.add(module, _affine(built, (width,)))


@layer_kind("GroupNormalization", build=_build_group)
def group_normalisation(given: Given, built: Built, steps: Steps) -> Value:
    """Each group of channels of each example for itself."""
    return steps.through(given.value, built.path)


@layer_kind("UnitNormalization")
def unit(given: Given, built: Built, steps: Steps) -> Value:
    """To length 1."""
    return steps.on(given.value, given.layer.path, "keras.unit", axes=axes_of(given.layer))


def _build_standardised(layer: LayerConfig, built: Built) -> None:
    for role in ("mean", "variance"):
        if built.has(role):
            built.hold(role, nn.Parameter(torch.empty(built.shape(role), device="meta"), requires_grad=False))


@layer_kind("Normalization", build=_build_standardised)
def standardised(given: Given, built: Built, steps: Steps) -> Value:
    """Minus the mean, over the deviation, both counted before the training or given."""
    layer, invert = given.layer, given.layer.flag("invert", default=False)
    axis = layer.settings.get("axis")
    if axis not in (-1, [-1], None, []) and len(built.arrays) == 0:
        raise CannotRunError(f"it normalises along the axis {axis}, the last one is known")
    if built.has("mean"):
        names = (given.value.name, built.name("mean"), built.name("variance"))
        return Value(steps.apply(layer.path, "keras.standardise", names, invert=invert), given.value.mask)
    mean, variance = _list(layer.settings.get("mean")), _list(layer.settings.get("variance"))
    deviation = [max(v**0.5, 1e-7) for v in variance]
    scale = deviation if invert else [1.0 / d for d in deviation]
    offset = mean if invert else [-m * s for m, s in zip(mean, scale, strict=True)]
    return steps.on(given.value, layer.path, "keras.scale", scale=scale, offset=offset)


def _list(value: Any) -> list[float]:
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        value = value["config"].get("value")
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    found: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(n, int | float) for n in found):
        raise CannotRunError("its mean and variance are no list of numbers")
    return [float(n) for n in found]


def _build_prelu(layer: LayerConfig, built: Built) -> None:
    shape = built.shape("alpha")
    width = shape[-1] if shape else 1
    if any(n != 1 for n in shape[:-1]):
        built.hold("alpha", nn.Parameter(torch.empty(shape, device="meta")))
        return
    built.add(nn.PReLU(width, device="meta"), {"weight": flat(built.stored("alpha"), (width,))})


@layer_kind("PReLU", build=_build_prelu)
def prelu(given: Given, built: Built, steps: Steps) -> Value:
    """A slope of its own on the negative side, for each channel or each place."""
    if built.path not in built.modules:
        names = (given.value.name, built.name("alpha"))
        return Value(steps.apply(given.layer.path, "keras.prelu", names), given.value.mask)
    value = steps.on(given.value, given.layer.path, "keras.channels_first")
    return steps.on(steps.through(value, built.path), given.layer.path, "keras.channels_last")
