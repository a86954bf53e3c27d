"""The floor of rounding under weights that are stored as whole numbers, or in half precision."""

import numpy
import pytest
import torch
from onnx import TensorProto, helper

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from lmd.sources.rounding import rounding_of
from tests.onnx_files import save

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
