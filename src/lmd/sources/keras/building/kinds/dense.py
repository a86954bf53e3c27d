"""Dense layers, einsum layers and look-up tables."""

import re

import torch
from torch import nn

from lmd.sources.keras.building.activations import activated
from lmd.sources.keras.building.layouts import Dequantised, Permuted
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.weights.variables import rounded_to
from lmd.sources.loaders import Loader

__all__ = ["dense", "einsum", "embedding"]


def _real(matrix: Loader, layer: LayerConfig, built: Built, role: str = "kernel_scale") -> Loader:
    """A weight ``(out, in)``; where Keras rounded it to whole numbers, these by their scale.

    Raises:
        CannotRunError: two of them lie in one byte.
    """
    rounded = rounded_to(layer)
    if rounded == "int4":
        raise CannotRunError("its weights are packed, two of 4 bits in a byte, which is not read")
    return Dequantised(matrix, built.stored(role, (matrix.shape[0],))) if rounded == "int8" else matrix


def _refuse_rounded(layer: LayerConfig) -> None:
    if rounded := rounded_to(layer):
        raise CannotRunError(f"it rounds what comes in to {rounded} at each call, which is not known here")


def _build_dense(layer: LayerConfig, built: Built) -> None:
    inputs, outputs = built.shape("kernel")
    loaders: dict[str, Loader] = {"weight": _real(Permuted(built.stored("kernel"), (1, 0)), layer, built)}
    if built.has("bias"):
        loaders["bias"] = built.stored("bias", (outputs,))
    built.add(nn.Linear(inputs, outputs, bias=built.has("bias"), device="meta"), loaders)


@layer_kind("Dense", build=_build_dense)
def dense(given: Given, built: Built, steps: Steps) -> Value:
    """``activation(x W + b)`` along the last axis."""
    _refuse_rounded(given.layer)
    return activated(steps.through(given.value, built.path), given.layer, steps)


_EQUATION = re.compile(r"(\.\.\.)?([A-Za-z]+),([A-Za-z]+)->(\.\.\.)?([A-Za-z]+)")


def _equation(layer: LayerConfig) -> tuple[str, str, str]:
    words = str(layer.settings.get("equation", "")).replace(" ", "")
    found = _EQUATION.fullmatch(words)
    if found is None or bool(found[1]) != bool(found[4]):
        raise CannotRunError(f"its equation {words[:100]!r} is not understood")
    return found[2], found[3], found[5]


def _axes(layer: LayerConfig) -> tuple[int, int] | None:
    """How many axes are summed and made, if the kernel is a matrix from the last axes to the last axes."""
    x, kernel, y = _equation(layer)
    summed = [axis for axis in kernel if axis not in y]
    made = [axis for axis in kernel if axis in y]
    plain = [*summed, *made] == list(kernel) and x.endswith("".join(summed)) and y.endswith("".join(made))
    rest = x[: len(x) - len(summed)] == y[: len(y) - len(made)]
    biased = str(layer.settings.get("bias_axes") or "".join(made)) == "".join(made)
    return (len(summed), len(made)) if plain and rest and biased and summed and made else None


def _build_einsum(layer: LayerConfig, built: Built) -> None:
    axes, shape = _axes(layer), built.shape("kernel")
    if axes is None:
        for role in built.arrays:
            built.hold(role, nn.Parameter(torch.empty(built.shape(role), device="meta")))
        return
    if len(shape) != sum(axes):
        raise CannotRunError(f"its kernel has the shape {shape}, which its equation does not fit")
    inputs, outputs = (_product(part) for part in (shape[: axes[0]], shape[axes[0] :]))
    matrix = Permuted(built.stored("kernel", (inputs, outputs)), (1, 0))
    loaders: dict[str, Loader] = {"weight": _real(matrix, layer, built)}
    if built.has("bias"):
        loaders["bias"] = built.stored("bias", (outputs,))
    built.add(nn.Linear(inputs, outputs, bias=built.has("bias"), device="meta"), loaders)


def _product(numbers: tuple[int, ...]) -> int:
    found = 1
    for number in numbers:
        found *= number
    return found


@layer_kind("EinsumDense", build=_build_einsum)
def einsum(given: Given, built: Built, steps: Steps) -> Value:
    """A dense layer over some of the axes; any other equation as it is written."""
    _refuse_rounded(given.layer)
    layer, value, axes = given.layer, given.value, _axes(given.layer)
    if axes is None:
        names = [built.name(role) for role in ("kernel", "bias") if built.has(role)]
        equation = str(layer.settings["equation"]).replace(" ", "")
        found = Value(steps.apply(layer.path, "keras.einsum", (value.name, *names), equation=equation))
        return activated(found, layer, steps)
    if axes[0] > 1:
        value = steps.on(value, layer.path, "keras.flatten_last", count=axes[0])
    value = steps.through(value, built.path)
    if axes[1] > 1:
        value = steps.on(value, layer.path, "keras.unflatten_last", shape=built.shape("kernel")[axes[0] :])
    return activated(value, layer, steps)


def _build_embedding(layer: LayerConfig, built: Built) -> None:
    entries, width = built.shape("embeddings")
    table = _real(built.stored("embeddings"), layer, built, "embeddings_scale")
    built.add(nn.Embedding(entries, width, device="meta"), {"weight": table})


@layer_kind("Embedding", build=_build_embedding)
def embedding(given: Given, built: Built, steps: Steps) -> Value:
    """The vectors of entries; where 0 stands for none, a mask says so."""
    indices = steps.on(Value(given.value.name), given.layer.path, "keras.as_indices")
    mask = ""
    if given.layer.flag("mask_zero", default=False):
        mask = steps.apply(given.layer.path, "keras.is_not", (given.value.name,), value=0.0)
    return Value(steps.through(indices, built.path).name, mask)
