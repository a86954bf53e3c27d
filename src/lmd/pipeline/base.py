"""What a network is compared with."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from lmd.layers.updates.differences import compared
from lmd.layers.walk import Walk, walk
from lmd.sources.gguf.adapters import sorted_for
from lmd.sources.network import Network
from lmd.sources.open_network import open_network

__all__ = ["against_base"]


def against_base(
    network: Network, base: nn.Module | str | Path | None
) -> tuple[Walk, Network, Mapping[str, str] | None]:
    """The rows as differences from another network, their network, and which the other is; without one as they are.

    Raises:
        TypeError: ``base`` is of another type.
        UnreadableModelError: it cannot be read.
        UnsafeModelError: reading it would run code.
        ValueError: the two have no layer in common, not even by name.
    """
    if base is None:
        return walk(network), network, None
    if not isinstance(base, nn.Module | str | Path):
        raise TypeError(f"base is of type {type(base).__name__}; give a torch.nn.Module, a path or a Hub name.")
    other = open_network(base)
    other = replace(other, wishes=replace(network.wishes, parts=False), input_sizes=network.input_sizes)
    known = {"name": other.name, "source": other.source, "sha256": other.sha256}
    network = sorted_for(other, network)
    return compared(walk(network), other, network), network, known
