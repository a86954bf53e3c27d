"""A plan as modules on the meta device, and a loader for each of their parameters and buffers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from lmd.sources.derived_loaders import Transposed
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.graph.step import Graph, Step
from lmd.sources.loaders import Combined, FileTensor, Held, Loader
from lmd.sources.onnx.evaluation import Evaluation, Rearranged
from lmd.sources.onnx.file.model import Constant, GraphProto
from lmd.sources.onnx.file.tensors import CODES_OF_BITS
from lmd.sources.onnx.layer_modules import module_of
from lmd.sources.onnx.operations import registered
from lmd.sources.onnx.operations.control import unknown_inside
from lmd.sources.onnx.operations.quantised import unpacked
from lmd.sources.onnx.plan.expressions import Expression, Leaf, leaves
from lmd.sources.onnx.plan.plan import Layer, Plan
from lmd.sources.onnx.plan.records import Naming

__all__ = ["built", "leaf_loader"]

_INLINE = 1024
"""Entries of a constant that is kept in memory with the graph."""
_NEWEST = 28
"""Version of the standard's operations beyond which their meaning is not known."""
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Places of torch's gates in ONNX's order: iofc for LSTM, zrh for GRU."""


def leaf_loader(constant: Constant, name: str) -> Loader | None:
    """The loader of one tensor of the file; None if its numbers cannot be read."""
    place, dtype = constant.place, _dtype(constant)
    if place is not None and constant.dtype in CODES_OF_BITS:
        bits = CODES_OF_BITS[constant.dtype]
        stored = replace(constant, dtype="uint8", shape=(-(-constant.elements * bits // 8),))
        function = partial(_apart, bits=bits, shape=constant.shape, signed=constant.dtype.startswith("int"))
        packed = leaf_loader(stored, name)
        return None if packed is None else Combined(function, (packed,), constant.shape)
    if place is None or not isinstance(dtype, torch.dtype):
        return None
    if place.path:
        return FileTensor(name, place.path, place.offset, dtype, constant.shape, _strides(constant.shape))
    raw = bytearray(place.held) or bytearray(dtype.itemsize)
    return Held(name, torch.frombuffer(raw, dtype=dtype)[: constant.elements].reshape(constant.shape))


def _dtype(constant: Constant) -> Any:
    """Torch's type of what is loaded: codes of a few bits come one in each byte."""
    signed = constant.dtype.startswith("int")
    return (
        (torch.int8 if signed else torch.uint8)
        if constant.dtype in CODES_OF_BITS
        else getattr(torch, constant.dtype, None)
    )


def _apart(packed: Tensor, *, bits: int, shape: tuple[int, ...], signed: bool) -> Tensor:
    """Codes that share bytes, the lowest bits first."""
    codes = unpacked(packed, bits)[: prod(shape)].reshape(shape)
    return (codes - ((codes >> (bits - 1)) << bits)).to(torch.int8) if signed else codes.to(torch.uint8)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def _loader(expression: Expression, by_leaf: Mapping[str, Loader]) -> Loader:
    """The loader of what a weight is; slices of a stored or a turned matrix are read alone."""
    if isinstance(expression, Leaf):
        return by_leaf[expression.constant.name]
    (first, *others) = expression.inputs
    if (
        expression.operation == "onnx.Transpose"
        and isinstance(first, Leaf)
        and len(expression.shape) == 2
        and not others
    ):
        return Transposed(by_leaf[first.constant.name])
    names = tuple(constant.name for constant in leaves(expression))
    return Combined(Evaluation(expression, names), tuple(by_leaf[name] for name in names), expression.shape)


def _gates(stored: Tensor, *, mode: str, side: int, half: int | None = None) -> Tensor:
    """The gates of one direction in torch's order; of a bias the half for the input or for the state."""
    part = stored[side]
    if half is not None:
        part = part.chunk(2)[half]
    pieces = part.chunk(len(_GATES[mode]))
    return torch.cat([pieces[place] for place in _GATES[mode]])


