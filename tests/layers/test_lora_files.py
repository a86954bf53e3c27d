"""Low-rank adapters as trainers other than peft name them: the right product, and the scale that is told or not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lmd.pipeline.decompose import decompose
from tests.layers.test_adapters import padded


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


A, B = drawn(4, 12), drawn(10, 4)
DOWN, MID, UP = drawn(4, 6, 1, 1), drawn(4, 4, 3, 3), drawn(10, 4, 1, 1)
ALPHA = torch.tensor(2.0, dtype=torch.float64)
CORE = torch.einsum("op,pqxy,qi->oixy", UP[..., 0, 0], MID, DOWN[..., 0, 0])

Case = tuple[str, dict[str, Tensor], Tensor, str]
CASES: dict[str, Case] = {
    "kohya": (
        "lora_unet_q.adapter",
        {"lora_unet_q.lora_down.weight": A, "lora_unet_q.lora_up.weight": B, "lora_unet_q.alpha": ALPHA},
        0.5 * B @ A,
        "declared",
    ),
    "kohya without alpha": ("q.adapter", {"q.lora_down.weight": A, "q.lora_up.weight": B}, B @ A, "guess"),
    "a core between": (
        "c.adapter",
        {"c.lora_down.weight": DOWN, "c.lora_mid.weight": MID, "c.lora_up.weight": UP, "c.alpha": ALPHA},
        0.5 * CORE.flatten(1),
        "declared",
    ),
    "diffusers, processors": (
        "unet.attn1.to_q.adapter",
        {"unet.attn1.processor.to_q_lora.down.weight": A, "unet.attn1.processor.to_q_lora.up.weight": B},
        B @ A,
        "guess",
    ),
    "diffusers, layers": (
        "te.q_proj.adapter",
        {"te.q_proj.lora_linear_layer.down.weight": A, "te.q_proj.lora_linear_layer.up.weight": B},
        B @ A,
        "guess",
    ),
    "diffusers, named": (
        "unet.to_q.adapter",
        {"unet.to_q.lora_A.default.weight": A, "unet.to_q.lora_B.default.weight": B},
        B @ A,
        "guess",
    ),
    "loralib": (
        "fc.adapter",
        {"fc.weight": drawn(10, 12), "fc.bias": drawn(10), "fc.lora_A": A, "fc.lora_B": B},
        B @ A,
        "guess",
    ),
    "loralib, two of three": (
        "attn.adapter",
        {"attn.lora_A": drawn(8, 12), "attn.lora_B": drawn(20, 4)},
        torch.cat([drawn(20, 4)[:10] @ drawn(8, 12)[:4], drawn(20, 4)[10:] @ drawn(8, 12)[4:]]),
        "guess",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_product_and_its_scale(case: str, tmp_path: Path) -> None:
    name, tensors, update, confidence = CASES[case]
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "lora.safetensors")
    atlas = decompose(tmp_path / "lora.safetensors")
    record = atlas.layer(name)
    expected = torch.linalg.svdvals(update)
    # products of float64 numbers, at most 54 to a side
    assert padded(record.arrays()["spectrum"], expected.numel()) == pytest.approx(expected, abs=1e-12)
    assert record.entry["confidence"] == confidence
    assert ("scale unknown" in record.entry["note"]) == (confidence == "guess")
    assert atlas.coverage.accounted == 1.0


def test_settings_within_the_header_give_the_scale(tmp_path: Path) -> None:
    told: dict[str, Any] = {"transformer.r": 4, "transformer.lora_alpha": 8}
    tensors = {"q.lora_A.weight": A, "q.lora_B.weight": B}
    save_file(tensors, tmp_path / "lora.safetensors", metadata={"lora_adapter_metadata": json.dumps(told)})
    (record,) = decompose(tmp_path / "lora.safetensors").layers
    assert record.arrays()["spectrum"] == pytest.approx(torch.linalg.svdvals(2 * B @ A)[:4], abs=1e-12)
    assert record.entry["confidence"] == "declared"
    several = {**told, "text_encoder.r": 4, "text_encoder.lora_alpha": 2}
    save_file(tensors, tmp_path / "lora.safetensors", metadata={"lora_adapter_metadata": json.dumps(several)})
    (record,) = decompose(tmp_path / "lora.safetensors").layers
    assert record.entry["confidence"] == "guess"


def test_settings_that_do_not_tell_the_scale_make_it_a_guess(tmp_path: Path) -> None:
    save_file({"q.lora_A.weight": A, "q.lora_B.weight": B}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (record,) = decompose(tmp_path).layers
    assert record.entry["confidence"] == "guess"
