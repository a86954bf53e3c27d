"""The floor of rounding under weights that are stored as whole numbers, or in half precision."""

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.rounding import rounding_of
from tests.onnx_files import save
from tests.sources.onnx.test_networks import largest_difference

DRAW = numpy.random.default_rng(0)
W = DRAW.normal(size=(40, 24)).astype("float32")


def coded(axis):
    scale = (numpy.abs(W).max(axis=None if axis is None else 1 - axis) / 127).astype("float32")
    spread = scale if axis is None else numpy.expand_dims(scale, 1 - axis)
    return numpy.clip(numpy.round(W / spread), -127, 127).astype("int8"), scale, spread


def row_and_errors(path):
    (row,) = walk(open_network(path)).layers
    errors = rounding_of(row.loader)
    assert errors is not None
    return row, errors


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_floor_is_the_size_of_the_error_that_was_made(axis, tmp_path):
    codes, scale, spread = coded(axis)
    settings = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["W"], **settings),
        helper.make_node("MatMul", ["x", "W"], ["y"], "/fc/MatMul"),
    ]
    path = save(nodes, {"codes": codes, "scale": scale}, tmp_path)
    row, errors = row_and_errors(path)
    assert torch.allclose(errors().double(), torch.tensor(numpy.broadcast_to(spread, W.shape).T / 12**0.5).double())
    assert torch.equal(errors.narrow(0, 3, 5)(), errors()[3:8])
    made = row.load().double() - torch.tensor(W).T.double()
    (found,) = decompose(path, vectors=0).rows()
    assert found["floor_spectral_norm"] == pytest.approx(torch.linalg.matrix_norm(made, 2).item(), rel=0.15)
    assert errors().double().square().mean().sqrt() == pytest.approx(made.square().mean().sqrt().item(), rel=0.1)


