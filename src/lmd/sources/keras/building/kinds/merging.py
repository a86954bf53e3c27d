"""Layers of several values, and operations on values that Keras writes as layers."""

from collections.abc import Mapping, Sequence
from typing import Any

from lmd.sources.keras.building.activations import function_of
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.settings import axes_of
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["concatenate", "dot", "merge"]


def _mask(values: Sequence[Value], layer: LayerConfig, steps: Steps) -> str:
    """The mask that Keras 1 and 2 give: where all that are there hold; versions of Keras 3 differ from each other."""
    masks = [value.mask for value in values]
    there = list(dict.fromkeys(mask for mask in masks if mask))
    if layer.version == 3 and len(set(masks)) > 1:
        raise CannotRunError("it takes values of different masks, or some without, which versions of Keras 3 differ on")
    return steps.apply(layer.path, "keras.together", there) if len(there) > 1 else "".join(there)


@layer_kind("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def merge(given: Given, built: Built, steps: Steps) -> Value:
    """Entry by entry."""
    layer, names = given.layer, [value.name for value in given.values]
    found = steps.apply(layer.path, "keras.merge", names, how=layer.class_name)
    return Value(found, _mask(given.values, layer, steps))


@layer_kind("Concatenate")
def concatenate(given: Given, built: Built, steps: Steps) -> Value:
    """One behind the other."""
    layer, names = given.layer, [value.name for value in given.values]
    axis = layer.setting("concat_axis", -1) if "concat_axis" in layer.settings else axes_of(layer)[0]
    mask = _mask(given.values, layer, steps) if axis == -1 else ""
    if axis != -1 and any(value.mask for value in given.values):
        raise CannotRunError("it joins values with masks along another axis than the last")
    return Value(steps.apply(layer.path, "keras.concatenate", names, axis=axis), mask)


@layer_kind("Dot")
def dot(given: Given, built: Built, steps: Steps) -> Value:
    """Products of two values along an axis of each."""
    layer, axes = given.layer, given.layer.settings.get("axes")
    axes = [axes, axes] if isinstance(axes, int) else axes
    if not isinstance(axes, list | tuple) or len(axes) != 2 or len(given.values) != 2:
        raise CannotRunError(f"its axes {str(axes)[:60]} are no pair")
    names = [value.name for value in given.values]
    normalize = layer.flag("normalize", default=False)
    return Value(steps.apply(layer.path, "keras.dot", names, axes=tuple(axes), normalize=normalize))


_PAIRS = {
    **dict.fromkeys(("math.add", "__operators__.add", "add", "ops.Add"), "Add"),
    **dict.fromkeys(("math.subtract", "__operators__.sub", "subtract", "ops.Subtract"), "Subtract"),
    **dict.fromkeys(("math.multiply", "__operators__.mul", "multiply", "ops.Multiply"), "Multiply"),
    **dict.fromkeys(("math.divide", "math.truediv", "ops.Divide", "ops.TrueDivide"), "Divide"),
    **dict.fromkeys(("math.maximum", "ops.Maximum"), "Maximum"),
    **dict.fromkeys(("math.minimum", "ops.Minimum"), "Minimum"),
    **dict.fromkeys(("linalg.matmul", "ops.Matmul"), "Matmul"),
}
_ALONE = {
    **{f"{room}.{name}": name for room in ("nn", "math") for name in ("relu", "relu6", "sigmoid", "tanh", "softplus")},
    **{f"nn.{name}": name for name in ("selu", "elu", "gelu", "silu", "swish", "softsign")},
    **{f"ops.{n}": n.lower() for n in ("Relu", "Relu6", "Sigmoid", "Tanh", "Softplus", "Selu", "Silu", "Softsign")},
    "math.exp": "exponential",
    "ops.Exp": "exponential",
}


_OF_TENSORFLOW = {
    **dict.fromkeys(("Add", "AddV2", "BiasAdd"), "ops.Add"),
    **{name: f"ops.{name}" for name in ("Maximum", "Minimum", "Relu", "Relu6", "Sigmoid", "Tanh", "Softplus", "Selu")},
    "Sub": "ops.Subtract",
    "Mul": "ops.Multiply",
    "RealDiv": "ops.Divide",
    "MatMul": "ops.Matmul",
    "BatchMatMulV2": "ops.Matmul",
    "Exp": "ops.Exp",
    "Softsign": "ops.Softsign",
}
"""Nodes of a graph of TensorFlow to the same operation of Keras 3."""
_SECOND = ("y", "x2", "b")


@layer_kind("TFOpLambda", *(name for name in (*_PAIRS, *_ALONE) if name.startswith("ops.")))
def _operation(given: Given, built: Built, steps: Steps) -> Value:
    """A plain function of one or two values, of which one may be a number."""
    layer = given.layer
    function = str(layer.settings.get("function")) if layer.class_name == "TFOpLambda" else layer.class_name
    taken = [*given.values, *given.arguments, *(v for name, v in given.named.items() if name in _SECOND)]
    return _computed(layer, function, taken, steps)


@layer_kind("TensorFlowOpLayer")
def _node(given: Given, built: Built, steps: Steps) -> Value:
    """A node of TensorFlow's graph, as versions 2.0 to 2.3 keep a plain function; its numbers stand by their places."""
    layer, told = given.layer, given.layer.settings.get("node_def")
    word = str(told.get("op")) if isinstance(told, Mapping) else "?"
    attributes = told.get("attr") if isinstance(told, Mapping) else None
    if isinstance(attributes, Mapping) and any("transpose" in name or "adj" in name for name in attributes):
        raise CannotRunError(f"the operation {word[:60]!r} on turned values is not known")
    taken: list[Any] = list(given.values)
    for place, constant in sorted((int(key), value) for key, value in layer.setting("constants", {}).items()):
        taken.insert(place, constant)
    return _computed(layer, _OF_TENSORFLOW.get(word, word), taken, steps)


def _computed(layer: LayerConfig, function: str, taken: Sequence[Any], steps: Steps) -> Value:
    if function in _ALONE and len(taken) == 1:
        chosen = function_of(_ALONE[function], layer.version)
        return steps.on(taken[0], layer.path, "keras.activation", function=chosen)
    if function not in _PAIRS or len(taken) != 2:
        raise CannotRunError(f"the operation {function[:60]!r} on {len(taken)} values is not known")
    return _pair(layer, _PAIRS[function], taken, steps)


def _pair(layer: LayerConfig, how: str, taken: Sequence[Any], steps: Steps) -> Value:
    names = [value.name for value in taken if isinstance(value, Value)]
    constants = [value for value in taken if not isinstance(value, Value)]
    if len(constants) > 1 or not all(map(_is_numbers, constants)):
        raise CannotRunError(f"its arguments {str(constants)[:60]} are no numbers, or no value is among them")
    settings = {"constant": constants[0], "turned": not isinstance(taken[0], Value)} if constants else {}
    return Value(steps.apply(layer.path, "keras.pair", names, how=how, **settings))


def _is_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)
