"""What an ONNX file may hold, and what is refused."""

import os
import pickle

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.inspection import inspect_model
from lmd.sources.onnx.onnx_file import read, read_header
from lmd.sources.open_network import open_network
from lmd.sources.runnable import runnable
from tests.onnx_files import save
from tests.sources.onnx.test_networks import largest_difference

W = numpy.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def matmul(folder, **more):
    return save([helper.make_node("MatMul", ["x", "W"], ["y"])], {"W": W, **more}, folder, inputs={"x": ["n", 6]})


def test_numbers_are_read_where_they_lie(tmp_path):
    archive = read(str(matmul(tmp_path)))
    loader = archive.loaders["W.weight"]
    assert torch.equal(loader(), torch.tensor(W).T)
    assert torch.equal(loader.narrow(0, 1, 2)(), torch.tensor(W).T[1:3])
    assert len(pickle.dumps(loader)) < 1000


def test_a_header_tells_what_a_whole_file_tells(tmp_path):
    path = matmul(tmp_path)
    assert [r.name for r in read_header(str(path)).records] == [r.name for r in read(str(path)).records]
    assert inspect_model(str(path))["facts"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, 6]}]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "bool", "int64", "uint16"])
def test_every_type_is_read_raw_and_typed(dtype, tmp_path):
    numbers = (W * 9).astype(dtype)
    typed = helper.make_tensor("T", helper.np_dtype_to_tensor_dtype(numbers.dtype), W.shape, numbers.reshape(-1))
    for tensor in (numpy_helper.from_array(numbers, "T"), typed):
        graph = helper.make_graph([helper.make_node("Identity", ["T"], ["y"])], "g", [], [], [tensor])
        onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
        archive = read(str(tmp_path / "model.onnx"))
        assert torch.equal(archive.loaders["T"](), torch.tensor(numbers))


def outside(folder, location, **told):
    tensor = TensorProto(name="W", data_type=1, dims=[6, 4], data_location=1)
    for key, value in {"location": location, **told}.items():
        tensor.external_data.add(key=key, value=str(value))
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    values = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [tensor])
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    return str(folder / "model.onnx")


def test_numbers_beside_the_file_are_read_and_count_for_the_checksum(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "w.bin").write_bytes(b"head" + W.tobytes())
    archive = read(outside(tmp_path, "more/w.bin", offset=4, length=96))
    assert torch.equal(archive.loaders["W.weight"](), torch.tensor(W).T)
    assert [os.path.basename(file) for file in archive.files] == ["model.onnx", "w.bin"]


@pytest.mark.parametrize("location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "..\\w.bin", "link.bin", "a\0b"])
def test_numbers_outside_the_folder_are_refused(location, tmp_path):
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(UnsafeModelError, match="outside the folder"):
        read_header(outside(tmp_path / "model", location))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"offset": 8}, "declares 96 bytes"),
        ({"offset": 90, "length": 96}, "the file has 96"),
        ({"offset": "x"}, "byte x of .*no whole number"),
        ({"offset": 1 << 40}, "byte 1099511627776 of .*the file has 96 bytes"),
    ],
)
def test_places_outside_their_file_are_refused(told, words, tmp_path):
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    with pytest.raises(UnreadableModelError, match=words):
        read_header(outside(tmp_path, "w.bin", **told))


def test_a_path_that_comes_back_into_the_folder_is_read(tmp_path):
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    assert read(outside(tmp_path, "./sub/../w.bin")).loaders["W.weight"]().shape == (4, 6)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("y", "y")], "its own output"),
        ([("b", "a"), ("a", "b"), ("a", "y")], "its own output"),
        ([("x", "y"), ("W", "y")], "made elsewhere too"),
        ([("z", "y")], "takes 'z', which no node makes"),
        ([("x", "h")], "the output takes 'y'"),
    ],
)
def test_graphs_that_contradict_themselves_are_refused(nodes, words, tmp_path):
    made = [helper.make_node("Identity", [a], [b]) for a, b in nodes]
    with pytest.raises(UnreadableModelError, match=words):
        read_header(str(save(made, {"W": W}, tmp_path, outputs=["y"])))


