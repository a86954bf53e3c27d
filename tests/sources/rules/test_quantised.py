"""Quantised weights count as the numbers they stand for and are never decomposed as if their codes were numbers."""

import pytest
import torch
from safetensors.torch import save_file

from lmd.layers.walk import walk
from lmd.sources.coverage import coverage_of
from lmd.sources.open_network import open_network
from lmd.sources.reading import TensorRecord
from lmd.sources.rules.tensor_roles import with_roles

BYTES, WORDS, CODES, HALF = "uint8", "int32", "int8", "float16"
CASES = {
    "bitsandbytes 4 bit": (
        4096,
        {
            "weight": ((2048, 1), BYTES), "weight.absmax": ((64,), "float32"), "weight.quant_map": ((16,), "float32"),
            "weight.quant_state.bitsandbytes__nf4": ((80,), BYTES),
        },
    ),
    "GPTQ 4 bit": (
        512,
        {
            "qweight": ((2, 32), WORDS), "qzeros": ((1, 4), WORDS), "scales": ((1, 32), HALF), "g_idx": ((16,), WORDS),
        },
    ),
    "GPTQ 3 bit": (
        4096, {"qweight": ((12, 32), WORDS), "qzeros": ((1, 3), WORDS), "scales": ((1, 32), HALF)},
    ),
    "AWQ 4 bit": (512, {"qweight": ((16, 4), WORDS), "qzeros": ((1, 4), WORDS), "scales": ((1, 32), HALF)}),
    "int8 with a scale": (128, {"weight": ((8, 16), CODES), "weight_scale": ((8, 1), "float32")}),
    "LLM.int8": (128, {"weight": ((8, 16), CODES), "SCB": ((8,), "float32"), "weight_format": ((), BYTES)}),
    "float8 with a scale": (128, {"weight": ((8, 16), "float8_e4m3fn"), "weight_scale_inv": ((1, 1), "float32")}),
    "compressed tensors": (128, {"weight_packed": ((8, 2), WORDS), "weight_scale": ((8, 1), "float32")}),
    "mxfp4": (256, {"up_proj_blocks": ((8, 16), BYTES), "up_proj_scales": ((8, 1), BYTES)}),
    "int8 alone": (128, {"weight": ((8, 16), CODES)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_logical_size(name):
    logical, tensors = CASES[name]
    records = with_roles(TensorRecord(f"layers.0.fc.{n}", shape, dtype) for n, (shape, dtype) in tensors.items())
    parameters = [record for record in records if record.role == "parameter"]
    assert [record.elements for record in parameters] == [logical]
    assert parameters[0].reason.startswith("quantised")
    assert all(record.reason for record in records)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_codes_are_no_numbers(ending, tmp_path):
    codes = torch.randint(-99, 99, (8, 16), dtype=torch.int8)
    state = {
        "fc.weight": codes,
        "fc.weight_scale": torch.rand(8, 1),
        "fc.bias": torch.rand(8),
        "out.weight": torch.rand(4, 8),
    }
    path = tmp_path / f"m.{ending}"
    torch.save(state, path) if ending == "pt" else save_file(state, path)
    network = open_network(path)
    walked = walk(network)
    assert [row.name for row in walked.layers] == ["out"]
    coverage = coverage_of(network.records, {"out.weight": 1.0}, walked.reasons)
    assert coverage.accounted == 1.0
    status = {tensor.name: tensor.status for tensor in coverage.tensors}
    assert status["fc.weight"] == "unsupported"
    assert status["fc.weight_scale"] == "buffer"


def test_a_scale_beside_real_numbers_stays_a_parameter():
    records = with_roles([TensorRecord("n.weight", (8, 8), "float32"), TensorRecord("n.scale", (8,), "float32")])
    assert [record.role for record in records] == ["parameter", "parameter"]


def test_an_orthogonal_weight_is_not_read_from_what_it_is_computed_from(tmp_path):
    layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(8, 8))
    torch.save(layer.state_dict(), tmp_path / "m.pt")
    network = open_network(tmp_path / "m.pt")
    assert not walk(network).layers
    roles = {record.name: record.role for record in network.records}
    assert roles["parametrizations.weight.0.base"] == "buffer"
    assert {record.elements for record in network.records if record.role == "parameter"} == {8, 64}
