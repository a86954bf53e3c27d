"""A graph of steps runs as the same functions called by hand, and says what it cannot run."""

import pytest
import torch
from torch import nn

from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.graph.operations import operation
from lmd.sources.graph.step import Graph, Step


@operation("test.Add")
def add(a, b, *, scale=1.0):
    """``a + scale b``."""
    return a + scale * b


@operation("test.Halves")
def halves(x):
    """Two outputs."""
    return tuple(x.chunk(2, dim=-1))


def residual(operation_name="test.Add"):
    torch.manual_seed(0)
    steps = [
        Step("n1", "", ("x",), ("h",), module="block.0"),
        Step("n2", operation_name, ("x", "h"), ("y",), {"scale": 2.0}),
        Step("n3", "", ("y",), ("z",), module="block.0"),
        Step("n4", "test.Add", ("z", "shift"), ("w",)),
        Step("n5", "test.Halves", ("w",), ("left", "")),
    ]
    layers = {"block.0": nn.Linear(4, 4), "graph": nn.Linear(4, 2)}
    shift = nn.Parameter(torch.randn(4))
    graph = Graph(tuple(steps), inputs=("x",), outputs=("left", "y"))
    return GraphModule(graph, layers, {"shift": ("tail.shift", shift)}), layers["block.0"]


def test_steps_run_in_order_with_shared_layers_and_raw_parameters():
    graph, layer = residual()
    x = torch.randn(3, 4)
    y = x + 2.0 * layer(x)
    left, also_y = graph(x)
    assert torch.equal(also_y, y)
    assert torch.equal(left, (layer(y) + graph.get_parameter("tail.shift"))[:, :2])
    assert graph.runs


def test_a_child_called_like_an_attribute_gets_another_name_and_the_table_says_so():
    graph, _ = residual()
    assert graph.names == {"graph_": "graph"}


def test_an_unknown_operation_is_named_with_its_node_and_the_layers_are_there():
    graph, _ = residual("test.Frobnicate")
    assert not graph.runs
    assert graph.unknown == ("operation Frobnicate of node 'n2' is not known",)
    with pytest.raises(ValueError, match="Frobnicate of node 'n2'"):
        graph(torch.zeros(1, 4))
    assert {name for name, _ in graph.named_parameters()} > {"block.0.weight", "tail.shift"}


def test_another_number_of_inputs_is_refused():
    graph, _ = residual()
    with pytest.raises(ValueError, match="takes 1: x"):
        graph(torch.zeros(1, 4), torch.zeros(1, 4))


def test_inputs_have_names():
    graph, _ = residual()
    x = torch.randn(2, 4)
    assert torch.equal(graph(x=x)[1], graph(x)[1])
    with pytest.raises(ValueError, match="'y' among them; the graph takes 1: x"):
        graph(y=x)


def test_real_constants_follow_the_inputs_to_their_device():
    steps = (Step("n", "test.Add", ("x", "c"), ("y",)),)
    graph = GraphModule(Graph(steps, ("x",), ("y",), {"c": torch.ones(4)}), {})
    assert graph(torch.empty(2, 4, device="meta")).is_meta
