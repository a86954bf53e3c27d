"""Whole networks: rows and matrices of the module they were exported from, outputs of onnxruntime."""

import warnings
from pathlib import Path

import numpy
import onnxruntime
import pytest
import torch
from torch import nn

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.inspection import inspect_model
from lmd.sources.open_network import open_network
from lmd.sources.runnable import runnable
from lmd.testing import layers_of
from tests.shared_models import shared_model
from tests.sources.onnx.networks import NETWORKS


def trained(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module = build().eval()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
        if isinstance(part, nn.GroupNorm | nn.LayerNorm | nn.modules.batchnorm._NormBase):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    inputs = shape if isinstance(shape[0], torch.Tensor) else (torch.randn(*shape),)
    return module, inputs


def exported(module: nn.Module, inputs, path: Path, **options) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by tracing is old, and the one that needs no other library
        torch.onnx.export(module, inputs, str(path), dynamo=False, **options)
    return path


def largest(some, others) -> float:
    return max(float(numpy.abs(one - other).max()) for one, other in zip(some, others, strict=True))


def as_onnxruntime(path: Path, inputs, *, optimised: bool = True) -> list[numpy.ndarray]:
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    told = [one.name for one in session.get_inputs()]
    return session.run(None, dict(zip(told, (tensor.numpy() for tensor in inputs), strict=True)))


def as_ours(path: Path, inputs) -> list[numpy.ndarray]:
    with torch.no_grad():
        made = runnable(path)(*inputs)
    return [one.numpy() for one in (made if isinstance(made, tuple) else (made,))]


def largest_difference(path: Path, inputs) -> float:
    return largest(as_ours(path, inputs), as_onnxruntime(path, inputs))


@pytest.mark.parametrize("options", [{}, {"opset_version": 13}, {"do_constant_folding": False}], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_onnxruntimes_and_every_parameter_is_accounted_for(name, options, tmp_path):
    module, inputs = trained(name)
    path = exported(module, inputs, tmp_path / "model.onnx", **options)
    assert largest_difference(path, inputs) < 1e-5
    coverage = decompose(path, vectors=0, parts=False).coverage
    assert coverage.accounted == 1.0
    told = inspect_model(str(path))["coverage"]
    assert told["parameters"] == coverage.parameters
    assert told["decomposed"] == pytest.approx(coverage.decomposed, abs=1e-12)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"resnet", "mobile"}))
def test_rows_are_those_of_the_module(name, tmp_path):
    module, inputs = trained(name)
    found = {row.name: row for row in walk(open_network(exported(module, inputs, tmp_path / "model.onnx"))).layers}
    for row in layers_of(module).values():
        if row.view_of is None:
            other = found[row.name]
            assert (other.kind, other.shape) == (row.kind, row.shape)
            assert torch.allclose(other.load().double(), row.load().double(), atol=1e-6)


@pytest.mark.parametrize("name", ["resnet", "mobile"])
def test_folded_batch_norms_leave_convolutions_that_run(name, tmp_path):
    module, inputs = trained(name)
    folded = open_network(exported(module, inputs, tmp_path / "folded.onnx"))
    assert not [row for row in walk(folded).layers if row.kind == "diagonal"]
    whole = open_network(exported(module, inputs, tmp_path / "whole.onnx", do_constant_folding=False))
    assert {row.name for row in walk(whole).layers} == set(layers_of(module))


def test_a_table_that_serves_twice_is_one_record(tmp_path):
    module, inputs = trained("tied")
    path = exported(module, inputs, tmp_path / "model.onnx", do_constant_folding=False)
    (tied,) = [record for record in open_network(path).records if record.role == "tied"]
    assert (tied.name, tied.tied_to) == ("lm_head.weight", "wte.weight")
    (row,) = [row for row in walk(open_network(path)).layers if row.name == "wte"]
    assert "lm_head.weight (dense)" in row.note


def test_small_inputs_of_the_file_give_operators(tmp_path):
    module, inputs = trained("convnet")
    path = exported(module, inputs[0][:1], tmp_path / "model.onnx")
    assert "0.operator" in {row["name"] for row in decompose(path, vectors=0).rows()}
    data = torch.randn(1, 1, 8, 8)
    assert decompose(path, data, vectors=0).complete


def test_the_twins_of_cifar_are_equal():
    ours, theirs = shared_model("cifar-conv-twins/cifar_base_kw.onnx"), shared_model("cifar-conv-twins/cifar_base.pth")
    rows = {row.name: row for row in walk(open_network(ours)).layers if row.view_of is None}
    twins = {row.name: row for row in walk(open_network(theirs)).layers if row.view_of is None}
    assert set(rows) == set(twins) == {"0", "2", "5", "7"}
    for name, row in rows.items():
        S, T = (torch.linalg.svdvals(one.load().double()) for one in (row, twins[name]))
        assert (S - T).abs().max() < 1e-6
    assert largest_difference(ours, (torch.randn(1, 3, 32, 32),)) < 1e-5


@pytest.mark.parametrize(
    ("name", "shape"), [("acas-xu/ACASXU_run2a_1_1_batch_2000.onnx", (5,)), ("basic-pitch/nmp.onnx", (1, 43844, 1))]
)
def test_real_files_are_decomposed_and_run(name, shape):
    path = shared_model(name)
    coverage = decompose(path, vectors=0, parts=False).coverage
    assert coverage.accounted == 1.0
    assert coverage.decomposed >= 0.95
    torch.manual_seed(1)
    inputs = (torch.randn(*shape),)
    wanted = as_onnxruntime(path, inputs)
    # basic-pitch takes logarithms of small numbers: onnxruntime's own optimisations move it by up to 1e-3
    rounding = largest(wanted, as_onnxruntime(path, inputs, optimised=False))
    assert largest(as_ours(path, inputs), wanted) < max(1e-5, rounding)
