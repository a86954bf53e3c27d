"""Operations against the standard's own examples, and against onnxruntime where those are loose."""

import inspect
import re
import warnings
from functools import cache

import numpy
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.backend.test.case.node import collect_testcases

from lmd.sources.graph import operations
from lmd.sources.onnx.operations import registered
from lmd.sources.open_network import open_network
from lmd.sources.runnable import runnable
from tests.onnx_files import save

registered()
_KNOWN = {name.removeprefix("onnx.") for name in operations._operations if name.startswith("onnx.")}
_LEFT_OUT = {
    "training": "training mode",
    "bfloat16|bf16|float8|fp8": "types that NumPy has not",
    "uint16|uint32|uint64|string|object": "types that NumPy or torch does not compute with",
    "fullymasked|nan_robustness|softmax_precision|window": "attention of a later version",
    "nonpad|padded_kv|softcap|flexattention": "the same",
    "resize_downsample.*(antialias|align_corners)": "onnxruntime and the reference differ; as onnxruntime",
    "blocked_asymmetric|not_sorted|empty_set|bitwise_not_3d": "refused with a reason",
}


@cache
def cases() -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {case.name: case for case in collect_testcases(None)}
    left_out = re.compile("|".join(_LEFT_OUT))
    return {name: case for name, case in found.items() if not left_out.search(name) and _is_simple(case)}


def _is_simple(case) -> bool:
    """Tensors in and out, and operations that are known."""
    arrays = (*case.data_sets[0][0], *case.data_sets[0][1])
    known = {*_KNOWN, "Constant", *(function.name for function in case.model.functions)}
    return all(isinstance(array, numpy.ndarray | numpy.number) for array in arrays) and all(
        node.op_type in known and not node.domain for node in case.model.graph.node
    )


@pytest.mark.parametrize("share", [1, 4, pytest.param(0, marks=pytest.mark.slow)])
def test_the_standards_examples_are_met(share, tmp_path):
    missed, met = [], 0
    for place, (name, case) in enumerate(cases().items()):
        if share and place % 8 != share:
            continue
        onnx.save(case.model, tmp_path / "model.onnx")
        network = open_network(tmp_path / "model.onnx")
        if not network.runs:
            continue
        inputs, wanted = case.data_sets[0]
        try:
            with torch.no_grad():
                made = runnable(network)(*(torch.tensor(numpy.asarray(array)) for array in inputs))
            _check(made if isinstance(made, tuple) else (made,), wanted)
            met += 1
        except (AssertionError, RuntimeError, TypeError, ValueError, IndexError) as fault:
            missed.append(f"{name}: {str(fault)[:200]}")
    assert missed == []
    assert met > (100 if share else 1100)


def _check(made, wanted) -> None:
    for mine, theirs in zip(made, map(numpy.asarray, wanted), strict=True):
        assert mine.numpy().dtype == theirs.dtype
        # some examples are written to four digits
        close = 1e-2 if theirs.dtype == numpy.float16 else 1e-3
        numpy.testing.assert_allclose(mine.numpy(), theirs, rtol=close, atol=1e-5)


@pytest.mark.parametrize("name", sorted(n for n in _KNOWN if "@" not in n and "." not in n and n not in ("If", "Loop")))
def test_every_setting_of_the_standard_is_taken(name):
    function = inspect.signature(operations.operation_named(f"onnx.{name}"))
    if not onnx.defs.has(name) or any(p.kind is p.VAR_KEYWORD for p in function.parameters.values()):
        return
    missing = set(onnx.defs.get_schema(name).attributes) - set(function.parameters)
    assert not missing - {"left_window_size", "right_window_size"}


def same_as_onnxruntime(folder, node, arrays, *, opset=20, constants=None):
    inputs = {f"x{i}": None for i in range(len(arrays))}
    path = save([node], constants or {}, folder, inputs=inputs, outputs=list(node.output), opset=opset)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {f"x{i}": array for i, array in enumerate(arrays)})
    with torch.no_grad():
        made = runnable(path)(*map(torch.tensor, arrays))
    for mine, theirs in zip(made if isinstance(made, tuple) else (made,), wanted, strict=True):
        numpy.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-5, atol=1e-5)


