"""Pictures at other sizes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation

__all__: list[str] = []


def _places(length: int, size: int, scale: float, way: str, box: tuple[float, float]) -> Tensor:
    """Where each output entry lies among those of the input."""
    x = torch.arange(size, dtype=torch.float64)
    if way == "asymmetric":
        return x / scale
    if way == "align_corners":
        return x * (length - 1) / (size - 1) if size > 1 else torch.zeros_like(x)
    if way == "pytorch_half_pixel" and size == 1:
        return torch.full_like(x, -0.5)
    if way == "half_pixel_symmetric":
        adjust = size / (scale * length)
        return length / 2 * (1 - adjust) + (x + 0.5) / scale - 0.5
    if way == "tf_crop_and_resize":
        start, end = box
        if size == 1:
            return torch.full_like(x, 0.5 * (start + end) * (length - 1))
        return start * (length - 1) + x * (end - start) * (length - 1) / (size - 1)
    if way == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    return (x + 0.5) / scale - 0.5


_ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def _linear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys 1981."""
    d = distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def _weights(
    places: Tensor, length: int, scale: float, kernel: Callable[[Tensor], Tensor], reach: int, rules: tuple[bool, bool]
) -> Tensor:
    """A row for each output entry: how much it takes of each entry of the input."""
    antialias, outside = rules
    stretch = min(scale, 1.0) if antialias else 1.0
    taps = int(-(-reach // stretch)) + 1
    first = torch.floor(places)[:, None] + torch.arange(-taps, taps + 1)
    weight = kernel((first - places[:, None]).abs() * stretch)
    if antialias or outside:
        there = (first >= 0) & (first <= length - 1)
        weight = torch.where(there, weight, torch.zeros_like(weight)) if outside or antialias else weight
        weight = weight / weight.sum(1, keepdim=True)
    columns = first.clamp(0, length - 1).to(torch.int64)
    return torch.zeros(len(places), length, dtype=torch.float64).scatter_add_(1, columns, weight)


def _resized(x: Tensor, axis: int, size: int, scale: float, box: tuple[float, float], settings: dict) -> Tensor:
    length = x.shape[axis]
    way, mode = settings["coordinate_transformation_mode"], settings["mode"]
    places = _places(length, size, scale, way, box)
    outside = (places < 0) | (places > length - 1) if way == "tf_crop_and_resize" else None
    if mode == "nearest":
        chosen = _ROUND[settings["nearest_mode"]](places).clamp(0, length - 1).to(torch.int64)
        made = x.index_select(axis, chosen.to(x.device))
    else:
        a = settings["cubic_coeff_a"]
        kernel, reach = (_linear, 1) if mode == "linear" else (lambda d: _cubic(d, a), 2)
        rules = (bool(settings["antialias"]), mode == "cubic" and bool(settings["exclude_outside"]))
        matrix = _weights(places, length, scale, kernel, reach, rules).to(x.dtype).to(x.device)
        made = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    if outside is not None and bool(outside.any()):
        shape = [1] * axis + [-1] + [1] * (x.ndim - axis - 1)
        made = torch.where(outside.reshape(shape), torch.full_like(made, settings["extrapolation_value"]), made)
    return made


@operation("onnx.Resize")
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
    **settings: object,
) -> Tensor:
    """Along each axis to a size, or by a scale."""
    chosen = {**_DEFAULTS, **settings}
    along = [axis % x.ndim for axis in (axes if axes is not None else range(x.ndim))]
    factors, targets = _targets(x, along, scales, sizes, keep_aspect_ratio_policy)
    boxes = roi.reshape(2, -1).T.tolist() if roi is not None and roi.numel() else [[0.0, 1.0]] * len(along)
    # codes between two codes are cut to whole numbers once, behind the last axis
    dtype, x = x.dtype, x if x.is_floating_point() or chosen["mode"] == "nearest" else x.to(torch.float32)
    for axis, factor, target, box in zip(along, factors, targets, boxes, strict=True):
        same = target == x.shape[axis] and factor == 1.0
        if not same or chosen["coordinate_transformation_mode"] == "tf_crop_and_resize":
            x = _resized(x, axis, target, factor, (box[0], box[1]), chosen)
    return x.to(dtype)


_DEFAULTS: dict[str, object] = {
    "antialias": 0,
    "coordinate_transformation_mode": "half_pixel",
    "cubic_coeff_a": -0.75,
    "exclude_outside": 0,
    "extrapolation_value": 0.0,
    "mode": "nearest",
    "nearest_mode": "round_prefer_floor",
}


def _targets(
    x: Tensor, along: list[int], scales: Tensor | None, sizes: Tensor | None, policy: str
) -> tuple[list[float], list[int]]:
    if scales is not None and scales.numel():
        factors = [float(n) for n in scales.tolist()]
        return factors, [int(x.shape[axis] * factor) for axis, factor in zip(along, factors, strict=True)]
    wanted = [int(n) for n in sizes.tolist()] if sizes is not None else []
    factors = [n / x.shape[axis] for n, axis in zip(wanted, along, strict=True)]
    if policy == "stretch":
        return factors, wanted
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [factor] * len(along), [int(x.shape[axis] * factor + 0.5) for axis in along]


@operation("onnx.Resize@old")
def resize_by_scales(x: Tensor, scales: Tensor, *, mode: str = "nearest") -> Tensor:
    """Version 10: by scales, from the first entry on."""
    return resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


@operation("onnx.Upsample")
def upsample(
    x: Tensor, factors: Tensor | None = None, *, scales: Sequence[float] = (), mode: str = "nearest", **more: float
) -> Tensor:
    """By scales, from the first entry on."""
    given = [*scales] or [1.0, 1.0, more.get("height_scale", 1.0), more.get("width_scale", 1.0)]
    by = factors if factors is not None else torch.tensor(given)
    return resize_by_scales(x, by, mode="linear" if mode == "bilinear" else mode)


@operation("onnx.GridSample")
def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    """At places given between -1 and 1."""
    way = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return functional.grid_sample(x, grid, way, padding_mode, bool(align_corners))


@operation("onnx.AffineGrid")
def affine_grid(theta: Tensor, size: Tensor, *, align_corners: int = 0) -> Tensor:
    """Places of a grid moved by a matrix."""
    return functional.affine_grid(theta, [int(n) for n in size.tolist()], bool(align_corners))
