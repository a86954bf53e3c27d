"""Data and a network brought together: shape and type made to fit where that is told, refused or noted where not."""

from collections.abc import Iterator
from math import prod

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from lmd.activations.examples import InputShape, shaped_inputs
from lmd.data.examples import Examples
from lmd.sources.network import Network

__all__ = ["fitted"]

_LARGE = 30.0
"""Trained networks rarely take larger numbers; bytes reach 255."""


def fitted(examples: Examples, network: Network, input_shape: InputShape | None) -> Examples:
    """The examples in the shape and type that the network takes.

    Raises:
        ValueError: they cannot be, with what the network takes, what came, and what to do.
    """
    shape, told_by = _told(network, input_shape)
    first = _first_layer(network)
    looked_up = first is not None and isinstance(first[1], nn.Embedding | nn.EmbeddingBag)
    stored = next(iter(examples.table.pieces(1)))[0].dtype
    dtype = _dtype(network, stored, looked_up=looked_up)
    examples = examples.prepared(shape=shape, dtype=dtype)
    came = examples.shape
    if shape is not None and came != shape:
        raise ValueError(
            f"the network takes examples of shape {_x(shape)} ({told_by}), and those of {examples.table.name} have "
            f"{_x(came)}; {_advice(came, shape)}."
        )
    if first is not None:
        _refuse_first(examples, came, *first)
    return examples if looked_up else examples.noted(*_range_notes(examples, stored))


def _told(network: Network, input_shape: InputShape | None) -> tuple[tuple[int, ...] | None, str]:
    if input_shape is not None:
        inputs = shaped_inputs(input_shape)
        return (inputs[0].shape, "--input-shape says so") if len(inputs) == 1 else (None, "")
    shape = network.facts.get("input_shape")
    if isinstance(shape, list | tuple) and shape and all(isinstance(n, int) and n > 0 for n in shape):
        return tuple(shape), "its file says so"
    return None, ""


def _first_layer(network: Network) -> tuple[str, nn.Module] | None:
    kinds = (nn.Linear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.RNNBase)
    return next(((p, m) for p, m in network.skeleton.named_modules() if isinstance(m, kinds)), None)


def _dtype(network: Network, stored: torch.dtype, *, looked_up: bool) -> torch.dtype | None:
    if looked_up:
        return None if not stored.is_floating_point else torch.int64
    own = (p.dtype for p in network.skeleton.parameters() if p.dtype.is_floating_point)
    return next(own, torch.float32)


def _refuse_first(examples: Examples, came: tuple[int, ...], path: str, layer: nn.Module) -> None:
    name = path or "the layer itself"
    if isinstance(layer, _ConvNd):
        axes = len(layer.kernel_size)
        if len(came) == axes + 1 and came[0] == layer.in_channels:
            return
        takes = f"{layer.in_channels} channels along {axes} ax{'es' if axes > 1 else 'is'}"
        todo = f"tell the shape with --input-shape {layer.in_channels}x{'x'.join('HWD'[:axes])}"
        if len(came) == axes + 1 and came[-1] == layer.in_channels:
            todo = "channels come last: add --layout HWC"
        elif len(came) == 1:
            todo += ", and --layout HWC if channels come last"
        # a picture may be brought into shape by the network itself before its first convolution
        if len(came) != axes + 1 or came[-1] == layer.in_channels != came[0]:
            raise ValueError(
                f"the network's first layer, {name}, takes {takes}, and the examples of {examples.table.name} have "
                f"shape {_x(came)}; {todo}."
            )
    elif isinstance(layer, nn.Linear) and len(came) == 1 and came[0] != layer.in_features:
        raise ValueError(
            f"the network's first layer, {name}, takes {layer.in_features} numbers, and each example of "
            f"{examples.table.name} has {came[0]}; {_advice(came, (layer.in_features,))}."
        )


def _advice(came: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    more, most = prod(came), prod(wanted)
    if more == most + 1:
        return "one column more than inputs: choose the target's with --label, or leave a column out"
    if more == most - 1:
        return "one column fewer than inputs: leave --label out if no column is the target"
    if sorted(came) == sorted(wanted) and came != wanted:
        return "the axes come in another order: add --layout HWC if channels come last, or --transform FILE.py:FUNCTION"
    return "give other data, or bring them into shape with --transform FILE.py:FUNCTION"


def _range_notes(examples: Examples, stored: torch.dtype) -> Iterator[str]:
    if examples.preparation.scales:
        return
    inputs = examples.head(64).inputs
    low, high = inputs.min().item(), inputs.max().item()
    if (stored == torch.uint8 or (low >= 0 and high > _LARGE and high <= 255)) and high > 1:
        yield (
            f"the inputs are numbers from {low:g} to {high:g} as they are stored; if the network was trained on 0..1, "
            f"add --scale 1/255, and --mean and --std as in its training"
        )
    elif max(abs(low), abs(high)) > 1000:
        yield (
            f"the inputs reach from {low:g} to {high:g}; if the network was trained on standardised numbers, add "
            f"--mean and --std"
        )


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "no axes"
