"""Heads of attention layers that graphs spell out."""

import numpy
import pytest
import torch
from onnx import helper
from torch import nn

from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.testing import layers_of
from tests.onnx_files import save
from tests.sources.onnx.networks import Crossed, OfTorch, Turned
from tests.sources.onnx.test_networks import exported, largest_difference

_X, _Y = torch.randn(2, 5, 8), torch.randn(2, 6, 8)


def dynamic(*names):
    return {"input_names": list(names), "dynamic_axes": {name: {0: "batch", 1: f"steps_{name}"} for name in names}}


def rows_of(path):
    return {row.name: row for row in walk(open_network(path)).layers}


@pytest.mark.parametrize("options", [{}, dynamic("x")], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("folding", [True, False])
def test_torchs_layer_is_read_as_in_torch(options, folding, tmp_path):
    torch.manual_seed(0)
    module = OfTorch().eval()
    path = exported(module, (_X,), tmp_path / "model.onnx", do_constant_folding=folding, **options)
    found = rows_of(path)
    for row in layers_of(module).values():
        assert torch.allclose(found[row.name].load().double(), row.load().double(), atol=1e-6), row.name
    assert largest_difference(path, (_X,)) < 1e-5


@pytest.mark.parametrize("options", [{}, dynamic("q", "k", "v")], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("folding", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 6, "vdim": 4}], ids=["alike", "apart"])
def test_heads_across_inputs_are_those_of_torch(options, folding, widths, tmp_path):
    torch.manual_seed(0)
    module = Crossed(**widths).eval()
    inputs = (_X, _Y[..., : widths.get("kdim", 8)], _Y[..., : widths.get("vdim", 8)].clone())
    names = {} if options else {"input_names": ["q", "k", "v"]}
    path = exported(module, inputs, tmp_path / "model.onnx", do_constant_folding=folding, **options, **names)
    found, wanted = rows_of(path), layers_of(module)
    for head in ("a.query_key.0", "a.query_key.1", "a.value_output.0", "a.value_output.1"):
        assert torch.allclose(found[head].load().double(), wanted[head].load().double(), atol=1e-6)
    assert largest_difference(path, inputs) < 1e-5


@pytest.mark.parametrize("options", [{}, dynamic("x")], ids=["fixed", "dynamic"])
def test_fewer_keys_and_positions_are_told(options, tmp_path):
    found = rows_of(exported(Turned().eval(), (_X,), tmp_path / "model.onnx", **options))
    assert {name for name in found if name.startswith("query_key.")} == {f"query_key.{head}" for head in range(4)}
    assert "turning of queries and keys by their positions" in found["query_key.0"].note


def test_biases_of_equal_numbers_lend_no_names(tmp_path):
    module = Crossed().eval()
    for bias in (module.a.in_proj_bias, module.a.out_proj.bias):
        nn.init.zeros_(bias)
    found = rows_of(exported(module, (_X, _Y, _Y.clone()), tmp_path / "model.onnx", **dynamic("q", "k", "v")))
    assert torch.equal(found["a.out_proj"].load(), module.a.out_proj.weight)


def test_heads_that_are_not_found_are_asked_for(tmp_path):
    class Silent(Turned):
        def forward(self, x):
            return self.o_proj(self.q_proj(x)) + self.k_proj(x).sum() + self.v_proj(x).sum()

    found = rows_of(exported(Silent().eval(), (_X,), tmp_path / "model.onnx"))
    assert "--kind GLOB=heads:N" in found["q_proj"].note
    given = walk(open_network(tmp_path / "model.onnx", kinds={"*": "heads:4"})).layers
    assert {f"query_key.{head}" for head in range(4)} <= {row.name for row in given}
    with pytest.raises(ValueError, match="holds its own graph"):
        open_network(tmp_path / "model.onnx", kinds={"q_proj": "embedding"})


def test_heads_along_an_axis_of_an_einsum_are_found(tmp_path):
    draw, path, constants, nodes = numpy.random.default_rng(1), "model/attention", {}, []
    for part in ("query", "key", "value"):
        names = [f"{path}/{part}/einsum/Einsum/ReadVariableOp:0", f"{path}/{part}/add/ReadVariableOp:0"]
        constants |= {names[0]: draw.normal(size=(8, 2, 4)) / 3, names[1]: draw.normal(size=(2, 4))}
        whole = {"equation": "abc,cde->abde"}
        nodes.append(helper.make_node("Einsum", ["x", names[0]], [f"{part}_"], f"{path}/{part}/einsum/Einsum", **whole))
        nodes.append(helper.make_node("Add", [f"{part}_", names[1]], [part], f"{path}/{part}/add"))
    last = f"{path}/attention_output/einsum/Einsum"
    constants[f"{last}/ReadVariableOp:0"] = draw.normal(size=(2, 4, 8)) / 3
    nodes += [
        helper.make_node("Einsum", ["key", "query"], ["scores"], f"{path}/einsum/Einsum", equation="aecd,abcd->acbe"),
        helper.make_node("Softmax", ["scores"], ["shares"], f"{path}/softmax/Softmax", axis=-1),
        helper.make_node("Einsum", ["shares", "value"], ["mixed"], f"{path}/e/Einsum", equation="acbe,aecd->abcd"),
        helper.make_node("Einsum", ["mixed", f"{last}/ReadVariableOp:0"], ["y"], last, equation="abcd,cde->abe"),
    ]
    constants = {name: value.astype("float32") for name, value in constants.items()}
    file = save(nodes, constants, tmp_path, inputs={"x": [2, 5, 8]})
    found = rows_of(file)
    Q, K = (constants[f"{path}/{part}/einsum/Einsum/ReadVariableOp:0"][:, 1] for part in ("query", "key"))
    circuit = found["model.attention.query_key.1"].load().double()
    assert torch.allclose(circuit, torch.tensor(Q @ K.T).double(), atol=1e-6)
    assert {"model.attention.value_output.0", "model.attention.value_output.1"} <= set(found)
    assert found["model.attention.attention_output"].kind == "attention_output"
    assert largest_difference(file, (torch.randn(2, 5, 8),)) < 1e-5
