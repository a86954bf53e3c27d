"""Layers of a plan as torch's modules on the meta device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lmd.sources.onnx import modules
from lmd.sources.onnx.plan.expressions import Expression
from lmd.sources.onnx.plan.plan import Layer
from lmd.sources.skeleton import StackedLinear

__all__ = ["module_of"]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What a module is made of.

    Attributes:
        weight: the first of its parameters.
        settings: further arguments.
        bias: whether it has one.
        options: device and type of its numbers.
    """

    weight: Expression
    settings: Mapping[str, Any]
    bias: bool
    options: dict[str, Any]


def _dense(asked: _Asked) -> nn.Module:
    return nn.Linear(asked.weight.shape[1], asked.weight.shape[0], bias=asked.bias, **asked.options)


def _stack(asked: _Asked) -> nn.Module:
    return StackedLinear(asked.weight.shape, transposed=asked.settings["turned"], **asked.options)


def _conv(asked: _Asked) -> nn.Module:
    form: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(asked.weight.shape) - 3]
    inputs = asked.weight.shape[1] * asked.settings["groups"]
    return form(
        inputs, asked.weight.shape[0], asked.weight.shape[2:], bias=asked.bias, **asked.settings, **asked.options
    )


def _conv_transposed(asked: _Asked) -> nn.Module:
    form: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(asked.weight.shape) - 3]
    outputs = asked.weight.shape[1] * asked.settings["groups"]
    return form(
        asked.weight.shape[0], outputs, asked.weight.shape[2:], bias=asked.bias, **asked.settings, **asked.options
    )


def _embedding(asked: _Asked) -> nn.Module:
    # with a weight given: torch's own first numbers take seconds without memory
    return nn.Embedding(
        asked.weight.shape[0], asked.weight.shape[1], _weight=torch.empty(asked.weight.shape, **asked.options)
    )


def _batch_norm(asked: _Asked) -> nn.Module:
    return modules.AnyBatchNorm(asked.weight.shape[0], **asked.settings, **asked.options)


def _instance_norm(asked: _Asked) -> nn.Module:
    return modules.AnyInstanceNorm(asked.weight.shape[0], affine=True, **asked.settings, **asked.options)


def _layer_norm(asked: _Asked) -> nn.Module:
    return nn.LayerNorm([*asked.weight.shape], bias=asked.bias, **asked.settings, **asked.options)


def _rms_norm(asked: _Asked) -> nn.Module:
    return nn.RMSNorm([*asked.weight.shape], **asked.settings, **asked.options)


def _group_norm(asked: _Asked) -> nn.Module:
    return nn.GroupNorm(asked.settings["groups"], asked.weight.shape[0], eps=asked.settings["eps"], **asked.options)


def _scale(asked: _Asked) -> nn.Module:
    return modules.ChannelScale(
        asked.weight.shape[0], asked.settings["shape"], asked.settings["shift"], **asked.options
    )


def _prelu(asked: _Asked) -> nn.Module:
    return modules.Slopes(asked.weight.shape[0], **asked.options)


def _recurrent(asked: _Asked) -> nn.Module:
    settings = asked.settings
    form: Any = {"LSTM": modules.OnnxLSTM, "GRU": modules.OnnxGRU, "RNN": modules.OnnxRNN}[settings["mode"]]
    more = {"nonlinearity": settings["activation"]} if settings["mode"] == "RNN" else {}
    more |= {"bias": asked.bias, "bidirectional": settings["direction"] == "bidirectional", **asked.options}
    layer = form(settings["input_size"], settings["hidden_size"], **more)
    layer.backwards, layer.layout = settings["direction"] == "reverse", settings["layout"]
    layer.reset_after = settings["reset_after"]
    return layer


def _attention(asked: _Asked) -> nn.Module:
    return nn.MultiheadAttention(asked.weight.shape[1], asked.settings["heads"], bias=asked.bias, **asked.options)


_BUILDERS: dict[str, Callable[[_Asked], nn.Module]] = {
    "dense": _dense,
    "stack": _stack,
    "conv": _conv,
    "conv_transposed": _conv_transposed,
    "embedding": _embedding,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "scale": _scale,
    "prelu": _prelu,
    "recurrent": _recurrent,
    "attention": _attention,
}


def module_of(layer: Layer) -> nn.Module:
    """The module of one layer, without numbers."""
    found = layer.found
    weight = next(iter(found.roles.values()))
    bias = not {"bias", "B", "in_proj_bias"}.isdisjoint(found.roles)
    options = {"device": "meta", "dtype": getattr(torch, weight.dtype)}
    return _BUILDERS[found.kind](_Asked(weight, found.settings, bias, options))
