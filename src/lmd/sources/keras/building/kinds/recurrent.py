"""LSTM, GRU and plain recurrent layers, their cells, both directions, and those made for cuDNN."""

from collections.abc import Sequence
from typing import Any

from lmd.sources.joined import Joined
from lmd.sources.keras.building.activations import function_of
from lmd.sources.keras.building.layouts import Constant, Permuted, cudnn_input, flat, gates_in_order, rows
from lmd.sources.keras.building.modules.recurrent import KerasGRU, KerasLSTM, KerasRNN, Manner
from lmd.sources.keras.building.registry import layer_kind
from lmd.sources.keras.building.steps import Built, CannotRunError, Given, Steps, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.weights.variables import gates_apart
from lmd.sources.loaders import Loader

__all__ = ["both_directions", "cells", "recurrent"]

_FORMS: dict[str, tuple[Any, int]] = {
    **dict.fromkeys(("LSTM", "LSTMCell", "CuDNNLSTM"), (KerasLSTM, 4)),
    **dict.fromkeys(("GRU", "GRUCell", "CuDNNGRU"), (KerasGRU, 3)),
    **dict.fromkeys(("SimpleRNN", "SimpleRNNCell"), (KerasRNN, 1)),
}
_MERGES = ("sum", "mul", "concat", "ave")


def _manner(layer: LayerConfig, cell: LayerConfig) -> Manner:
    """Of a layer and its cell, which may be the layer itself."""
    if layer.flag("time_major", default=False) or layer.flag("zero_output_for_mask", default=False):
        raise CannotRunError("its time comes first, or masked steps give zeros, which is not known")
    version = cell.version
    return Manner(
        activation=function_of(cell.setting("activation", "tanh"), version),
        gates=function_of(cell.setting("recurrent_activation", "hard_sigmoid" if version == 1 else "sigmoid"), version),
        sequences=layer.flag("return_sequences", default=False),
        states=layer.flag("return_state", default=False),
        backwards=layer.flag("go_backwards", default=False),
        reset_after=cell.flag("reset_after", default=version == 3 or "CuDNN" in cell.class_name),
    )


def _loaders(cell: LayerConfig, built: Built, gates: int, suffix: str = "") -> dict[str, Loader]:
    """Torch's weights of one direction."""
    order = gates_in_order(gates)
    kernel, hidden = _stored(cell, built, "kernel"), _stored(cell, built, "recurrent_kernel")
    if cell.class_name.startswith("CuDNN"):
        enter, stay = cudnn_input(kernel, gates), cudnn_input(hidden, gates, hidden=True)
    else:
        enter, stay = Permuted(kernel, (1, 0)), Permuted(hidden, (1, 0))
    found = {f"weight_ih_l0{suffix}": rows(enter, order, gates), f"weight_hh_l0{suffix}": rows(stay, order, gates)}
    if _has_bias(cell, built):
        entering, staying = _biases(_stored(cell, built, "bias"), kernel.shape[1])
        found[f"bias_ih_l0{suffix}"] = rows(entering, order, gates)
        found[f"bias_hh_l0{suffix}"] = rows(staying, order, gates)
    return found


def _stored(cell: LayerConfig, built: Built, role: str) -> Loader:
    """A variable in the layout of Keras 2: gates side by side."""
    if not gates_apart(cell):
        return built.stored(role)
    gates = "ifco" if cell.class_name == "LSTM" else "zrh"
    return Joined(tuple(built.stored(f"{gate}.{role}") for gate in gates), 0 if role == "bias" else 1)


def _has_bias(cell: LayerConfig, built: Built) -> bool:
    return built.has("bias") or bool(gates_apart(cell))


def _biases(bias: Loader, length: int) -> tuple[Loader, Loader]:
    """Those of input and hidden maps: in a row, one behind the other, or one for both."""
    if bias.shape == (length,):
        return bias, Constant((length,))
    if bias.shape not in ((2, length), (2 * length,)):
        raise CannotRunError(f"its bias has the shape {bias.shape}, its kernel {length} columns")
    both = flat(bias, (2 * length,))
    return both.narrow(0, 0, length), both.narrow(0, length, length)


