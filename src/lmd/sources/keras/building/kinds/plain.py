"""Layers without weights that change shapes, or nothing at all."""

from lmd.sources.keras.building.activations import activated
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.settings import axes_of, channels_first, number, numbers, pairs
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value

__all__ = ["nothing"]


@layer_kind(
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout"),
    *("GaussianNoise", "ActivityRegularization", "Identity", "RandomFlip", "RandomRotation", "RandomZoom"),
    *("RandomContrast", "RandomTranslation", "RandomBrightness", "RandomHeight", "RandomWidth"),
)
def nothing(given: Given, built: Built, steps: Steps) -> Value:
    """Nothing at inference."""
    return given.value


@layer_kind("Activation")
def _activation(given: Given, built: Built, steps: Steps) -> Value:
    return activated(given.value, given.layer, steps)


@layer_kind("ReLU")
def _relu(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    settings = {"slope": number(layer, "negative_slope", 0.0), "threshold": number(layer, "threshold", 0.0)}
    most = number(layer, "max_value", 0.0) if layer.settings.get("max_value") is not None else None
    return steps.on(given.value, layer.path, "keras.relu", **settings, most=most)


@layer_kind("LeakyReLU")
def _leaky_relu(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    slope = number(layer, "negative_slope" if "negative_slope" in layer.settings else "alpha", 0.3)
    return steps.on(given.value, layer.path, "keras.relu", slope=slope, threshold=0.0, most=None)


@layer_kind("ELU")
def _elu(given: Given, built: Built, steps: Steps) -> Value:
    return steps.on(given.value, given.layer.path, "keras.elu", alpha=number(given.layer, "alpha", 1.0))


@layer_kind("ThresholdedReLU")
def _thresholded(given: Given, built: Built, steps: Steps) -> Value:
    theta = number(given.layer, "theta", 1.0)
    return steps.on(given.value, given.layer.path, "keras.thresholded_relu", theta=theta)


@layer_kind("Softmax")
def _softmax(given: Given, built: Built, steps: Steps) -> Value:
    layer, value = given.layer, given.value
    mask = given.argument("mask", 0)
    names = (value.name, mask.name) if isinstance(mask, Value) else (value.name,)
    return Value(steps.apply(layer.path, "keras.softmax", names, axes=axes_of(layer)), value.mask)


@layer_kind("Flatten")
def _flatten(given: Given, built: Built, steps: Steps) -> Value:
    settings = {"channels_first": channels_first(given.layer)}
    return Value(steps.apply(given.layer.path, "keras.flatten", (given.value.name,), **settings))


@layer_kind("Reshape")
def _reshape(given: Given, built: Built, steps: Steps) -> Value:
    shape = given.layer.settings.get("target_shape")
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) for n in shape):
        raise CannotRunError(f"its target_shape {str(shape)[:60]} is not known")
    return Value(steps.apply(given.layer.path, "keras.reshape", (given.value.name,), shape=tuple(shape)))


@layer_kind("Permute")
def _permute(given: Given, built: Built, steps: Steps) -> Value:
    dims = given.layer.settings.get("dims")
    if not isinstance(dims, list | tuple) or sorted(dims) != list(range(1, len(dims) + 1)):
        raise CannotRunError(f"its dims {str(dims)[:60]} are no order of axes")
    return Value(steps.apply(given.layer.path, "keras.permute", (given.value.name,), axes=tuple(dims)))


@layer_kind("RepeatVector")
def _repeat(given: Given, built: Built, steps: Steps) -> Value:
    (times,) = numbers(given.layer, "n", 1, 1)
    return Value(steps.apply(given.layer.path, "keras.repeat", (given.value.name,), times=times))


@layer_kind("Masking")
def _masking(given: Given, built: Built, steps: Steps) -> Value:
    layer, value = given.layer, given.value
    mask = steps.apply(layer.path, "keras.any_is_not", (value.name,), value=number(layer, "mask_value", 0.0))
    return Value(steps.apply(layer.path, "keras.where", (value.name, mask)), mask)


def _axes(class_name: str) -> int:
    return int(class_name[-2])


@layer_kind("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def _pad(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    edges = pairs(layer, "padding", _axes(layer.class_name), 1)
    settings = {"edges": edges, "channels_first": channels_first(layer)}
    return Value(steps.apply(layer.path, "keras.pad", (given.value.name,), **settings))


@layer_kind("Cropping1D", "Cropping2D", "Cropping3D")
def _crop(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    edges = pairs(layer, "cropping", _axes(layer.class_name), 1 if _axes(layer.class_name) == 1 else 0)
    settings = {"edges": edges, "channels_first": channels_first(layer)}
    return Value(steps.apply(layer.path, "keras.crop", (given.value.name,), **settings))


@layer_kind("UpSampling1D", "UpSampling2D", "UpSampling3D")
def _upsample(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    how = layer.setting("interpolation", "nearest")
    if how not in ("nearest", "bilinear"):
        raise CannotRunError(f"its interpolation {str(how)[:40]!r} is not known")
    settings = {
        "size": numbers(layer, "size", _axes(layer.class_name), 2),
        "bilinear": how == "bilinear",
        "channels_first": channels_first(layer),
    }
    return Value(steps.apply(layer.path, "keras.upsample", (given.value.name,), **settings))


@layer_kind(*(f"{how}Pooling{axes}D" for how in ("Max", "Average") for axes in (1, 2, 3)))
def _pool(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    axes = _axes(layer.class_name)
    size = numbers(layer, "pool_size", axes, 2)
    padding = str(layer.setting("padding", "valid")).lower()
    if padding not in ("valid", "same"):
        raise CannotRunError(f"its padding {padding[:40]!r} is not known")
    settings = {
        "most": layer.class_name.startswith("Max"),
        "size": size,
        "strides": numbers(layer, "strides", axes, 0) if layer.settings.get("strides") is not None else size,
        "same": padding == "same",
        "channels_first": channels_first(layer),
    }
    return Value(steps.apply(layer.path, "keras.pool", (given.value.name,), **settings))


@layer_kind(*(f"Global{how}Pooling{axes}D" for how in ("Max", "Average") for axes in (1, 2, 3)))
def _global_pool(given: Given, built: Built, steps: Steps) -> Value:
    layer, value = given.layer, given.value
    masked = value.mask if layer.class_name == "GlobalAveragePooling1D" else ""
    settings = {
        "most": "Max" in layer.class_name,
        "keep": layer.flag("keepdims", default=False),
        "channels_first": channels_first(layer),
    }
    return Value(steps.apply(layer.path, "keras.global_pool", (value.name, masked), **settings))


@layer_kind("Rescaling")
def _rescale(given: Given, built: Built, steps: Steps) -> Value:
    layer = given.layer
    settings = {"scale": _numbers(layer.setting("scale", 1.0)), "offset": _numbers(layer.setting("offset", 0.0))}
    return steps.on(given.value, layer.path, "keras.scale", **settings)


def _numbers(value: object) -> list[float] | float:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list) and all(isinstance(n, int | float) for n in value):
        return [float(n) for n in value]
    raise CannotRunError(f"its scale or offset is {str(value)[:60]}, numbers are needed")
