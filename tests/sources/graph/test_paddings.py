"""Convolutions whose padding is a step of its own in a graph: their operators are the steps and the layer together."""

import pytest
import torch
from torch import nn

import lmd.sources.keras.operations.shapes
import lmd.sources.onnx.operations.windows  # noqa: F401
from lmd.activations.input_sizes import input_sizes, sized
from lmd.layers.convolutions.convolution_maps import ConvolutionOperator
from lmd.layers.walk import walk
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.graph.step import Graph, Step
from lmd.sources.torch_module import from_module

SAME = {"extent": (3, 2), "strides": (2, 2)}
CROP = {"more": [0, 1], "strides": (2, 2), "size": [], "auto": "NOTSET"}
CASES = [
    ("keras.pad_same", SAME, nn.Conv2d(2, 3, (3, 2), 2)),
    ("keras.pad", {"edges": ((4, 0),), "channels_first": True}, nn.Conv1d(2, 3, 3, dilation=2)),
    ("onnx.PadSame", {"extents": [3, 2], "strides": [2, 2], "lower": True}, nn.Conv2d(2, 3, (3, 2), 2)),
    ("onnx.PadZeros", {"pads": [(2, 0), (-1, 1)]}, nn.Conv2d(2, 3, (3, 2), bias=False)),
    ("onnx.PadZeros", {"pads": [(0, 1), (0, 1)]}, nn.Conv2d(2, 2, 2, 2)),
    ("keras.cut_end", {"lengths": (1, 0)}, nn.ConvTranspose2d(2, 3, (3, 2), 2)),
    ("onnx.CropTransposed", {"pads": [(1, 0), (0, 0)], **CROP}, nn.ConvTranspose2d(2, 3, (3, 2), 2, bias=False)),
    ("onnx.CropTransposed", {**CROP, "pads": [(0, 0)] * 2, "auto": "SAME_UPPER"}, nn.ConvTranspose2d(2, 3, 3, 2)),
]


def graph_of(operation, settings, layer):
    """The layer with a step before or behind it."""
    if isinstance(layer, nn.ConvTranspose2d):
        taken = ("whole", "x") if operation.startswith("onnx") else ("whole",)
        steps = (Step("c", "", ("x",), ("whole",), module="c"), Step("c", operation, taken, ("y",), settings))
    else:
        steps = (Step("c", operation, ("x",), ("a",), settings), Step("c", "", ("a",), ("y",), module="c"))
    return GraphModule(Graph(steps, ("x",), ("y",)), {"c": layer})


@pytest.mark.parametrize(("operation", "settings", "layer"), CASES)
@pytest.mark.parametrize("size", [(6, 7), (5, 4)])
def test_the_operator_is_what_the_graph_does(operation, settings, layer, size):
    graph = graph_of(operation, settings, layer).double()
    size = size[: len(layer.kernel_size)]
    (operator,) = (
        row
        for row in walk(sized(from_module(graph), input_shape=(2, *size))).layers
        if isinstance(row, ConvolutionOperator)
    )
    x = torch.randn(2, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = (graph(x) - graph(torch.zeros_like(x))).flatten(1)
    # float64, less than a hundred products
    assert torch.allclose(x.flatten(1) @ operator.load().T, wanted, atol=1e-12)


def test_paddings_of_other_layers_are_none():
    steps = (
        Step("pad", "keras.pad", ("x",), ("a",), {"edges": ((1, 1), (1, 1)), "channels_first": True}),
        Step("c", "", ("a",), ("b",), module="c"),
        Step("d", "keras.pad_same", ("b",), ("e",), {"extent": (3, 3), "strides": (2, 2)}),
        Step("d.depthwise", "", ("e",), ("y",), module="d.depthwise"),
    )
    layers = {"c": nn.Conv2d(1, 1, 3), "d.depthwise": nn.Conv2d(1, 1, 3, 2)}
    graph = GraphModule(Graph(steps, ("x",), ("y",)), layers)
    assert set(graph.paddings) == {"d.depthwise"}
    assert input_sizes(from_module(graph), input_shape=(1, 8, 8)).sizes == {"c": ((10, 10),), "d.depthwise": ((8, 8),)}


def test_calls_that_are_padded_otherwise_have_no_operator():
    steps = (
        Step("c", "keras.pad_same", ("x",), ("a",), {"extent": (3, 3), "strides": (1, 1)}),
        Step("c", "", ("a",), ("b",), module="c"),
        Step("c", "", ("b",), ("y",), module="c"),
    )
    graph = GraphModule(Graph(steps, ("x",), ("y",)), {"c": nn.Conv2d(1, 1, 3)})
    found = input_sizes(from_module(graph), input_shape=(1, 8, 8))
    assert not found.sizes
    assert "padded in different ways" in found.reasons["c"]
