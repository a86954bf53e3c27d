"""Convolutions: channels last outside, first inside; edges as TensorFlow lays them."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from lmd.sources.keras.building.activations import activated
from lmd.sources.keras.building.layouts import Permuted, depthwise
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.settings import channels_first, numbers
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.loaders import Loader

__all__ = ["convolution", "over_time", "separable", "transposed"]

_FORWARD: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

_READ_EITHER_WAY = ("Conv1D", "Conv2D", "Conv3D")


def _axes(layer: LayerConfig, shape: Sequence[int]) -> int:
    axes = len(shape) - 2
    if layer.settings.get("dim_ordering") == "th" and layer.class_name not in _READ_EITHER_WAY:
        raise CannotRunError("the layout of its kernels with channels first in Keras 1 is not known")
    if axes not in _FORWARD or f"{axes}D" not in layer.class_name:
        raise CannotRunError(f"its kernel has the shape {tuple(shape)}, a {layer.class_name} needs another")
    return axes


def _extent(layer: LayerConfig, size: Sequence[int]) -> tuple[int, ...]:
    dilation = numbers(layer, "dilation_rate", len(size), 1)
    return tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))


def _padding(layer: LayerConfig) -> str:
    padding = str(layer.setting("padding", "valid")).lower()
    if padding not in ("valid", "same", "causal"):
        raise CannotRunError(f"its padding {padding[:40]!r} is not known")
    return padding


def _inner_pads(layer: LayerConfig, size: Sequence[int]) -> tuple[int, ...] | None:
    """What torch's own layer pads; None where a step before it has to."""
    padding, strides = _padding(layer), numbers(layer, "strides", len(size), 1)
    extent = _extent(layer, size)
    if padding == "valid":
        return (0,) * len(size)
    even = all(s == 1 and e % 2 == 1 for s, e in zip(strides, extent, strict=True))
    return tuple(e // 2 for e in extent) if padding == "same" and even else None


def _module(
    layer: LayerConfig, size: Sequence[int], channels: tuple[int, int], groups: int, *, bias: bool
) -> nn.Module:
    axes = len(size)
    return _FORWARD[axes](
        *channels,
        tuple(size),
        stride=numbers(layer, "strides", axes, 1),
        dilation=numbers(layer, "dilation_rate", axes, 1),
        padding=_inner_pads(layer, size) or (0,) * axes,
        groups=groups,
        bias=bias,
        device="meta",
    )


def _with_bias(built: Built, weight: Loader) -> dict[str, Loader]:
    return {"weight": weight, **({"bias": built.stored("bias")} if built.has("bias") else {})}


def _moved(axes: int) -> tuple[int, ...]:
    """Of a kernel ``(..., in, out)``: out first, then in."""
    return (axes + 1, axes, *range(axes))


def _kernel(layer: LayerConfig, built: Built) -> Loader:
    """Of the layout ``(..., in, out)``; Keras 1 has ``(out, in, ...)`` where it counts channels first."""
    stored = built.stored("kernel")
    turned = layer.settings.get("dim_ordering") == "th"
    return Permuted(stored, (*range(2, len(stored.shape)), 1, 0)) if turned else stored


def _build_convolution(layer: LayerConfig, built: Built) -> None:
    kernel = _kernel(layer, built)
    shape = kernel.shape
    axes = _axes(layer, shape)
    *size, inputs, outputs = shape
    groups = int(layer.setting("groups", 1))
    module = _module(layer, size, (inputs * groups, outputs), groups, bias=built.has("bias"))
    built.add(module, _with_bias(built, Permuted(kernel, _moved(axes))))


@layer_kind("Conv1D", "Conv2D", "Conv3D", build=_build_convolution)
def convolution(given: Given, built: Built, steps: Steps) -> Value:
    """Every patch to one position."""
    return _around(given, steps, _kernel(given.layer, built).shape[:-2], (built.path,))


def _build_depthwise(layer: LayerConfig, built: Built) -> None:
    shape = built.shape("depthwise_kernel")
    _axes(layer, shape)
    *size, channels, times = shape
    module = _module(layer, size, (channels, channels * times), channels, bias=built.has("bias"))
    built.add(module, _with_bias(built, depthwise(built.stored("depthwise_kernel"))))


@layer_kind("DepthwiseConv1D", "DepthwiseConv2D", build=_build_depthwise)
def _depthwise(given: Given, built: Built, steps: Steps) -> Value:
    """Every channel for itself."""
    return _around(given, steps, built.shape("depthwise_kernel")[:-2], (built.path,))


def _build_separable(layer: LayerConfig, built: Built) -> None:
    shape, pointwise = built.shape("depthwise_kernel"), built.shape("pointwise_kernel")
    axes = _axes(layer, shape)
    *size, channels, times = shape
    module = _module(layer, size, (channels, channels * times), channels, bias=False)
    built.add(module, {"weight": depthwise(built.stored("depthwise_kernel"))}, "depthwise")
    if pointwise[:-1] != (*(1,) * axes, channels * times):
        raise CannotRunError(f"its pointwise kernel has the shape {pointwise}, which the depthwise one does not fit")
    mixing = _FORWARD[axes](channels * times, pointwise[-1], 1, bias=built.has("bias"), device="meta")
    built.add(mixing, _with_bias(built, Permuted(built.stored("pointwise_kernel"), _moved(axes))), "pointwise")


@layer_kind("SeparableConv1D", "SeparableConv2D", build=_build_separable)
def separable(given: Given, built: Built, steps: Steps) -> Value:
    """Depthwise, then pointwise."""
    places = (f"{built.path}.depthwise", f"{built.path}.pointwise")
    return _around(given, steps, built.shape("depthwise_kernel")[:-2], places)


def _around(given: Given, steps: Steps, size: Sequence[int], places: Sequence[str]) -> Value:
    layer, value = given.layer, Value(given.value.name)
    before = channels_first(layer)
    value = value if before else steps.on(value, layer.path, "keras.channels_first")
    value = _padded(layer, value, steps, size)
    for place in places:
        value = steps.through(value, place)
    value = value if before else steps.on(value, layer.path, "keras.channels_last")
    return activated(value, layer, steps)


def _padded(layer: LayerConfig, value: Value, steps: Steps, size: Sequence[int]) -> Value:
    if _inner_pads(layer, size) is not None:
        return value
    extent = _extent(layer, size)
    if _padding(layer) == "causal":
        edges = ((extent[0] - 1, 0),)
        return steps.on(value, layer.path, "keras.pad", edges=edges, channels_first=True)
    strides = numbers(layer, "strides", len(size), 1)
    return steps.on(value, layer.path, "keras.pad_same", extent=extent, strides=strides)


def _edges(layer: LayerConfig, size: Sequence[int]) -> list[tuple[int, int, int]]:
    """For each axis torch's padding and output padding, and how much is left out at the end."""
    strides, extent = numbers(layer, "strides", len(size), 1), _extent(layer, size)
    wanted = layer.settings.get("output_padding")
    more = numbers(layer, "output_padding", len(size), 0) if wanted is not None else None
    same = _padding(layer) == "same"
    found = []
    for axis, (stride, reach) in enumerate(zip(strides, extent, strict=True)):
        # the length is that of (n - 1) * stride + reach, and this much more
        if more is None:
            change = stride - reach if same else max(stride - reach, 0)
        else:
            change = more[axis] - (2 * (reach // 2) if same else 0)
        before = max(-change, 0) // 2 if same else 0
        rest = change + 2 * before
        found.append((before, max(rest, 0), max(-rest, 0)))
    return found


def _build_transposed(layer: LayerConfig, built: Built) -> None:
    shape = built.shape("kernel")
    axes = _axes(layer, shape)
    *size, outputs, inputs = shape
    edges = _edges(layer, size)
    module = _TRANSPOSED[axes](
        inputs,
        outputs,
        tuple(size),
        stride=numbers(layer, "strides", axes, 1),
        dilation=numbers(layer, "dilation_rate", axes, 1),
        padding=tuple(before for before, _, _ in edges),
        output_padding=tuple(more for _, more, _ in edges),
        bias=built.has("bias"),
        device="meta",
    )
    built.add(module, _with_bias(built, Permuted(built.stored("kernel"), _moved(axes))))


@layer_kind("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", build=_build_transposed)
def transposed(given: Given, built: Built, steps: Steps) -> Value:
    """Every position to a patch."""
    layer, value, before = given.layer, Value(given.value.name), channels_first(given.layer)
    value = value if before else steps.on(value, layer.path, "keras.channels_first")
    value = steps.through(value, built.path)
    lengths = tuple(length for _, _, length in _edges(layer, built.shape("kernel")[:-2]))
    value = steps.on(value, layer.path, "keras.cut_end", lengths=lengths) if any(lengths) else value
    value = value if before else steps.on(value, layer.path, "keras.channels_last")
    return activated(value, layer, steps)


def _build_over_time(layer: LayerConfig, built: Built) -> None:
    shape, hidden = built.shape("kernel"), built.shape("recurrent_kernel")
    axes = _axes(layer, shape)
    *size, inputs, outputs = shape
    entering = _module(layer, size, (inputs, outputs), 1, bias=built.has("bias"))
    built.add(entering, _with_bias(built, Permuted(built.stored("kernel"), _moved(axes))), "input")
    *size, units, outputs = hidden
    staying = _FORWARD[axes](units, outputs, tuple(size), padding="same", bias=False, device="meta")
    built.add(staying, {"weight": Permuted(built.stored("recurrent_kernel"), _moved(axes))}, "hidden")


@layer_kind("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", build=_build_over_time)
def over_time(given: Given, built: Built, steps: Steps) -> Value:
    """Two convolutions, of what comes in and of what it remembers; their gates lie one behind the other."""
    raise CannotRunError("a convolution over time is read and not run")