def _module(cell: LayerConfig, built: Built, *, both: bool = False) -> tuple[Any, int]:
    form, gates = _FORMS[cell.class_name]
    enter, hidden = (_stored(cell, built, role).shape for role in ("kernel", "recurrent_kernel"))
    inputs, columns = enter
    if columns % gates or hidden != (columns // gates, columns):
        raise CannotRunError(f"its kernels have the shapes {enter} and {hidden}, which do not fit")
    options = {"batch_first": True, "bias": _has_bias(cell, built), "bidirectional": both, "device": "meta"}
    return form(inputs, columns // gates, **options), gates


def _build_one(layer: LayerConfig, built: Built) -> None:
    module, gates = _module(layer, built)
    module.manner = _manner(layer, layer)
    built.add(module, _loaders(layer, built, gates))


@layer_kind("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", build=_build_one)
def recurrent(given: Given, built: Built, steps: Steps) -> Value | Sequence[Value]:
    """From the first step to the last, or backwards; states may be given and returned."""
    module: Any = built.modules[built.path]
    return _called(given, built.path, module.manner, steps, carried=module.carried)


def _called(given: Given, path: str, manner: Manner, steps: Steps, *, carried: int) -> Value | Sequence[Value]:
    value, states = _with_states(given)
    mask = given.named.get("mask")
    mask = mask.name if isinstance(mask, Value) else value.mask
    count = (1 if manner.merge else 2) + (carried if manner.states else 0)
    found = steps.call(path, (value.name, mask, *(state.name for state in states)), count)
    kept = mask if manner.sequences else ""
    values = [Value(found[0], kept), *map(Value, found[1:])]
    return values[0] if len(values) == 1 else values


def _with_states(given: Given) -> tuple[Value, list[Value]]:
    """The sequence, and the states before it: further values, or the argument of that name."""
    value, *states = given.values
    told = given.argument("initial_state", 99)
    told = told if isinstance(told, list | tuple) else [told] if told is not None else []
    found = [*states, *told]
    if not all(isinstance(state, Value) for state in found):
        raise CannotRunError("its first states are no values")
    return value, found


def _build_cells(layer: LayerConfig, built: Built) -> None:
    cells = _cells(layer)
    for index, cell in enumerate(cells):
        part = str(index) if _stacked(layer) else ""
        own = built.below(part)
        module, gates = _module(cell, own)
        last = index == len(cells) - 1
        manner = _manner(layer, cell)
        if _stacked(layer) and manner.states:
            raise CannotRunError("it returns the states of several cells")
        module.manner = manner if last else Manner(**{**_fields(manner), "sequences": True})
        built.add(module, _loaders(cell, own, gates), part)


def _fields(manner: Manner) -> dict[str, Any]:
    return {name: getattr(manner, name) for name in Manner.__dataclass_fields__}


def _stacked(layer: LayerConfig) -> bool:
    return layer.inside[0].class_name == "StackedRNNCells"


def _cells(layer: LayerConfig) -> tuple[LayerConfig, ...]:
    return layer.inside[0].inside if _stacked(layer) else layer.inside[:1]


@layer_kind("RNN", build=_build_cells)
def cells(given: Given, built: Built, steps: Steps) -> Value | Sequence[Value]:
    """A cell over time; cells on top of each other are layers on top of each other."""
    if not _stacked(given.layer):
        return recurrent(given, built, steps)
    if len(given.values) > 1 or given.layer.flag("go_backwards", default=False):
        raise CannotRunError("first states, or time backwards, of several cells are not known")
    value: Any = given.value
    for index in range(len(_cells(given.layer))):
        path = f"{built.path}.{index}"
        module: Any = built.modules[path]
        value = _called(Given(given.layer, (value,)), path, module.manner, steps, carried=module.carried)
    return value


def _directions(layer: LayerConfig) -> tuple[LayerConfig, LayerConfig]:
    forward, backward = layer.inside[0], layer.inside[-1]
    same = (
        "activation",
        "recurrent_activation",
        "return_sequences",
        "units",
        "use_bias",
        "reset_after",
        "return_state",
    )
    if forward.class_name not in _FORMS or forward.class_name != backward.class_name:
        raise CannotRunError(f"{forward.class_name} and {backward.class_name} in two directions are not known")
    if len(layer.inside) > 1 and any(forward.settings.get(n) != backward.settings.get(n) for n in same):
        raise CannotRunError("its two directions have different settings")
    return forward, backward


def _enters(cell: LayerConfig, built: Built) -> tuple[int, ...]:
    return _stored(cell, built, "kernel").shape


def _build_both(layer: LayerConfig, built: Built) -> None:
    forward, backward = _directions(layer)
    parts = built.below("forward"), built.below("backward")
    module, gates = _module(forward, parts[0], both=True)
    if parts[0].arrays.keys() != parts[1].arrays.keys() or _enters(forward, parts[0]) != _enters(backward, parts[1]):
        raise CannotRunError("its two directions have weights of different shapes")
    merge = layer.settings.get("merge_mode", "concat")
    if merge is not None and merge not in _MERGES:
        raise CannotRunError(f"its merge_mode {str(merge)[:40]!r} is not known")
    module.manner = Manner(**{**_fields(_manner(forward, forward)), "merge": merge or ""})
    loaders = {
        **_loaders(forward, parts[0], gates),
        **_loaders(backward, parts[1], gates, "_reverse"),
    }
    built.add(module, loaders)


@layer_kind("Bidirectional", build=_build_both)
def both_directions(given: Given, built: Built, steps: Steps) -> Value | Sequence[Value]:
    """Forward and backward, merged."""
    module: Any = built.modules[built.path]
    return _called(given, built.path, module.manner, steps, carried=2 * module.carried)
