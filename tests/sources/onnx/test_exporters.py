"""What other exporters than torch's tracer write: notes of modules, functions, settings with numbers, codes."""

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.runnable import runnable
from tests.onnx_files import save
from tests.sources.onnx.test_networks import exported, largest_difference

DRAW = numpy.random.default_rng(0)


def draw(*shape):
    return DRAW.normal(size=shape).astype("float32")


def rows_of(path):
    return {row.name: row for row in walk(open_network(path)).layers}


def test_modules_that_a_node_is_noted_with_name_its_layer(tmp_path):
    node = helper.make_node("MatMul", ["x", "val_5"], ["y"], "node_MatMul_2")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'blocks.0.out', 'linear']")
    assert set(rows_of(save([node], {"val_5": draw(6, 3)}, tmp_path))) == {"blocks.0.out"}


def test_attention_as_one_operation(tmp_path):
    names = {f"val_{place}": draw(8, 8) for place in range(4)}
    nodes = [
        *(
            helper.make_node("MatMul", ["x", f"val_{place}"], [f"p{place}"], f"node_MatMul_{place}")
            for place in range(3)
        ),
        helper.make_node("RotaryEmbedding", ["p0", "cos", "sin"], ["q"], "node_rotary", num_heads=2),
        helper.make_node(
            "Attention", ["q", "p1", "p2"], ["a"], "node_sdpa", q_num_heads=2, kv_num_heads=2, softcap=2.0
        ),
        helper.make_node("MatMul", ["a", "val_3"], ["o"], "node_MatMul_3"),
        helper.make_node("RMSNormalization", ["o", "norm.weight"], ["y"], "node_rms", axis=-1, epsilon=1e-6),
    ]
    tables = {"cos": draw(2, 5, 2), "sin": draw(2, 5, 2), "norm.weight": draw(8)}
    path = save(nodes, {**names, **tables}, tmp_path, opset=23)
    found = rows_of(path)
    assert {"q_proj", "k_proj", "v_proj", "out_proj", "query_key.0", "query_key.1", "norm"} <= set(found)
    assert torch.equal(found["v_proj"].load(), torch.tensor(names["val_2"]).T)
    assert largest_difference(path, (torch.randn(2, 5, 8),)) < 1e-5
    assert decompose(path, vectors=0).coverage.decomposed >= 0.95


def test_a_cap_beside_a_mask_is_not_run(tmp_path):
    node = helper.make_node(
        "Attention", ["x", "x", "x"], ["y"], "a", q_num_heads=1, kv_num_heads=1, softcap=2.0, is_causal=1
    )
    assert "softcap of node 'a'" in open_network(save([node], {}, tmp_path, opset=23)).facts["cannot run"][0]


@pytest.mark.parametrize("version", [17, 18])
def test_functions_of_a_library_stand_for_their_nodes(version, tmp_path):
    body = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    own = helper.make_function("lib", "linear", ["x", "w", "b"], ["y"], body, [helper.make_opsetid("", version)])
    constants = {"fc.weight": draw(4, 6), "fc.bias": draw(4)}
    graph = helper.make_graph(
        [helper.make_node("linear", ["x", *constants], ["y"], "linear_0", domain="lib")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("lib", 1)]
    onnx.save(helper.make_model(graph, functions=[own], opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    x = torch.randn(2, 6)
    W, b = map(torch.tensor, constants.values())
    assert torch.allclose(runnable(tmp_path / "m.onnx")(x), x @ W.T + b, atol=1e-6)
    assert [(row.name, row.confidence) for row in walk(open_network(tmp_path / "m.onnx")).layers] == [
        ("fc", "declared")
    ]


@pytest.mark.parametrize("folding", [True, False])
@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_a_norm_that_the_graph_computes_is_in_the_weight(norm, folding, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(norm(nn.Linear(6, 4)), nn.ReLU())
    module(torch.randn(2, 6))
    module.eval()(torch.randn(2, 6))
    path = exported(module, (torch.randn(2, 6),), tmp_path / "m.onnx", do_constant_folding=folding)
    assert torch.allclose(rows_of(path)["0"].load(), module[0].weight, atol=1e-6)


def test_linear_models_of_the_classical_domain(tmp_path):
    told = {"coefficients": [1.0, 2.0, 3.0, -1.0, 0.0, 4.0], "intercepts": [0.5, 1.0]}
    nodes = [
        helper.make_node(
            "Scaler", ["x"], ["s"], "scale", domain="ai.onnx.ml", offset=[0.0, 1.0, 2.0], scale=[1.0, 2.0, 3.0]
        ),
        helper.make_node("LinearRegressor", ["s"], ["y"], "fit", domain="ai.onnx.ml", targets=2, **told),
    ]
    path = save(nodes, {}, tmp_path)
    found = rows_of(path)
    W = torch.tensor(told["coefficients"]).reshape(2, 3)
    assert torch.equal(found["fit"].load(), W)
    assert torch.equal(found["scale"].load().diag(), torch.tensor([1.0, 2.0, 3.0]))
    x = torch.randn(4, 3)
    wanted = (x - torch.tensor([0.0, 1.0, 2.0])) * torch.tensor([1.0, 2.0, 3.0]) @ W.T + torch.tensor([0.5, 1.0])
    assert torch.allclose(runnable(path)(x), wanted, atol=1e-5)
    nodes[1] = helper.make_node("LinearClassifier", ["s"], ["y", "p"], "fit", domain="ai.onnx.ml", **told)
    path = save(nodes, {}, tmp_path)
    assert torch.equal(rows_of(path)["fit"].load(), W)
    assert "LinearClassifier of node 'fit'" in open_network(path).facts["cannot run"][0]


def test_scales_that_multiply_in_turn_are_found(tmp_path):
    # sums of two products that fit 16 bits: onnxruntime cuts larger ones off on some processors
    codes = DRAW.integers(-60, 60, (6, 4)).astype("int8")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "codes", "z"], ["i"], "/fc/MatMul"),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["m"]),
        helper.make_node("Mul", ["m", "scale"], ["y"]),
    ]
    path = save(nodes, {"codes": codes, "scale": numpy.float32(0.1)}, tmp_path)
    assert torch.allclose(rows_of(path)["fc"].load(), torch.tensor(codes).T * 0.1)
    assert largest_difference(path, (torch.randn(2, 6),)) < 1e-4


def test_biases_of_whole_numbers_are_the_trained_ones(tmp_path):
    one, zero = numpy.float32(0.1), numpy.uint8(0)
    numbers = {"s": one, "z": zero, "w": numpy.ones((4, 3), "uint8"), "c": numpy.ones(4, "int32")}
    node = helper.make_node(
        "QGemm", ["x", "s", "z", "w", "s", "z", "c"], ["y"], domain="com.microsoft", transB=1, alpha=1.0
    )
    tensors = {t.name: t for t in decompose(save([node], numbers, tmp_path)).coverage.tensors}
    assert tensors["c"].status == "vector"
    assert "a bias" in tensors["c"].reason