def draw(*shape):
    return numpy.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    ceil=st.integers(0, 1),
    counted=st.integers(0, 1),
    auto=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_pooling_is_onnxruntimes(tmp_path_factory, kernel, stride, pads, ceil, counted, auto):
    if max(pads) >= kernel or (auto != "NOTSET" and (ceil or kernel < stride)):
        return
    told = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "ceil_mode": ceil}
    told |= {"pads": [pads[0], pads[1], pads[1], pads[0]]} if auto == "NOTSET" else {"auto_pad": auto}
    folder = tmp_path_factory.mktemp("pool")
    same_as_onnxruntime(folder, helper.make_node("MaxPool", ["x0"], ["y"], **told), [draw(2, 3, 9, 8)])
    node = helper.make_node("AveragePool", ["x0"], ["y"], count_include_pad=counted, **told)
    same_as_onnxruntime(folder, node, [draw(2, 3, 9, 8)])


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    auto=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_convolutions_are_onnxruntimes(tmp_path_factory, kernel, stride, dilation, groups, pads, auto):
    if dilation > 1 and auto.startswith("SAME"):
        return
    folder = tmp_path_factory.mktemp("conv")
    told = {"strides": [stride, stride], "dilations": [dilation, dilation], "group": groups}
    told |= {"pads": [pads[0], pads[1], pads[1], pads[0]]} if auto == "NOTSET" else {"auto_pad": auto}
    W, bias = draw(4, 4 // groups, kernel, kernel), draw(4)
    node = helper.make_node("Conv", ["x0", "W", "b"], ["y"], **told)
    same_as_onnxruntime(folder, node, [draw(1, 4, 11, 10)], constants={"W": W, "b": bias})
    same_as_onnxruntime(folder, helper.make_node("Conv", ["x0", "x1"], ["y"], **told), [draw(1, 4, 11, 10), W])
    node = helper.make_node("ConvTranspose", ["x0", "W", "b"], ["y"], **told)
    bias = draw(4 // groups * groups)
    same_as_onnxruntime(folder, node, [draw(1, 4, 5, 6)], constants={"W": W, "b": bias})


@settings(max_examples=20, deadline=None)
@given(
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    way=st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]),
    scale=st.sampled_from([0.5, 1.5, 2.0, 3.0]),
    nearest=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
)
def test_resizing_is_onnxruntimes(tmp_path_factory, mode, way, scale, nearest):
    told = {
        "mode": mode,
        "coordinate_transformation_mode": way,
        **({"nearest_mode": nearest} if mode == "nearest" else {}),
    }
    node = helper.make_node("Resize", ["x0", "", "scales"], ["y"], **told)
    constants = {"scales": numpy.array([1, 1, scale, scale], "float32")}
    same_as_onnxruntime(tmp_path_factory.mktemp("resize"), node, [draw(1, 2, 6, 8)], constants=constants)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [11, 13])
def test_the_softmax_of_old_files_is_over_all_axes_behind(tmp_path, op, opset):
    node = helper.make_node(op, ["x0"], ["y"], axis=1)
    same_as_onnxruntime(tmp_path, node, [draw(2, 3, 4)], opset=opset)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("constant", [True, False])
def test_recurrent_layers_are_onnxruntimes(tmp_path, op, direction, constant):
    gates, sides = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if direction == "bidirectional" else 1
    parts = [draw(sides, gates * 5, 3), draw(sides, gates * 5, 5), draw(sides, 2 * gates * 5)]
    told = {"hidden_size": 5, "direction": direction}
    outputs = ["y", "h", "c"] if op == "LSTM" else ["y", "h"]
    for reset in ({}, {"linear_before_reset": 1}) if op == "GRU" else ({},):
        if constant:
            node = helper.make_node(op, ["x0", "W", "R", "B"], outputs, **told, **reset)
            same_as_onnxruntime(tmp_path, node, [draw(4, 2, 3)], constants=dict(zip("WRB", parts, strict=True)))
        else:
            node = helper.make_node(op, ["x0", "x1", "x2", "x3"], outputs, **told, **reset)
            same_as_onnxruntime(tmp_path, node, [draw(4, 2, 3), *parts])
