"""A network with its numbers in place, to be called on data."""

from copy import deepcopy
from pathlib import Path

from torch import nn

from lmd.sources.network import Network
from lmd.sources.open_network import open_network

__all__ = ["runnable"]


def runnable(model: Network | nn.Module | str | Path) -> nn.Module:
    """The network as a module that can be called: a live one itself; of a file's graph a copy that holds its weights.

    Args:
        model: a Network, or what ``open_network`` opens.

    Raises:
        UnreadableModelError: it cannot be read.
        UnsafeModelError: reading it would run code from it.
        ValueError: the source does not tell how the network is run, or one of its operations is not known.

    Example:
        >>> import torch, lmd
        >>> layer = torch.nn.Linear(3, 2)
        >>> lmd.runnable(layer) is layer
        True
    """
    network = model if isinstance(model, Network) else open_network(model)
    if not network.runs:
        raise ValueError(
            f"{network.name} cannot be called on data: {_why_not(network)}; pass the module itself, or "
            f"builder='FILE.py:FUNCTION' that returns it."
        )
    skeleton = network.skeleton
    if not any(tensor.is_meta for tensor in (*skeleton.parameters(), *skeleton.buffers())):
        return skeleton
    module = deepcopy(skeleton)
    for path, part in module.named_modules():
        _fill(part, network.names.get(path, path), network)
    return module.eval()


def _why_not(network: Network) -> str:
    unknown = network.facts.get("cannot run")
    return (
        "; ".join(map(str, unknown))
        if isinstance(unknown, list) and unknown
        else "it is a bare checkpoint, weights without a way to run them"
    )


def _fill(part: nn.Module, path: str, network: Network) -> None:
    prefix = f"{path}." if path else ""
    # a tensor in memory of its own: the file stays as it is, whatever the module does
    for name, parameter in list(part.named_parameters(recurse=False)):
        numbers = network.loader(f"{prefix}{name}")().to(parameter.dtype).clone()
        part.register_parameter(name, nn.Parameter(numbers, requires_grad=parameter.requires_grad))
    for name, buffer in list(part.named_buffers(recurse=False)):
        if buffer.is_meta:
            part.register_buffer(name, network.loader(f"{prefix}{name}")().to(buffer.dtype).clone())
    if isinstance(part, nn.RNNBase):
        # it keeps its weights in a list beside the parameters
        part._init_flat_weights()
