"""Adapters: rows of queries and keys stand as in the base."""

import gguf
import pytest
import torch
from safetensors.torch import save_file

from lmd.pipeline.decompose import decompose
from tests.sources.gguf.converting import ggml_tensors, rotated, write
from tests.sources.gguf.models import MODELS
from tests.sources.gguf.test_architectures import built

_NAMES = {"attn_q": ("self_attn.q_proj", 4), "attn_k": ("self_attn.k_proj", 2), "attn_v": ("self_attn.v_proj", 0)}
_ROWS = {"attn_q": 32, "attn_k": 16, "attn_v": 16}


def adapters(folder):
    """The same LoRA as a GGUF file and as a folder of peft."""
    writer = gguf.GGUFWriter(str(folder / "lora.gguf"), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    generator, tensors = torch.Generator().manual_seed(0), {}
    for word, (name, heads) in _NAMES.items():
        A, B = torch.randn(4, 32, generator=generator), torch.randn(_ROWS[word], 4, generator=generator)
        tensors |= {f"base_model.model.model.layers.0.{name}.lora_{part}.weight": W for part, W in (("A", A), ("B", B))}
        writer.add_tensor(f"blk.0.{word}.weight.lora_a", A.numpy())
        writer.add_tensor(f"blk.0.{word}.weight.lora_b", (rotated(B, heads) if heads else B).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "peft").mkdir()
    save_file(tensors, folder / "peft" / "adapter_model.safetensors")
    (folder / "peft" / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    return folder / "peft", folder / "lora.gguf"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("base", ["folder", "gguf"])
def test_with_its_base_an_adapter_is_that_of_peft(base, tmp_path):
    case = MODELS["llama"]
    model = built(case)
    model.save_pretrained(tmp_path / "hf")
    write(tmp_path / "m.gguf", "llama", case.metadata, ggml_tensors(model, "llama", 2, case.undo))
    ours, theirs = adapters(tmp_path)
    wanted = decompose(ours, base=tmp_path / "hf", vectors=2)
    found = decompose(theirs, base=tmp_path / ("hf" if base == "folder" else "m.gguf"), vectors=2)
    assert [r.name for r in found.layers] == [r.name for r in wanted.layers]
    assert len(found.layers) == 3
    for mine, other in zip(wanted.rows(), found.rows(), strict=True):
        numbers = [key for key, value in mine.items() if isinstance(value, float)]
        assert {key: other[key] for key in numbers} == pytest.approx({key: mine[key] for key in numbers}, rel=1e-5)
        left, right = found.factors(mine["name"]), wanted.factors(mine["name"])
        assert torch.allclose(left.U.abs(), right.U.abs(), atol=1e-6)
    assert "left in ggml's order" not in found.facts
    assert len(found.facts["sorted back"]) == 2


@pytest.mark.filterwarnings("ignore")
def test_without_a_base_it_says_that_rows_are_in_ggmls_order(tmp_path):
    atlas = decompose(adapters(tmp_path)[1], vectors=0)
    notes = {record.name: "in ggml's order" in record.entry["note"] for record in atlas.layers}
    assert {name.split(".")[-2]: said for name, said in notes.items()} == {
        "q_proj": True,
        "k_proj": True,
        "v_proj": False,
    }
