"""A model and its arrays as one module that runs, if all of its layers are known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from lmd.sources.errors import UnreadableModelError
from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.graph.step import Graph
from lmd.sources.keras.building.declared import contradiction
from lmd.sources.keras.building.registry import kind_of
from lmd.sources.keras.building.running import Runner
from lmd.sources.keras.building.steps import Built, CannotRunError, Value
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.facts import inputs_of
from lmd.sources.keras.hdf5.contents import DataSet
from lmd.sources.keras.weights.assigned import Assigned, Extra
from lmd.sources.keras.weights.variables import variables_of
from lmd.sources.loaders import Loader

__all__ = ["Network", "network_of"]

_NOWHERE = "weights"
"""The path of arrays that stand beside all layers."""


@dataclass(slots=True, eq=False)
class Network:
    """The module tree, and a loader for each tensor of it."""

    module: GraphModule
    loaders: Mapping[str, Loader]


@dataclass(slots=True, eq=False)
class _Parts:
    built: dict[str, Built] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    parameters: dict[str, tuple[str, nn.Parameter]] = field(default_factory=dict)
    loaders: dict[str, Loader] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def network_of(model: LayerConfig, assigned: Assigned, *, unknown: Sequence[str] = ()) -> Network:
    """Build every layer once, and run the model on paper.

    Args:
        model: its configuration.
        assigned: its arrays.
        unknown: why it cannot be run whatever its layers are.
    """
    parts = _Parts(unknown=dict(assigned.misfits))
    left = assigned.beside()
    for leaf in model.leaves():
        _build(leaf, assigned.variables.get(leaf.path, {}), parts)
        _keep(left.pop(leaf.path, ()), parts)
    for extras in left.values():
        _keep(extras, parts)
    graph = _graph(model, parts, unknown)
    return Network(GraphModule(graph, parts.modules, parts.parameters), parts.loaders)


def _build(leaf: LayerConfig, arrays: Mapping[str, DataSet], parts: _Parts) -> None:
    built = Built(leaf.path, arrays)
    try:
        if any(0 in array.shape for array in arrays.values()):
            raise CannotRunError("one of its arrays has no entries")
        if leaf.class_name != "InputLayer":
            kind_of(leaf.class_name).build(leaf, built)
        if told := contradiction(leaf, arrays):
            parts.unknown.setdefault(leaf.path, told)
    except CannotRunError as fault:
        parts.unknown.setdefault(leaf.path, str(fault))
        built = _raw(leaf, arrays)
    except UnreadableModelError as fault:
        parts.unknown.setdefault(leaf.path, f"its weights do not fit it: {fault}")
        built = _raw(leaf, arrays)
    except FOREIGN_FAULTS as fault:
        # weights or settings that do not fit the class
        parts.unknown.setdefault(leaf.path, f"its weights do not fit it ({type(fault).__name__}: {fault})")
        built = _raw(leaf, arrays)
    parts.built[leaf.path] = built
    parts.modules.update(built.modules)
    parts.loaders.update({name: loader for name, loader in built.loaders.items() if name not in parts.loaders})
    parts.parameters.update({name: (name, parameter) for name, parameter in built.parameters.items()})


def _raw(leaf: LayerConfig, arrays: Mapping[str, DataSet]) -> Built:
    """The arrays of a layer without a module of torch, the trained ones as parameters of a bare one."""
    built = Built(leaf.path, arrays)
    kept = {variable.role for variable in variables_of(leaf) or () if not variable.trained}
    for role, array in arrays.items():
        part, _, name = role.rpartition(".")
        place = f"{leaf.path}.{part}".strip(".")
        module = built.modules.setdefault(place, nn.Module())
        if role not in kept:
            _register(module, name, array)
        built.loaders[f"{place}.{name}"] = array.loader(built.name(role))
    return built


def _register(module: nn.Module, name: str, array: DataSet) -> None:
    # a name that torch refuses stays a tensor without a module; so do whole numbers, which are no weights
    dtype = getattr(torch, array.dtype)
    if name and "." not in name and not hasattr(module, name) and (dtype.is_floating_point or dtype.is_complex):
        empty = torch.empty(array.shape, dtype=dtype, device="meta")
        module.register_parameter(name, nn.Parameter(empty, requires_grad=False))


def _keep(extras: Iterable[Extra], parts: _Parts) -> None:
    for extra in extras:
        if extra.reason:
            continue
        path = extra.layer or _NOWHERE
        module = parts.modules.setdefault(path, nn.Module())
        _register(module, extra.role, extra.data_set)
        parts.loaders[f"{path}.{extra.role}"] = extra.data_set.loader(f"{path}.{extra.role}")


def _graph(model: LayerConfig, parts: _Parts, unknown: Sequence[str]) -> Graph:
    names = tuple(reference.layer for reference in model.inputs)
    if unknown:
        return Graph((), names, (), unknown=tuple(unknown))
    runner = Runner(parts.built, unknown=parts.unknown)
    try:
        outputs = [value.name for value in runner.model(model, [Value(name) for name in names])]
    except CannotRunError as fault:
        return Graph((), names, (), unknown=(f"the model cannot be run: {fault}",))
    if parts.unknown:
        classes = {leaf.path: leaf.class_name.lstrip("?") for leaf in model.leaves()}
        words = (f"layer {path!r} ({classes.get(path, 'model')}): {why}" for path, why in parts.unknown.items())
        return Graph((), names, (), unknown=tuple(words))
    return Graph(tuple(runner.steps.steps), names, tuple(outputs), shapes=_shapes(model))


def _shapes(model: LayerConfig) -> dict[str, tuple[int | None, ...]]:
    """Of the inputs, as they are declared, with the number of examples."""
    found = {entry["name"]: entry["shape"] for entry in inputs_of(model)}
    return {name: tuple(n if isinstance(n, int) else None for n in shape) for name, shape in found.items() if shape}
