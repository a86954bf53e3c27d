"""Convolutions, transposed ones too: padding that torch's layers have not goes into operations around them."""

from collections.abc import Mapping
from math import prod
from typing import Any

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import bias_behind, flat
from lmd.sources.onnx.plan.expressions import Expression
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["conv", "conv_transpose", "geometry"]

_MOST_AXES = 3
"""Torch's layers end there."""


def geometry(node: Node, weight: Expression) -> dict[str, Any] | None:
    """Strides, dilations and groups of a convolution; None if they contradict its weight."""
    axes = len(weight.shape) - 2
    settings = node.attributes
    found = {name: settings.get(f"{name}s", [1] * axes) for name in ("stride", "dilation")}
    groups = settings.get("group", 1)
    kernel = settings.get("kernel_shape", [*weight.shape[2:]])
    sound = (
        1 <= axes <= _MOST_AXES
        and tuple(kernel) == weight.shape[2:]
        and all(len(numbers) == axes and min(numbers) > 0 for numbers in found.values())
        and groups > 0
        and weight.shape[0] % groups == 0
        and prod(weight.shape) > 0
    )
    return {**{name: tuple(numbers) for name, numbers in found.items()}, "groups": groups} if sound else None


def _pads(settings: Mapping[str, Any], axes: int) -> list[tuple[int, int]] | None:
    pads = settings.get("pads", [0] * 2 * axes)
    return [*zip(pads[:axes], pads[axes:], strict=True)] if len(pads) == 2 * axes else None


def _with_bias(node: Node, view: View, weight: Expression, width: int) -> tuple[dict[str, Expression], Node | None]:
    roles = {"weight": weight}
    bias = view.weight(node, 2)
    if bias is not None and bias.shape == (width,):
        return {**roles, "bias": bias}, None
    behind = bias_behind(node, view, width, len(weight.shape) - 1) if not node.takes(2) else None
    if behind is None or (width > 1 and len(behind[0].shape) < len(weight.shape) - 1):
        return roles, None
    return {**roles, "bias": flat(behind[0])}, behind[1]


def conv(node: Node, view: View) -> Found | None:
    """A convolution with a constant kernel ``(out, in / groups, k...)``."""
    weight = view.weight(node, 1)
    settings = geometry(node, weight) if weight is not None else None
    pads = _pads(node.attributes, len(weight.shape) - 2) if weight is not None else None
    if weight is None or settings is None or pads is None or node.inputs[0] in view.constants:
        return None
    roles, added = _with_bias(node, view, weight, weight.shape[0])
    if node.takes(2) and "bias" not in roles:
        return None
    value, before = _padded(node, weight, settings, pads)
    outputs = added.outputs if added else node.outputs
    return Found("conv", roles, settings, (value,), outputs, before, absorbed=(added,) if added else ())


def _padded(node: Node, weight: Expression, settings: dict[str, Any], pads: list[tuple[int, int]]) -> tuple[str, Any]:
    """The value to convolve, and how it is made of the node's input: torch pads both sides alike."""
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], settings["dilation"], strict=True)]
    auto = node.attributes.get("auto_pad", "NOTSET")
    padded = f"{node.outputs[0]}/padded"
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if all(e % 2 for e in extents) and not any(s > 1 for s in settings["stride"]):
            pads = [((e - 1) // 2,) * 2 for e in extents]
        else:
            same = {"extents": extents, "strides": settings["stride"], "lower": auto == "SAME_LOWER"}
            return padded, (("onnx.PadSame", (node.inputs[0],), (padded,), same),)
    elif auto == "VALID":
        pads = [(0, 0)] * len(extents)
    if all(first == last >= 0 for first, last in pads):
        settings["padding"] = tuple(first for first, _ in pads)
        return node.inputs[0], ()
    return padded, (("onnx.PadZeros", (node.inputs[0],), (padded,), {"pads": pads}),)


def conv_transpose(node: Node, view: View) -> Found | None:
    """A transposed convolution with a constant kernel ``(in, out / groups, k...)``."""
    weight = view.weight(node, 1)
    settings = geometry(node, weight) if weight is not None else None
    if weight is None or settings is None or node.inputs[0] in view.constants:
        return None
    axes = len(weight.shape) - 2
    pads, more = _pads(node.attributes, axes), node.attributes.get("output_padding", [0] * axes)
    if pads is None or len(more) != axes or min(more) < 0:
        return None
    width = weight.shape[1] * settings["groups"]
    roles, added = _with_bias(node, view, weight, width)
    if node.takes(2) and "bias" not in roles:
        return None
    outputs = added.outputs if added else node.outputs
    absorbed: tuple[Node, ...] = (added,) if added else ()
    if _is_torchs(node.attributes, pads, more, settings):
        settings |= {"padding": tuple(first for first, _ in pads), "output_padding": tuple(more)}
        return Found("conv_transposed", roles, settings, (node.inputs[0],), outputs, absorbed=absorbed)
    whole = f"{node.outputs[0]}/whole"
    after = (("onnx.CropTransposed", (whole, node.inputs[0]), outputs, _crop(node, pads, more, settings)),)
    return Found("conv_transposed", roles, settings, (node.inputs[0],), (whole,), (), after, absorbed)


def _is_torchs(settings: Mapping[str, Any], pads: list[tuple[int, int]], more: list[int], chosen: Any) -> bool:
    steps = zip(chosen["stride"], chosen["dilation"], strict=True)
    return (
        settings.get("auto_pad", "NOTSET") == "NOTSET"
        and "output_shape" not in settings
        and all(first == last >= 0 for first, last in pads)
        and all(n < max(pair) for n, pair in zip(more, steps, strict=True))
    )


def _crop(node: Node, pads: list[tuple[int, int]], more: list[int], settings: dict[str, Any]) -> dict[str, Any]:
    auto = node.attributes.get("auto_pad", "NOTSET")
    return {
        "pads": pads,
        "more": more,
        "strides": settings["stride"],
        "size": node.attributes.get("output_shape", []),
        "auto": auto,
    }
