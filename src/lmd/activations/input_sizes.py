"""The size of what comes into each convolution, from a forward pass without numbers where that is possible."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter, is_lazy

from lmd.activations.examples import Call, InputShape, Shaped, shaped_inputs
from lmd.layers.convolutions.convolution_maps import geometry_of
from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.graph.paddings import Padding, is_padding
from lmd.sources.graph.step import Step
from lmd.sources.network import Network

__all__ = ["InputSizes", "input_sizes", "sized"]

_FAILURES = (*FOREIGN_FAULTS, copy.Error)
"""What a forward pass on something that a network was not made for can raise."""
_SMALL = 5_000_000
"""Parameters."""
_LONGEST = 200
"""Characters of what a network says when it fails."""

_BARE = (
    "a bare checkpoint tells neither the order of its layers nor their strides and paddings, so that it cannot be run "
    "on the size of an input: pass the module itself, or --builder FILE.py:FUNCTION that returns it"
)
_UNTOLD = "it needs the size of the input: data, or --input-shape for a network that can be called"
_IDLE = "the layer was not called on this input"
_APART = "its calls are padded in different ways, in steps of their own in the graph"
_ODD = "it gave another size than its settings say"
_LARGEST_TOLD = 1 << 14
"""Entries of an example whose shape a file tells: operators on larger ones take minutes, and wait to be asked for."""


@dataclass(frozen=True, slots=True)
class InputSizes:
    """What comes into the convolutions of a network.

    Attributes:
        sizes: path of a module to the spatial sizes of its inputs, each once, in the order of the calls.
        reasons: path of a convolution to why there is no size.
    """

    sizes: Mapping[str, tuple[tuple[int, ...], ...]]
    reasons: Mapping[str, str]


def sized(network: Network, data: Tensor | None = None, input_shape: InputShape | None = None) -> Network:
    """The network, with what is found about the sizes of its convolutions' inputs; see ``input_sizes``."""
    found = input_sizes(network, data, input_shape)
    return replace(network, input_sizes=found.sizes, unsized=found.reasons)


def input_sizes(network: Network, data: Tensor | None = None, input_shape: InputShape | None = None) -> InputSizes:
    """Spatial sizes of the inputs of every convolution, by the path of its module.

    A copy of the network is run, without numbers (meta device) unless it is small; if that cannot be, the network
    itself, on one example, in evaluation mode, its modes and hooks restored. Inputs that an embedding looks up are
    whole numbers, and so are all of them if nothing else runs.

    Args:
        network: what to run.
        data: examples, of which the first is taken.
        input_shape: shapes of the inputs of one example, where no data are given, see ``shaped_inputs``. Without
            either: what the network's own configuration tells of the pictures it takes.

    Raises:
        ValueError: ``input_shape`` is no shape.
    """
    found = _input_sizes(network, data, None if input_shape is None else shaped_inputs(input_shape))
    apart = [path for path, padding in _paddings(network.skeleton).items() if padding is None]
    sizes = {path: sizes for path, sizes in found.sizes.items() if path not in apart}
    return InputSizes(sizes, {**found.reasons, **dict.fromkeys(apart, _APART)})


def _paddings(module: nn.Module) -> Mapping[str, Padding | None]:
    return module.paddings if isinstance(module, GraphModule) else {}


def _input_sizes(network: Network, data: Tensor | None, inputs: tuple[Shaped, ...] | None) -> InputSizes:
    convolutions = [(network.names.get(p, p), m) for p, m in network.skeleton.named_modules() if isinstance(m, _ConvNd)]
    if not convolutions:
        return InputSizes({}, {})
    seen = _Seen([path for path, _ in convolutions], _paddings(network.skeleton))
    if inputs is None and data is not None and network.runs:
        fault = _run(network, convolutions, Call([data[:1]]), seen)
        return seen.found(_failed(fault))
    if network.readings or not (network.runs or _config(network) is not None):
        return seen.found(_cannot_run(network.skeleton))
    inputs = inputs or _told_input(network) or _declared_inputs(network)
    if inputs is None:
        return seen.found(_untold(network))
    if not network.runs and len(inputs) == 1 and not inputs[0].name:
        # the models of a library that take one input have it under a name
        inputs = (replace(inputs[0], name=getattr(network.skeleton, "main_input_name", "pixel_values")),)
    return seen.found(_failed(_tried(network, convolutions, inputs, seen)))


