"""Files that onnxruntime's optimiser saved."""

import numpy
import onnxruntime
import pytest
import torch
from onnx import helper

from lmd.pipeline.decompose import decompose
from lmd.testing import layers_of
from tests.onnx_files import save
from tests.sources.onnx.networks import OfTorch
from tests.sources.onnx.test_networks import as_onnxruntime, as_ours, exported, largest_difference

RANDOM = numpy.random.default_rng(3)
LEVELS = onnxruntime.GraphOptimizationLevel


def draw(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def optimised(path, level=LEVELS.ORT_ENABLE_EXTENDED):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    options.optimized_model_filepath = str(path.with_name("optimised.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_name("optimised.onnx")


def kinds(path):
    return {row["name"]: (row["kind"], row["out"], row["in"]) for row in decompose(path).rows()}


@pytest.mark.parametrize("active", [("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("HardSigmoid", {}), ("Clip", {})])
def test_a_convolution_fused_with_what_follows_is_one(active, tmp_path):
    op, settings = active
    bounds = ["low", "high"] if op == "Clip" else []
    conv = helper.make_node("Conv", ["x", "c.weight", "c.bias"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1])
    nodes = [conv, helper.make_node(op, ["h", *bounds], ["y"], **settings)]
    numbers = {"c.weight": draw(4, 2, 3, 3), "c.bias": draw(4)}
    numbers.update({"low": numpy.float32(-0.2), "high": numpy.float32(0.3)} if bounds else {})
    path = save(nodes, numbers, tmp_path, inputs={"x": [1, 2, 8, 8]})
    fused = optimised(path)
    assert b"FusedConv" in fused.read_bytes()
    assert kinds(fused) == kinds(path)
    assert largest_difference(fused, (torch.tensor(draw(1, 2, 8, 8)),)) < 1e-5


def test_products_that_turn_their_batches_run_and_norms_of_sums_keep_their_gain(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["q"], perm=[1, 2, 0, 3]),
        helper.make_node("Transpose", ["x"], ["k"], perm=[1, 2, 3, 0]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("MatMul", ["scores", "l.weight"], ["a"]),
        helper.make_node("Add", ["a", "scores"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "n.weight", "n.bias"], ["y"]),
    ]
    numbers = {"l.weight": draw(3, 3), "n.weight": draw(3), "n.bias": draw(3)}
    path = save(nodes, numbers, tmp_path, inputs={"x": [3, 4, 5, 6]})
    fused = optimised(path)
    assert b"transBatchA" in fused.read_bytes()
    assert kinds(fused) == kinds(path)
    assert largest_difference(fused, (torch.tensor(draw(3, 4, 5, 6)),)) < 1e-4


@pytest.mark.parametrize("mean", [True, False])
def test_a_norm_of_a_sum_is_a_norm(mean, tmp_path):
    op, more = ("SkipLayerNormalization", ["n.bias"]) if mean else ("SkipSimplifiedLayerNormalization", [])
    given = ["h", "x", "n.weight", *more, "l.bias"]
    nodes = [
        helper.make_node("MatMul", ["x", "l.weight"], ["h"]),
        helper.make_node(op, given, ["y"], domain="com.microsoft", epsilon=1e-5),
    ]
    numbers = {"l.weight": draw(4, 4), "n.weight": draw(4), "l.bias": draw(4), **({"n.bias": draw(4)} if mean else {})}
    path = save(nodes, numbers, tmp_path, inputs={"x": [1, 3, 4]})
    assert kinds(path) == {"l": ("dense", 4, 4), "n": ("diagonal", 4, 4)}
    assert largest_difference(path, (torch.tensor(draw(1, 3, 4)),)) < 1e-5


def test_kernels_in_blocks_are_no_guess(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")]
    atlas = decompose(save(nodes, {"w": draw(16, 8, 3, 3)}, tmp_path))
    assert not list(atlas.rows())
    (tensor,) = atlas.coverage.tensors
    assert tensor.status == "unsupported"
    assert "blocked layout of onnxruntime's own" in tensor.reason


def test_heads_are_found_behind_fused_products(tmp_path):
    module = OfTorch().eval()
    path = exported(module, (torch.tensor(draw(2, 5, 8)),), tmp_path / "model.onnx")
    fused = optimised(path)
    assert b"FusedMatMul" in fused.read_bytes()
    found, wanted = kinds(fused), {row.name for row in layers_of(module).values()}
    assert {"a.query_key.0", "a.query_key.1"} <= wanted == set(found)


_MASKS = {
    "none": {},
    "causal": {"unidirectional": 1},
    "by key": {"mask": numpy.array([[1, 1, 1, 1, 0], [1, 1, 0, 1, 0]], "int32")},
    "by length": {"mask": numpy.array([4, 3], "int32")},
    "past": {"past": (2, 2, 2, 3, 4), "unidirectional": 1},
}


@pytest.mark.parametrize("masked", _MASKS.values(), ids=_MASKS)
def test_an_attention_of_onnxruntimes_own_has_heads_and_runs(masked, tmp_path):
    given = ["x", "qkv_weight", "qkv_bias", *(["mask"] if "mask" in masked else [])]
    inputs, outputs = {"x": [2, 5, 8]}, ["a"]
    if "past" in masked:
        given, outputs = [*given, "", "past"], ["a", "present"]
        inputs["past"] = [*masked["past"]]
    settings = {"num_heads": 2, "unidirectional": masked.get("unidirectional", 0), "domain": "com.microsoft"}
    nodes = [
        helper.make_node("Attention", given, outputs, "Attention_0", **settings),
        helper.make_node("MatMul", ["a", "onnx::MatMul_7"], ["y"], "/blk/out_proj/MatMul"),
    ]
    numbers = {"qkv_weight": draw(8, 24) / 3, "qkv_bias": draw(24), "onnx::MatMul_7": draw(8, 8) / 3}
    numbers |= {"mask": masked["mask"]} if "mask" in masked else {}
    path = save(nodes, numbers, tmp_path, inputs=inputs, outputs=["y", *outputs[1:]])
    assert {"blk.query_key.0", "blk.query_key.1", "blk.out_proj"} <= set(kinds(path))
    data = tuple(torch.tensor(draw(*shape)) for shape in inputs.values())
    assert largest_difference(path, data) < 1e-5


def test_queries_keys_and_values_of_layers_of_their_own(tmp_path):
    nodes = [
        *(helper.make_node("MatMul", ["x", f"att.{c}_proj.w"], [c], f"/att/{c}_proj/MatMul") for c in "qkv"),
        helper.make_node("MultiHeadAttention", [*"qkv", "bias"], ["a"], "MHA", domain="com.microsoft", num_heads=2),
        helper.make_node("MatMul", ["a", "onnx::MatMul_7"], ["y"], "/att/out_proj/MatMul"),
    ]
    numbers = {f"att.{c}_proj.w": draw(8, 8) / 3 for c in "qkv"} | {"bias": draw(24), "onnx::MatMul_7": draw(8, 8) / 3}
    path = save(nodes, numbers, tmp_path, inputs={"x": [2, 5, 8]})
    assert {"att.query_key.0", "att.query_key.1"} <= set(kinds(path))
    assert largest_difference(path, (torch.tensor(draw(2, 5, 8)),)) < 1e-5


def step(name):
    return [f"{name}_scale", f"{name}_zero"]


def test_operations_on_codes_run(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *step("x")], ["c"]),
        helper.make_node("QLinearMul", ["c", *step("x"), "g", *step("g"), *step("h")], ["m"], domain="com.microsoft"),
        helper.make_node("QLinearAdd", ["m", *step("h"), "c", *step("x"), *step("h")], ["a"], domain="com.microsoft"),
        helper.make_node("QLinearSigmoid", ["a", *step("h"), *step("s")], ["b"], domain="com.microsoft"),
        helper.make_node("QLinearConcat", [*step("h"), "b", *step("s"), "a", *step("h")], ["d"], axis=1),
        helper.make_node("Resize", ["d", "", "sizes"], ["r"], mode="linear"),
        helper.make_node("DequantizeLinear", ["r", *step("h")], ["y"]),
    ]
    nodes[4].domain = "com.microsoft"
    numbers = {"g": RANDOM.integers(-99, 99, (1, 3, 1, 1)).astype("int8"), "sizes": numpy.float32([1, 1, 2, 2])}
    for name, scale in {"x": 0.02, "g": 0.01, "h": 0.03, "s": 0.008}.items():
        numbers |= {f"{name}_scale": numpy.float32(scale), f"{name}_zero": numpy.int8(5)}
    path = save(nodes, numbers, tmp_path, inputs={"x": [1, 3, 4, 4]})
    (row,) = decompose(path).rows()
    assert row["kind"] == "diagonal"
    data = (torch.tensor(draw(1, 3, 4, 4)),)
    # a sum half-way between two codes may be rounded to either
    assert numpy.abs(as_ours(path, data)[0] - as_onnxruntime(path, data, optimised=False)[0]).max() < 0.031
