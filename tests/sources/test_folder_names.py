"""Folders whose files name or store tensors otherwise than the module give the module's rows, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module

transformers: Any = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 60,
}
TOKENS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SPEECH: dict[str, Any] = {
    **SMALL,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
SIDES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 60,
    "max_position_embeddings": 40,
    "decoder_start_token_id": 0,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a renamed trunk": ("DINOv3ViTModel", "DINOv3ViTConfig", {**SMALL, "image_size": 32, "patch_size": 8}),
    "a head before its table": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", {**SMALL, **TOKENS}),
    "weight norm": ("Wav2Vec2Model", "Wav2Vec2Config", SPEECH),
    "weight norm, HuBERT": ("HubertModel", "HubertConfig", SPEECH),
}


def built(model: str, config: str, settings: dict[str, Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, model)(getattr(transformers, config)(**settings)).eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_folder_has_the_rows_of_the_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = built(*MODELS[name])
    model.save_pretrained(tmp_path)
    ours, theirs = ({row.name: row for row in walk(one).layers} for one in (from_module(model), open_network(tmp_path)))
    assert set(ours) == set(theirs)
    for key, row in ours.items():
        other = theirs[key]
        assert (row.kind, row.shape, row.groups, row.note) == (other.kind, other.shape, other.groups, other.note)
        if row.view_of is None:
            assert torch.equal(row.load(), other.load()), key


def test_tables_that_are_computed_are_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = built("MarianMTModel", "MarianConfig", {**SIDES, **TOKENS})
    model.save_pretrained(tmp_path)
    ours, theirs = ({row.name for row in walk(one).layers} for one in (from_module(model), open_network(tmp_path)))
    assert ours - theirs == {"model.encoder.embed_positions", "model.decoder.embed_positions"}
    assert theirs <= ours


@pytest.mark.parametrize("dim", [0, 1, 2, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_weight_norm_rounds_alike_in_modules_and_files(dim: int | None, dtype: torch.dtype, tmp_path: Path) -> None:
    layer = nn.Conv1d(6, 8, 5, dtype=dtype)
    module = nn.Sequential(parametrizations.weight_norm(layer, dim=dim))  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.37)
    torch.save(module.state_dict(), tmp_path / "normed.pt")
    live = from_module(module).loader("0.weight")()
    assert torch.equal(live, layer.weight.detach())
    assert torch.equal(open_network(tmp_path / "normed.pt").loader("0.weight")(), live)
