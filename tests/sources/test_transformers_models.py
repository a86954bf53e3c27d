"""Models of transformers from small random configurations: a folder gives what its module gives, all accounted for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes

transformers: Any = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 192,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "vocab_size": 300,
}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
GROUPED = {**SMALL, "num_key_value_heads": 2, **TOKENS}
GPT = {"n_layer": 1, "n_embd": 192, "n_head": 4, "vocab_size": 300, "n_positions": 32, **TOKENS}
BOTH_SIDES = {
    "d_model": 192,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
    "decoder_ffn_dim": 256,
    "vocab_size": 300,
}
PICTURES = {"image_size": 32, "patch_size": 16}

Case = tuple[str, str, dict[str, Any]]
MODELS: dict[str, Case] = {
    "BERT": ("BertModel", "BertConfig", SMALL),
    "GPT-2": ("GPT2LMHeadModel", "GPT2Config", GPT),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", GROUPED),
    "NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {**SMALL, **TOKENS}),
    "Mixtral": ("MixtralForCausalLM", "MixtralConfig", {**GROUPED, "num_local_experts": 3}),
    "T5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {"d_model": 192, "d_kv": 32, "d_ff": 256, "num_layers": 1, "num_heads": 4, "vocab_size": 300},
    ),
    "ViT": ("ViTForImageClassification", "ViTConfig", {**SMALL, **PICTURES}),
    "Mamba": (
        "MambaForCausalLM",
        "MambaConfig",
        {"hidden_size": 192, "num_hidden_layers": 1, "vocab_size": 300, "state_size": 8},
    ),
    "Whisper": (
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            **BOTH_SIDES,
            **TOKENS,
            "num_mel_bins": 8,
            "max_source_positions": 16,
            "max_target_positions": 16,
            "decoder_start_token_id": 1,
        },
    ),
    "Qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**GROUPED, "head_dim": 48}),
    "Phi-3": ("Phi3ForCausalLM", "Phi3Config", GROUPED),
    "Falcon": ("FalconForCausalLM", "FalconConfig", {**SMALL, **TOKENS, "multi_query": True}),
    "DistilBERT": (
        "DistilBertModel",
        "DistilBertConfig",
        {"dim": 192, "n_layers": 1, "n_heads": 4, "hidden_dim": 256, "vocab_size": 300},
    ),
    "CLIP": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": {**SMALL, **TOKENS}, "vision_config": {**SMALL, **PICTURES}, "projection_dim": 64},
    ),
    "Qwen2-MoE": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {
            **GROUPED,
            "num_experts": 3,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
    ),
}


def built(name: str) -> Any:
    model, config, settings = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, model)(getattr(transformers, config)(**settings)).eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_folder_gives_what_the_module_gives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = built(name)
    model.save_pretrained(tmp_path)
    ours, theirs = decompose(model, vectors=0, distance=2), decompose(tmp_path, vectors=0, distance=2)
    for atlas in (ours, theirs):
        assert atlas.coverage.accounted == 1.0
        assert atlas.coverage.decomposed >= 0.99
    assert ours.coverage.parameters == theirs.coverage.parameters
    found = {record.name: record for record in theirs.layers}
    assert set(found) == {record.name for record in ours.layers}
    for record in ours.layers:
        other = found[record.name]
        assert not record.failed, record.entry
        for key in ("kind", "shape", "findings", "note", "tensors", "view_of"):
            assert record.entry[key] == other.entry[key], (record.name, key)
        arrays = other.arrays()
        assert all(torch.equal(tensor, arrays[key]) for key, tensor in record.arrays().items())


def scores(model: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What goes into the first attention, and the weights it gives."""
    seen: dict[str, Any] = {}

    def keep(_module: Any, args: Any, given: Any) -> None:
        seen["x"] = args[0] if args else given["hidden_states"]

    first = next(m for p, m in model.named_modules() if p.endswith(("attn", "attention")) and any(m.children()))
    hook = first.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            weights = model(input_ids=tokens, output_attentions=True).attentions[0][0]
    finally:
        hook.remove()
    return seen["x"][0].double(), weights.double()


ROTARY: dict[str, Callable[[], Any]] = {
    "halves, grouped": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**{**GROUPED, "hidden_size": 32}, rope_theta=20.0)
    ),
    "a quarter of interleaved heads": lambda: transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(**{**SMALL, **TOKENS, "hidden_size": 64})
    ),
    "neighbours": lambda: transformers.CohereForCausalLM(transformers.CohereConfig(**{**GROUPED, "hidden_size": 32})),
    "fused, grouped": lambda: transformers.Phi3ForCausalLM(transformers.Phi3Config(**{**GROUPED, "hidden_size": 32})),
    "neighbours, in part": lambda: transformers.GPTJForCausalLM(
        transformers.GPTJConfig(**{**GPT, "n_embd": 32}, rotary_dim=4)
    ),
}


@pytest.mark.parametrize("name", ROTARY)
def test_circuits_at_their_distances_give_the_weights_of_the_model(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ROTARY[name]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.4)
    model.set_attn_implementation("eager")
    x, weights = scores(model, torch.arange(3, 7)[None])
    circuits = [circuits_at(model, distance) for distance in range(len(x))]
    for head, expected in enumerate(weights):
        logits = torch.full_like(expected, -torch.inf)
        for i in range(len(x)):
            for j in range(i + 1):
                row = circuits[i - j][head]
                one = torch.ones(1, dtype=torch.float64)
                left, right = (torch.cat([x[place], one])[: row.shape[0]] for place in (i, j))
                logits[i, j] = left @ row.load() @ right / row.inner**0.5
        # the model computes in float32
        torch.testing.assert_close(torch.softmax(logits, dim=-1), expected, rtol=1e-4, atol=1e-5)


def circuits_at(model: Any, distance: int) -> list[Any]:
    network = replace(from_module(model), wishes=Wishes(distance=distance, fold_bias=True))
    return [layer for layer in walk(network).layers if layer.kind == "query_key"]