class _Seen:
    """What hooks see of the convolutions of one run."""

    def __init__(self, paths: Sequence[str], paddings: Mapping[str, Padding | None]) -> None:
        self._sizes: dict[str, list[tuple[int, ...]]] = {path: [] for path in paths}
        self._odd: set[str] = set()
        self._padded = {path for path, padding in paddings.items() if padding is not None and padding.before}
        self._unpadded: dict[str, tuple[int, ...]] = {}
        self._entering: tuple[int, ...] = ()

    def clear(self) -> None:
        """Before another try."""
        for sizes in self._sizes.values():
            sizes.clear()
        self._odd.clear()

    def step(self, step: Step, taken: Sequence[Any]) -> None:
        """Remember what is padded for the layer that comes next."""
        if is_padding(step) and isinstance(taken[0], Tensor):
            self._unpadded[step.outputs[0]] = tuple(taken[0].shape[2:])
        elif step.module:
            self._entering = self._unpadded.pop(step.inputs[0], ())

    def found(self, trouble: str) -> InputSizes:
        """Sizes and reasons; no sizes if the run as a whole did not come to its end, which ``trouble`` says."""
        if trouble:
            return InputSizes({}, dict.fromkeys(self._sizes, trouble))
        sizes = {path: tuple(found) for path, found in self._sizes.items() if found}
        reasons = {path: _ODD if path in self._odd else _IDLE for path in self._sizes if path not in sizes}
        return InputSizes(sizes, reasons)

    def hook(self, path: str) -> Callable[..., None]:
        """A forward hook for the convolution of this path."""

        def keep(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
            x = arguments[0] if arguments else named.get("input")
            if not isinstance(x, Tensor) or not isinstance(answer, Tensor):
                return
            axes = len(module.kernel_size)
            size = tuple(x.shape[-axes:])
            # a size asked for in the call, or a subclass with a way of its own, is no operator that is known here
            if tuple(answer.shape[-axes:]) != tuple(geometry_of(module).output_size(size)):
                self._odd.add(path)
                return
            size = self._entering if path in self._padded else size
            if size not in self._sizes[path]:
                self._sizes[path].append(size)

        return keep


def _failed(fault: BaseException | None) -> str:
    if fault is None:
        return ""
    text = " ".join(str(fault).split())
    return f"the forward pass failed with {type(fault).__name__}: {text[:_LONGEST]}{'…' * (len(text) > _LONGEST)}"


def _cannot_run(module: nn.Module) -> str:
    if not isinstance(module, GraphModule) or not module.unknown:
        return _BARE
    first, *more = module.unknown
    return f"it cannot be run: {first}" + (f"; and {len(more)} more reasons" if more else "")


def _tried(
    network: Network, convolutions: Sequence[tuple[str, nn.Module]], inputs: Sequence[Shaped], seen: _Seen
) -> BaseException | None:
    """Run on numbers of the network's own type; on whole ones where an embedding asks for them; on whole ones alone."""
    everything = frozenset(index for index, one in enumerate(inputs) if one.dtype is None)
    whole: frozenset[int] = frozenset()
    while True:
        call = _call(inputs, whole, _own_type(network))
        fault = _run(network, convolutions, call, seen)
        more = whole | (everything & call.looked_up)
        if fault is None or more == whole:
            break
        whole = more
    if fault is None or whole == everything:
        return fault
    # what was wrong with likelier numbers says more than what is wrong with these
    return fault if _run(network, convolutions, _call(inputs, everything, torch.int64), seen) else None


def _call(inputs: Sequence[Shaped], whole: frozenset[int], own: torch.dtype) -> Call:
    types = [one.dtype or (torch.int64 if i in whole else own) for i, one in enumerate(inputs)]
    examples = [
        torch.empty(1, *one.shape, dtype=dtype, device="meta") for one, dtype in zip(inputs, types, strict=True)
    ]
    return Call(examples, [one.name for one in inputs])


def _own_type(network: Network) -> torch.dtype:
    types = (p.dtype for p in network.skeleton.parameters() if p.dtype.is_floating_point or p.dtype.is_complex)
    return next(types, torch.float32)


def _config(network: Network) -> Mapping[str, Any] | None:
    """The configuration that built the module tree, if one did."""
    for module in (network.skeleton, *network.skeleton.children()):
        to_dict = getattr(getattr(module, "config", None), "to_dict", None)
        if to_dict is not None:
            return to_dict()
    return None


def _told_shape(network: Network) -> tuple[int, ...] | None:
    """The shape of the one input, without the batch axis, that a file tells along with its graph."""
    shape = network.facts.get("input_shape") if network.runs else None
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
        return None
    return tuple(shape)


def _told_input(network: Network) -> tuple[Shaped, ...] | None:
    shape = _told_shape(network)
    return (Shaped(shape),) if shape is not None and prod(shape) <= _LARGEST_TOLD else None


def _untold(network: Network) -> str:
    shape = _told_shape(network)
    if shape is None:
        return _UNTOLD
    asked = "x".join(map(str, shape))
    return f"operators on the input that the file tells take minutes: --input-shape {asked} asks for them"


def _declared_inputs(network: Network) -> tuple[Shaped, ...] | None:
    config = _config(network)
    if config is None:
        return None
    size, channels = config.get("image_size"), config.get("num_channels")
    if isinstance(size, int):
        size = (size, size)
    if not isinstance(size, list | tuple) or len(size) != 2 or not isinstance(channels, int):
        return None
    return (Shaped((channels, *size), name="pixel_values"),)


def _run(
    network: Network, convolutions: Sequence[tuple[str, nn.Module]], call: Call, seen: _Seen
) -> BaseException | None:
    """Look at the first run that can be made; what went wrong if none can."""
    parts = [module for _, module in convolutions]
    own = next((p.device for p in network.skeleton.parameters()), torch.device("cpu"))
    fault: BaseException | None = None
    for attempt in _attempts(network):
        seen.clear()
        hooks = [seen.hook(path) for path, _ in convolutions]
        try:
            if attempt == "itself":
                _watched(network.skeleton, list(zip(parts, hooks, strict=True)), seen.step, call, own)
                return None
            device = own if attempt == "copy" else torch.device("meta")
            twin, copies = _twin(network.skeleton, parts, device)
            # what the network makes on its way has no numbers either
            with device if attempt == "ghost" else nullcontext():
                _watched(twin, list(zip(copies, hooks, strict=True)), seen.step, call, device)
            return None
        except _FAILURES as error:
            fault = error
    return fault


def _attempts(network: Network) -> tuple[str, ...]:
    """A copy of a small network runs faster than torch's shape rules load; a large one is not copied."""
    if not network.runs:
        return ("ghost",)
    parameters = list(network.skeleton.parameters())
    if any(isinstance(p, UninitializedParameter) for p in parameters):
        # a call would give it its shape, which is a change
        return ("copy",)
    elements = sum(tensor.numel() for tensor in parameters)
    return ("copy", "ghost", "itself") if elements <= _SMALL else ("ghost", "itself")


def _twin(module: nn.Module, parts: Sequence[nn.Module], device: torch.device) -> tuple[nn.Module, Sequence[nn.Module]]:
    """A copy, without numbers on the meta device, and the copies of some of its parts.

    Whatever a forward pass writes, it writes on the copy.
    """
    known: dict[int, Any] = {}
    for tensor in _tensors(module):
        if is_lazy(tensor):
            continue
        held = tensor.device == device
        twin = tensor.detach().clone() if held else torch.empty_like(tensor, device=device)
        known[id(tensor)] = nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
    return copy.deepcopy((module, parts), known)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
    for part in module.modules():
        # old-style norms keep the effective weight as a plain attribute
        yield from (value for value in vars(part).values() if isinstance(value, Tensor))


def _watched(
    module: nn.Module,
    hooks: Sequence[tuple[nn.Module, Callable[..., None]]],
    watch: Callable[[Step, Sequence[Any]], None],
    call: Call,
    device: torch.device,
) -> None:
    handles = [part.register_forward_hook(hook, with_kwargs=True) for part, hook in hooks]
    tables = (part for part in module.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag))
    handles += [table.register_forward_pre_hook(call.watch) for table in tables]
    try:
        with _evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]), _stepping(module, watch):
            call(module, device)
    finally:
        for handle in handles:
            handle.remove()


def _stepping(module: nn.Module, watch: Callable[[Step, Sequence[Any]], None]) -> AbstractContextManager[None]:
    return module.watched(watch) if isinstance(module, GraphModule) else nullcontext()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