def test_operations_of_a_later_standard_are_not_run(tmp_path):
    path = save([helper.make_node("MatMul", ["x", "W"], ["y"])], {"W": W}, tmp_path, opset=99)
    assert [row["name"] for row in decompose(path).rows()] == ["W"]
    with pytest.raises(ValueError, match="opset 99 is newer"):
        runnable(path)(torch.zeros(1, 6))


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1", b"\n<!doctype html><html>"])
@pytest.mark.parametrize("ending", ["onnx", "gguf", "h5"])
def test_pointers_and_web_pages_say_what_they_are(content, ending, tmp_path):
    (tmp_path / f"model.{ending}").write_bytes(content)
    with pytest.raises(UnreadableModelError, match=r"Git LFS pointer|web page"):
        inspect_model(str(tmp_path / f"model.{ending}"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableModelError, match="which is not beside it"):
        read_header(outside(tmp_path, "w.bin"))


@pytest.mark.parametrize(
    ("location", "words"),
    [("w", "no regular file"), ("pipe", "no regular"), ("model.onnx", "itself"), ("", "no file is named")],
)
def test_what_is_no_file_of_its_own_is_named(location, words, tmp_path):
    (tmp_path / "w").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableModelError, match=words):
        read_header(outside(tmp_path, location))


def test_a_model_and_its_numbers_may_both_be_links_into_one_folder(tmp_path):
    for folder in ("blobs", "snapshot"):
        (tmp_path / folder).mkdir()
    os.rename(outside(tmp_path / "blobs", "w.bin"), tmp_path / "blobs" / "model")
    (tmp_path / "blobs" / "numbers").write_bytes(W.tobytes())
    (tmp_path / "snapshot" / "model.onnx").symlink_to("../blobs/model")
    (tmp_path / "snapshot" / "w.bin").symlink_to("../blobs/numbers")
    assert torch.equal(read(str(tmp_path / "snapshot" / "model.onnx")).loaders["W.weight"](), torch.tensor(W).T)


def test_inputs_of_other_shapes_are_told_apart_from_those_declared(tmp_path):
    module = runnable(matmul(tmp_path))
    with pytest.raises(ValueError, match=r"input 'x' came as 2x5, the file declares \?x6"):
        module(torch.rand(2, 5))
    with pytest.raises(ValueError, match="the graph takes 1: x"):
        module(z=torch.rand(2, 6))


def test_a_shape_that_its_numbers_do_not_fill_is_refused(tmp_path):
    model = onnx.load(matmul(tmp_path))
    model.graph.initializer[0].dims[0] = 1 << 40
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UnreadableModelError, match="declares 17592186044416 bytes"):
        read_header(str(tmp_path / "model.onnx"))


@pytest.mark.parametrize("cut", [0, 1, 20, 120])
def test_a_file_cut_short_is_refused(cut, tmp_path):
    path = matmul(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UnreadableModelError, match="cannot be read as ONNX"):
        read_header(str(path))


def test_a_file_under_another_name_is_known_by_its_content(tmp_path):
    path = matmul(tmp_path).rename(tmp_path / "weights")
    assert open_network(path).facts["format"] == "ONNX"


def test_an_unknown_operation_is_named_and_the_weights_are_read(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "W"], ["m"]), helper.make_node("Frob", ["m"], ["y"], "f1", domain="own")]
    network = open_network(save(nodes, {"W": W}, tmp_path))
    assert [row.name for row in walk(network).layers] == ["W"]
    assert network.facts["cannot run"] == ["operation own.Frob of node 'f1' is not known"]
    with pytest.raises(ValueError, match=r"own\.Frob of node 'f1'"):
        runnable(network)