def test_codes_of_integer_products_and_half_precision_have_one(tmp_path):
    codes, scale, _ = coded(None)
    names = {"W": codes, "sx": numpy.float32(0.1), "zx": numpy.uint8(3), "sw": scale, "zw": numpy.int8(0)}
    node = helper.make_node("QLinearMatMul", ["x", "sx", "zx", "W", "sw", "zw", "sx", "zx"], ["y"], "/fc/MatMul")
    _, errors = row_and_errors(save([node], names, tmp_path))
    assert torch.allclose(errors().double(), torch.tensor(float(scale) / 12**0.5, dtype=torch.float64))
    nodes = [
        helper.make_node("Cast", ["H"], ["W"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["x", "W"], ["y"], "/fc/Gemm"),
    ]
    row, errors = row_and_errors(save(nodes, {"H": W.astype("float16")}, tmp_path))
    made = row.load().double() - torch.tensor(W).T.double()
    assert errors().square().mean().sqrt() == pytest.approx(made.square().mean().sqrt().item(), rel=0.1)


def test_gates_of_half_precision_have_one(tmp_path):
    parts = {"W": (1, 12, 4), "R": (1, 12, 3)}
    constants = {name: DRAW.normal(size=shape).astype("float16") for name, shape in parts.items()}
    node = helper.make_node("LSTM", ["x", "W", "R"], ["y"], "/rnn/LSTM", hidden_size=3)
    for row in walk(open_network(save([node], constants, tmp_path))).layers:
        errors = rounding_of(row.loader)
        assert errors is not None
        assert errors.shape == row.loader.shape


def codes_of(*shape):
    # small ones: processors of some kinds saturate sums of large ones
    return DRAW.integers(-60, 60, shape).astype("int8")


@pytest.mark.parametrize("scales", [(2,), (2, 12)], ids=["one", "of rows"])
def test_an_lstm_of_codes_has_the_gates_of_its_real_numbers_and_runs(scales, tmp_path):
    parts = {"W": codes_of(2, 4, 12), "R": codes_of(2, 3, 12), "B": DRAW.normal(size=(2, 24)).astype("float32")}
    for letter in "WR":
        parts[f"{letter}_scale"] = DRAW.uniform(0.005, 0.02, scales).astype("float32")
        parts[f"{letter}_zero"] = numpy.zeros(scales, "int8")
    given = ["x", "W", "R", "B", "", "", "", "", "W_scale", "W_zero", "R_scale", "R_zero"]
    settings = {"hidden_size": 3, "direction": "bidirectional", "domain": "com.microsoft"}
    node = helper.make_node("DynamicQuantizeLSTM", given, ["y"], "/rnn/LSTM", **settings)
    path = save([node], parts, tmp_path, inputs={"x": [5, 1, 4]})
    rows = {row.name.partition(".l0.")[2]: row for row in walk(open_network(path)).layers}
    assert len(rows) == 16
    real = parts["W"] * parts["W_scale"].reshape(2, 1, -1)
    for side, words in enumerate(("", "reverse.")):
        for place, gate in enumerate("iofg"):
            row = rows[f"{words}input.{gate}"]
            wanted = torch.tensor(real[side, :, 3 * place : 3 * place + 3].T)
            assert torch.allclose(row.load().double(), wanted.double(), atol=1e-7)
            assert rounding_of(row.loader) is not None
    coverage = {tensor.name.rpartition(".")[2]: tensor for tensor in decompose(path, vectors=0).coverage.tensors}
    assert coverage["B"].status == "vector"
    assert largest_difference(path, (torch.tensor(DRAW.normal(size=(5, 1, 4)).astype("float32")),)) < 1e-5


def test_a_table_of_codes_is_read_with_the_scale_of_the_product_behind_it(tmp_path):
    table, matrix = codes_of(9, 4).astype("uint8"), codes_of(4, 5)
    scales = {"emb.weight_scale": numpy.float32(0.02), "m_scale": numpy.float32(0.5)}
    nodes = [
        helper.make_node("Gather", ["emb.weight_quantized", "ids"], ["e"], "/emb/Gather"),
        helper.make_node("Mul", ["emb.weight_scale", "m_scale"], ["scale"]),
        helper.make_node("MatMulInteger", ["e", "m_quantized", "zero"], ["codes"], "/fc/MatMul"),
        helper.make_node("Cast", ["codes"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["y"]),
    ]
    numbers = {"emb.weight_quantized": table, "m_quantized": matrix, "zero": numpy.uint8(7), **scales}
    rows = {row.kind: row for row in walk(open_network(save(nodes, numbers, tmp_path, inputs=("ids",)))).layers}
    assert torch.allclose(
        rows["embedding"].load().double(), torch.tensor((table.astype(float) - 7) * 0.02).T, atol=1e-6
    )
    assert torch.allclose(rows["dense"].load().double(), torch.tensor(matrix * 0.5).T.double())


def test_peepholes_are_no_matrix(tmp_path):
    sizes = {"W": (1, 12, 4), "R": (1, 12, 3), "P": (1, 9)}
    parts = {name: DRAW.normal(size=shape).astype("float32") for name, shape in sizes.items()}
    node = helper.make_node("LSTM", ["x", "W", "R", "", "", "", "", "P"], ["y"], "/rnn/LSTM", hidden_size=3)
    atlas = decompose(save([node], parts, tmp_path, inputs={"x": [5, 2, 4]}), vectors=0, parts=False)
    assert {row["kind"] for row in atlas.rows()} == {"gate"}
    (peepholes,) = [tensor for tensor in atlas.coverage.tensors if tensor.shape == (1, 9)]
    assert "peepholes of the gates" in peepholes.reason


@pytest.mark.parametrize(("name", "rows"), [("/cell/Constant_1_output_0", 0), ("anchors", 1)])
def test_grids_and_ones_of_operations_are_no_weights(name, rows, tmp_path):
    node = helper.make_node("Sub", [name, "x"], ["y"])
    atlas = decompose(save([node], {name: numpy.full((3, 4), 0.5, "float32")}, tmp_path), vectors=0)
    assert len(list(atlas.rows())) == rows


def of_bits(codes, bits):
    """Whole numbers that share bytes, the lowest bits first."""
    parts = codes.astype("uint8").reshape(*codes.shape[:-1], -1, 8 // bits) & ((1 << bits) - 1)
    return sum(parts[..., place] << (bits * place) for place in range(8 // bits)).astype("uint8")


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero", [False, True])
def test_matrices_of_a_few_bits_in_blocks_are_read_and_run(bits, zero, tmp_path):
    codes, middles = DRAW.integers(0, 1 << bits, (6, 3, 16)), DRAW.integers(0, 1 << bits, (6, 4))
    scale = DRAW.uniform(0.01, 0.02, (6, 3, 1)).astype("float32")
    parts = {"fc.B": of_bits(codes, bits), "fc.s": scale.reshape(-1)}
    parts |= {"fc.z": of_bits(middles, bits)[:, : -(-3 * bits // 8)].reshape(-1)} if zero else {}
    settings = {"K": 40, "N": 6, "bits": bits, "block_size": 16, "domain": "com.microsoft"}
    node = helper.make_node("MatMulNBits", ["x", *parts], ["y"], "/fc/MatMul_Q4", **settings)
    path = save([node], parts, tmp_path, inputs={"x": [2, 40]})
    row, errors = row_and_errors(path)
    middle = middles[:, :3, None] if zero else 1 << (bits - 1)
    real = ((codes - middle) * scale).reshape(6, 48)[:, :40]
    assert torch.allclose(row.load().double(), torch.tensor(real).double(), atol=1e-6)
    wanted = torch.tensor(scale.astype(float) / 12**0.5).repeat(1, 1, 16).reshape(6, 48)[:, :40]
    assert torch.allclose(errors().double(), wanted)
    assert largest_difference(path, (torch.tensor(DRAW.normal(size=(2, 40)).astype("float32")),)) < 1e-5


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(("dtype", "lowest"), [(TensorProto.INT4, -8), (TensorProto.UINT4, 0)])
def test_codes_of_four_bits_are_read(dtype, lowest, raw, tmp_path):
    codes, scale = DRAW.integers(lowest, lowest + 16, (5, 6)), DRAW.uniform(0.1, 0.2, 5).astype("float32")
    nodes = [
        helper.make_node("DequantizeLinear", ["W", "scale"], ["w"], axis=0),
        helper.make_node("Gemm", ["x", "w"], ["y"], "/fc/Gemm", transB=1),
    ]
    path = save(nodes, {"scale": scale}, tmp_path, inputs={"x": [2, 6]}, opset=21)
    model = onnx.load(path)
    stored = of_bits(codes.reshape(-1), 4).tobytes() if raw else codes.reshape(-1).tolist()
    model.graph.initializer.append(helper.make_tensor("W", dtype, (5, 6), stored, raw=raw))
    onnx.save(model, path)
    row, errors = row_and_errors(path)
    assert torch.allclose(row.load().double(), torch.tensor(codes * scale[:, None]).double(), atol=1e-6)
    assert torch.allclose(errors()[:, 0].double(), torch.tensor(scale.astype(float) / 12**0.5))
    assert largest_difference(path, (torch.tensor(DRAW.normal(size=(2, 6)).astype("float32")),)) < 1e-5


def test_scales_of_columns_behind_a_product_of_codes_are_no_gains(tmp_path):
    matrix, scale = codes_of(4, 5), DRAW.uniform(0.01, 0.02, 5).astype("float32")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "step", "zero"]),
        helper.make_node("Mul", ["step", "m_scale"], ["steps"], "/fc/scales"),
        helper.make_node("MatMulInteger", ["codes", "m_quantized", "zero"], ["sum"], "/fc/MatMul"),
        helper.make_node("Cast", ["sum"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "steps"], ["product"]),
        helper.make_node("Add", ["product", "fc.bias"], ["y"]),
    ]
    numbers = {"m_quantized": matrix, "m_scale": scale, "fc.bias": DRAW.normal(size=5).astype("float32")}
    path = save(nodes, numbers, tmp_path, inputs={"x": [3, 4]})
    (row,) = walk(open_network(path)).layers
    assert (row.name, row.kind) == ("fc", "dense")
    assert torch.allclose(row.load().double(), torch.tensor(matrix * scale).T.double())
    (bias,) = [one for one in decompose(path, vectors=0).coverage.tensors if one.name == "fc.bias"]
    assert bias.reason.startswith("a bias")
    assert largest_difference(path, (torch.tensor(DRAW.normal(size=(3, 4)).astype("float32")),)) < 1e-5


def test_positions_of_codes_are_a_row_of_real_numbers_and_run(tmp_path):
    codes, scale = codes_of(3, 4), numpy.float32(0.02)
    nodes = [
        helper.make_node("DequantizeLinear", ["pos_quantized", "pos_scale"], ["p"]),
        helper.make_node("Add", ["x", "p"], ["y"], "/Add"),
    ]
    path = save(nodes, {"pos_quantized": codes, "pos_scale": scale}, tmp_path, inputs={"x": [3, 4]})
    (row,) = walk(open_network(path)).layers
    assert row.name == "pos"
    assert sorted(row.shape) == [3, 4]
    norm = numpy.linalg.norm(codes * 0.02)
    assert torch.linalg.matrix_norm(row.load().double()).item() == pytest.approx(norm, rel=1e-6)
    assert largest_difference(path, (torch.tensor(DRAW.normal(size=(3, 4)).astype("float32")),)) < 1e-6
