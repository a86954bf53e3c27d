"""The size of what comes into each convolution, from a forward pass without numbers where that is possible."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lmd.layers.convolutions.convolution_maps import geometry_of
from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.network import Network

__all__ = ["input_sizes"]

Sizes = dict[str, tuple[int, ...]]

_FAILURES = (*FOREIGN_FAULTS, copy.Error)
"""What a forward pass on something that a network was not made for can raise."""
_SMALL = 5_000_000
"""Parameters."""
_LARGEST_OF_FILE = 1 << 14
"""Entries of an input that a file declares: on larger ones operators take minutes, and wait to be asked for."""


def input_sizes(network: Network, data: Tensor | None = None, input_shape: Sequence[int] | None = None) -> Sizes:
    """Spatial size of the input of every convolution, by the path of its module; of the first call, if there are more.

    A copy of the network is run, without numbers (meta device) unless it is small; if that cannot be, the network
    itself, on one example, in evaluation mode, its modes and hooks restored.

    Args:
        network: what to run.
        data: examples, of which the first is taken.
        input_shape: shape of one example, without the batch axis, where no data are given. Without either: what the
            network's own configuration tells of the pictures it takes.

    Returns:
        Nothing for convolutions that are not called, or if the network has none.

    Raises:
        ValueError: ``input_shape`` was given, and the network cannot be run on it.
    """
    convolutions = [(network.names.get(p, p), m) for p, m in network.skeleton.named_modules() if isinstance(m, _ConvNd)]
    if input_shape is not None:
        return _from_shape(network, convolutions, input_shape)
    if not convolutions:
        return {}
    if data is not None and network.runs:
        return _run(network, convolutions, _Call(data[:1]))[0]
    whole = _shape_of_input(network)
    if whole is not None:
        return _run(network, convolutions, _Call(torch.empty(whole, device="meta")))[0]
    shape = _declared_shape(network)
    if shape is None or network.readings:
        return {}
    return _run(network, convolutions, _Call(torch.empty(1, *shape, device="meta"), "pixel_values"))[0]


class _Call:
    """One example, and the name of the argument it is given as; by position if ''."""

    def __init__(self, example: Tensor, argument: str = "") -> None:
        self.example = example
        self.argument = argument

    def __call__(self, module: nn.Module, device: torch.device) -> None:
        """Call the module on the example, as zeros if it has no numbers where they are needed."""
        example = self.example
        if example.is_meta and device.type != "meta":
            example = torch.zeros(example.shape, dtype=example.dtype)
        example = example.to(device)
        module(**{self.argument: example}) if self.argument else module(example)


def _from_shape(network: Network, convolutions: Sequence[tuple[str, nn.Module]], shape: Sequence[int]) -> Sizes:
    if not all(isinstance(n, int) and n > 0 for n in shape) or not shape:
        raise ValueError(
            f"input_shape={tuple(shape)} must be positive numbers, the shape of one example without the batch axis: "
            f"(3, 32, 32) or, on the command line, 3x32x32."
        )
    if network.readings or not (network.runs or _is_declared(network)):
        raise ValueError(
            f"input_shape={tuple(shape)} came for {network.name}, a bare checkpoint, which cannot be run; pass the "
            f"module itself, or --builder FILE.py:FUNCTION that returns it."
        )
    types = [p.dtype for p in network.skeleton.parameters() if p.dtype.is_floating_point]
    example = torch.empty(1, *shape, dtype=types[0] if types else torch.float32, device="meta")
    argument = "pixel_values" if not network.runs else ""
    found, fault = _run(network, convolutions, _Call(example, argument))
    if fault is not None:
        raise ValueError(
            f"{network.name} cannot be run on one example of shape {tuple(shape)}: {type(fault).__name__}: {fault}; "
            f"give the shape of what it takes, without the batch axis."
        ) from fault
    return found


def _is_declared(network: Network) -> bool:
    return _config(network) is not None


def _config(network: Network) -> Mapping[str, Any] | None:
    """The configuration that built the module tree, if one did."""
    for module in (network.skeleton, *network.skeleton.children()):
        to_dict = getattr(getattr(module, "config", None), "to_dict", None)
        if to_dict is not None:
            return to_dict()
    return None


def _shape_of_input(network: Network) -> tuple[int, ...] | None:
    """What the graph of a file says of its one input of real numbers; one example where it leaves their number open."""
    inputs = network.facts.get("inputs")
    if not network.runs or not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], Mapping):
        return None
    first, *rest = inputs[0].get("shape") or (None, None)
    whole = tuple(n for n in (first or 1, *rest) if isinstance(n, int))
    known = inputs[0].get("dtype") == "float32" and len(whole) == 1 + len(rest)
    return whole if known and prod(whole) <= _LARGEST_OF_FILE else None


def _declared_shape(network: Network) -> tuple[int, ...] | None:
    config = _config(network)
    if config is None:
        return None
    size, channels = config.get("image_size"), config.get("num_channels")
    if isinstance(size, int):
        size = (size, size)
    if not isinstance(size, list | tuple) or len(size) != 2 or not isinstance(channels, int):
        return None
    return (channels, *size)


def _run(
    network: Network, convolutions: Sequence[tuple[str, nn.Module]], call: _Call
) -> tuple[Sizes, BaseException | None]:
    """Sizes by the first run that can be made; what went wrong if none can."""
    paths, parts = [path for path, _ in convolutions], [module for _, module in convolutions]
    own = next((p.device for p in network.skeleton.parameters()), torch.device("cpu"))
    fault: BaseException | None = None
    for attempt in _attempts(network):
        try:
            if attempt == "itself":
                return _watched(network.skeleton, paths, parts, call, own), None
            device = own if attempt == "copy" else torch.device("meta")
            twin, modules = _twin(network.skeleton, parts, device)
            # what the network makes on its way has no numbers either
            with device if attempt == "ghost" else nullcontext():
                return _watched(twin, paths, modules, call, device), None
        except _FAILURES as error:
            fault = error
    return {}, fault


def _attempts(network: Network) -> tuple[str, ...]:
    """A copy of a small network runs faster than torch's shape rules load; a large one is not copied."""
    if not network.runs:
        return ("ghost",)
    elements = sum(tensor.numel() for tensor in network.skeleton.parameters())
    return ("copy", "ghost", "itself") if elements <= _SMALL else ("ghost", "itself")


def _twin(module: nn.Module, parts: Sequence[nn.Module], device: torch.device) -> tuple[nn.Module, Sequence[nn.Module]]:
    """A copy, without numbers on the meta device, and the copies of some of its parts.

    Whatever a forward pass writes, it writes on the copy.
    """
    known: dict[int, Any] = {}
    for tensor in _tensors(module):
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
    module: nn.Module, paths: Sequence[str], parts: Sequence[nn.Module], call: _Call, device: torch.device
) -> Sizes:
    seen: Sizes = {}
    handles = [
        part.register_forward_hook(_keep(seen, path), with_kwargs=True) for path, part in zip(paths, parts, strict=True)
    ]
    try:
        with _evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
            call(module, device)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _keep(seen: Sizes, path: str) -> Callable[..., None]:
    called: set[str] = set()

    def hook(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        x = arguments[0] if arguments else named.get("input")
        if path in called or not isinstance(x, Tensor) or not isinstance(answer, Tensor):
            return
        called.add(path)
        axes = len(module.kernel_size)
        size = tuple(x.shape[-axes:])
        # a size asked for in the call, or a subclass with a way of its own, is no operator that is known here
        if tuple(answer.shape[-axes:]) == tuple(geometry_of(module).output_size(size)):
            seen[path] = size

    return hook