def test_bodies_of_loops_keep_their_weights(tmp_path):
    body = helper.make_graph(
        [helper.make_node("MatMul", ["s", "inner"], ["t"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info(n, k, None) for n, k in (("i", 7), ("c", 9), ("s", 1))],
        [helper.make_tensor_value_info(n, k, None) for n, k in (("d", 9), ("t", 1))],
        [numpy_helper.from_array(W[:4], "inner")],
    )
    node = helper.make_node("Loop", ["count", "", "x"], ["y"], "steps", body=body)
    atlas = decompose(save([node], {"count": numpy.array(3)}, tmp_path), vectors=0)
    assert [row["name"] for row in atlas.rows()] == ["inner"]
    assert atlas.coverage.accounted == 1.0
    (row,) = walk(open_network(tmp_path / "model.onnx")).layers
    assert torch.equal(row.load(), torch.tensor(W[:4]).T)
    x, A = torch.rand(2, 4), torch.tensor(W[:4])
    assert torch.allclose(runnable(tmp_path / "model.onnx")(x), x @ A @ A @ A, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{}, {"scan_input_directions": [1], "scan_output_axes": [1], "scan_input_axes": [1]}],
    ids=["along", "back"],
)
def test_a_scan_is_run_as_onnxruntime_does(settings, tmp_path):
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["s", "inner"], ["m"], "step"),
            helper.make_node("Add", ["m", "part"], ["t"]),
            helper.make_node("Tanh", ["t"], ["out"]),
        ],
        "body",
        [helper.make_tensor_value_info(name, 1, [2, 4]) for name in ("s", "part")],
        [helper.make_tensor_value_info(name, 1, [2, 4]) for name in ("t", "out")],
        [numpy_helper.from_array(W[:4], "inner")],
    )
    node = helper.make_node("Scan", ["start", "x"], ["last", "y"], "scan", body=body, num_scan_inputs=1, **settings)
    shape = [5, 2, 4] if not settings else [2, 5, 4]
    start = {"start": numpy.ones((2, 4), "float32")}
    path = save([node], start, tmp_path, inputs={"x": shape}, outputs=["last", "y"])
    assert largest_difference(path, (torch.randn(*shape),)) < 1e-5
    rows = {row.name: row for row in walk(open_network(path)).layers}
    assert torch.equal(rows["inner"].load(), torch.tensor(W[:4]).T)


def test_a_branch_that_the_input_chooses_is_run(tmp_path):
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", name], [f"{name}_y"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_y", 1, None)],
            [numpy_helper.from_array(W * sign, name)],
        )
        for name, sign in (("plus", 1), ("minus", -1))
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    module = runnable(save(nodes, {"zero": numpy.array(0, "float32")}, tmp_path))
    x = torch.rand(2, 6)
    assert torch.allclose(module(x), x @ torch.tensor(W))
    assert torch.allclose(module(-x), x @ torch.tensor(W))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_weights_of_whole_numbers_are_the_real_ones_they_stand_for(axis, tmp_path):
    codes = numpy.arange(-12, 12).reshape(6, 4).astype("int8")
    scale = numpy.array(0.5, "float32") if axis is None else numpy.arange(1, codes.shape[axis] + 1, dtype="float32") / 8
    settings = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["W"], "/fc/W", **settings),
        helper.make_node("MatMul", ["x", "W"], ["y"], "/fc/MatMul"),
    ]
    network = open_network(save(nodes, {"codes": codes, "scale": scale}, tmp_path))
    spread = scale if axis is None else scale[:, None] if axis == 0 else scale
    (row,) = walk(network).layers
    assert (row.name, row.kind) == ("fc", "dense")
    assert torch.equal(row.load(), torch.tensor(codes * spread).T.float())
    assert network.facts["quantised"] == {"fc": {"codes": "int8", "largest step": float(scale.max())}}


def test_codes_of_four_bits_have_a_reason(tmp_path):
    tensor = TensorProto(name="W", data_type=TensorProto.INT4, dims=[6, 4], raw_data=b"\0" * 12)
    graph = helper.make_graph([helper.make_node("Identity", ["W"], ["y"])], "g", [], [], [tensor])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    (record,) = open_network(tmp_path / "model.onnx").records
    assert "int4 codes of an operation that is not known" in record.reason


def test_a_folded_norm_is_a_gain_and_a_shift(tmp_path):
    gain, shift = W[:4, :1], W[:4, 1:2]
    nodes = [helper.make_node("Mul", ["x", "g"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    network = open_network(save(nodes, {"g": gain, "b": shift}, tmp_path))
    (row,) = walk(network).layers
    assert (row.kind, row.shape) == ("diagonal", (4, 4))
    x = torch.rand(1, 4, 3)
    assert torch.allclose(runnable(network)(x), x * torch.tensor(gain) + torch.tensor(shift))