def _recurrent_loaders(layer: Layer, loaders: Mapping[str, Loader]) -> dict[str, Loader]:
    found: dict[str, Loader] = {}
    mode, roles = str(layer.found.settings["mode"]), layer.found.roles
    for side, suffix in enumerate(("", "_reverse")[: roles["W"].shape[0]]):
        for role, name in (("W", "weight_ih"), ("R", "weight_hh")):
            function = Rearranged(partial(_gates, mode=mode, side=side))
            found[f"{name}_l0{suffix}"] = Combined(function, (loaders[role],), roles[role].shape[1:])
        for half, name in enumerate(("bias_ih", "bias_hh") if "B" in roles else ()):
            function = Rearranged(partial(_gates, mode=mode, side=side, half=half))
            found[f"{name}_l0{suffix}"] = Combined(function, (loaders["B"],), (roles["B"].shape[1] // 2,))
    return found


def built(plan: Plan, naming: Naming) -> tuple[GraphModule, dict[str, Loader]]:
    """The module tree, and loaders by the names of the records and by those of its parameters and buffers."""
    registered()
    by_leaf = {name: loader for name, c in naming.constants.items() if (loader := leaf_loader(c, naming.names[name]))}
    loaders: dict[str, Loader] = {naming.names[name]: loader for name, loader in by_leaf.items()}
    loaders.update(
        (naming.raw[name], _loader(plan.tables[name], by_leaf)) for name in plan.tables if name in naming.raw
    )
    layers: dict[str, nn.Module] = {}
    for layer in plan.layers:
        layers[layer.path] = module_of(layer)
        own = {role: _loader(expression, by_leaf) for role, expression in layer.found.roles.items()}
        if layer.found.kind == "recurrent":
            own = _recurrent_loaders(layer, own)
        loaders.update((f"{layer.path}.{role}", loader) for role, loader in own.items())
    inline, held, unknown = _values(plan, naming, by_leaf)
    for path, module in layers.items():
        if isinstance(module, nn.MultiheadAttention):
            own = module.named_parameters(recurse=False)
            held.update((f"{path}.{name}", (f"{path}.{name}", parameter)) for name, parameter in own)
    steps = tuple(map(_settled, plan.steps))
    unknown = (*unknown, *(word for step in steps for word in unknown_inside(step)))
    version = plan.version
    unknown += (f"opset {version} is newer than {_NEWEST}, the newest that is known",) if version > _NEWEST else ()
    # versions of the standard disagree about whether the cap stands before the mask
    unknown += tuple(
        f"softcap of node {step.name!r} is not known"
        for step in steps
        if step.operation == "onnx.Attention" and step.attributes.get("softcap") and _masks(step)
    )
    shapes = {name: shape for name, shape in plan.inputs.items() if shape is not None}
    module = GraphModule(Graph(steps, tuple(plan.inputs), plan.outputs, inline, unknown, shapes), layers, held)
    for path, told in plan.heads.items():
        _tell_heads(module, path, told)
    for value, name in module.held.items():
        path, _, last = name.rpartition(".")
        known = f"{module.names.get(path, path)}.{last}".lstrip(".")
        # weights that a layer holds for an operation have their loader
        if known not in loaders:
            loaders[known] = by_leaf[_constant_of(value, plan)]
    return module, loaders


def _masks(step: Step) -> bool:
    return bool(step.attributes.get("is_causal")) or any(step.inputs[3:4])


def _tell_heads(root: GraphModule, path: str, told: Mapping[str, object]) -> None:
    """Tell a module that holds projections alone of its heads what attention layers of libraries say."""
    owner: nn.Module | None = root
    for part in filter(None, path.split(".")):
        owner = owner._modules.get(part) if owner is not None else None
    if owner is root or type(owner) is nn.Module:
        vars(owner).update(told)


def _constant_of(value: str, plan: Plan) -> str:
    return plan.taken[value].name if value in plan.taken else value


_Held = dict[str, tuple[str, Tensor]]


def _values(
    plan: Plan, naming: Naming, by_leaf: Mapping[str, Loader]
) -> tuple[dict[str, Tensor], _Held, tuple[str, ...]]:
    """Tensors that steps take and parameters of no layer: numbers kept, tensors held, and why some are not there."""
    inline: dict[str, Tensor] = {}
    held: _Held = {}
    unknown: list[str] = []
    untaken = naming.raw.keys() - {constant.name for constant in plan.taken.values()}
    for value, constant in (*plan.taken.items(), *((name, naming.constants[name]) for name in sorted(untaken))):
        loader = by_leaf.get(constant.name)
        if loader is None:
            unknown.append(f"tensor {constant.name!r}: {constant.reason or 'its type is not known to torch'}")
            continue
        empty = torch.empty(constant.shape, dtype=_dtype(constant), device="meta")
        if constant.name in naming.raw and constant.name not in plan.tables:
            held[value] = (naming.names[constant.name], nn.Parameter(empty, requires_grad=False))
        elif constant.elements <= _INLINE:
            inline[value] = loader()
        else:
            held[value] = (f"{naming.names[constant.name]}{'_codes' * (constant.name in plan.tables)}", empty)
    for name, real in plan.tables.items():
        if name in naming.raw:
            empty = torch.empty(real.shape, dtype=getattr(torch, real.dtype), device="meta")
            held[f"{name}/real"] = (naming.names[name], nn.Parameter(empty, requires_grad=False))
    return inline, held, tuple(unknown)


def _settled(step: Step) -> Step:
    """The step, and those inside it, with settings that operations take."""
    settings = dict(_plain(step.attributes))
    for name in ("then", "otherwise", "body"):
        if name in settings and step.operation.partition("@")[0] in ("onnx.If", "onnx.Loop", "onnx.Scan"):
            inner, outputs = settings[name]
            settings[name] = (tuple(map(_settled, inner)), outputs)
    return replace(step, attributes=settings)


def _plain(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings without tensors of the file, which become tensors, and graphs, which no operation takes."""
    for name, value in attributes.items():
        if isinstance(value, Constant):
            loader = leaf_loader(value, name)
            yield name, loader() if loader else None
        elif not isinstance(value, GraphProto):
            yield name, value
