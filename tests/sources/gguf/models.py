"""One small model of each architecture, what its GGUF file says, and what the converter does to its tensors."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers as t

from tests.sources.gguf.converting import grouped, one_after_the_other, rotated

SIZES = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
NO_GROUPS = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
TINY = {"vocab_size": 48, "bos_token_id": 1, "eos_token_id": 2}
RMS = {"attention.layer_norm_rms_epsilon": 1e-5}
NORM = {"attention.layer_norm_epsilon": 1e-5}
WIDE = {"attention.key_length": 8}
EXPERTS = {"expert_count": 4, "expert_used_count": 2}


def told(*more, **changes):
    known = {
        "embedding_length": 32,
        "feed_forward_length": 64,
        "block_count": 2,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "context_length": 64,
    }
    for one in more:
        known |= one
    known |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in known.items() if value is not None}


def turned(name, tensor):
    heads = 4 if "q_proj" in name else 2 if "k_proj" in name else 0
    yield name, rotated(tensor, heads) if heads else tensor


def one_more(name, tensor):
    yield name, tensor + 1 if name.endswith("norm.weight") else tensor


def flipped(name, tensor):
    yield name, tensor.T if re.search(r"c_(attn|fc|proj)\.weight", name) else tensor


def head_by_head(name, tensor):
    yield name, one_after_the_other(tensor, 4) if "query_key_value" in name else tensor


def bloom(name, tensor):
    yield from head_by_head(name.removeprefix("transformer."), tensor)


def groups_of(groups):
    def change(name, tensor):
        yield name, grouped(tensor, 4, groups) if "query_key_value" in name else tensor

    return change


def mamba(name, tensor):
    yield name, -torch.exp(tensor) if name.endswith("A_log") else tensor[:, 0] if "conv1d.weight" in name else tensor


def stacked(name, tensor):
    if name.endswith("experts.gate_up_proj"):
        for part, half in zip(("gate_proj", "up_proj"), tensor.chunk(2, 1), strict=True):
            yield name.replace("gate_up_proj", f"{part}.weight"), half
    else:
        yield name + ".weight" if name.endswith("experts.down_proj") else name, tensor


def mixtral(name, tensor):
    if "experts" not in name:
        yield from turned(name.replace(".mlp.", ".block_sparse_moe."), tensor)
        return
    base = name.rpartition(".")[0].replace("model.", "").replace("mlp", "feed_forward")
    parts = zip(("w1", "w3"), tensor.chunk(2, 1), strict=True) if "gate_up" in name else [("w2", tensor)]
    yield from ((f"{base}.{part}.weight", half) for part, half in parts)


@dataclass(frozen=True)
class Case:
    architecture: str
    build: Callable
    metadata: dict
    undo: Callable | None = None


MODELS = {
    "llama": Case("llama", lambda: t.LlamaForCausalLM(t.LlamaConfig(**SIZES)), told(RMS), turned),
    "mistral": Case("llama", lambda: t.MistralForCausalLM(t.MistralConfig(**SIZES)), told(RMS), turned),
    "mixtral": Case(
        "llama",
        lambda: t.MixtralForCausalLM(t.MixtralConfig(**SIZES, num_local_experts=4)),
        told(RMS, EXPERTS),
        mixtral,
    ),
    "granite": Case("granite", lambda: t.GraniteForCausalLM(t.GraniteConfig(**SIZES)), told(RMS), turned),
    "olmo": Case("olmo", lambda: t.OlmoForCausalLM(t.OlmoConfig(**SIZES)), told(NORM), turned),
    "smollm3": Case("smollm3", lambda: t.SmolLM3ForCausalLM(t.SmolLM3Config(**SIZES)), told(RMS), turned),
    "arcee": Case("arcee", lambda: t.ArceeForCausalLM(t.ArceeConfig(**SIZES)), told(RMS), turned),
    "olmo2": Case("olmo2", lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**SIZES)), told(RMS)),
    "olmoe": Case(
        "olmoe", lambda: t.OlmoeForCausalLM(t.OlmoeConfig(**SIZES, num_experts=4)), told(RMS, EXPERTS), stacked
    ),
    "qwen2": Case("qwen2", lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**SIZES)), told(RMS)),
    "qwen3": Case("qwen3", lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**SIZES, head_dim=8)), told(RMS, WIDE)),
    "qwen2moe": Case(
        "qwen2moe",
        lambda: t.Qwen2MoeForCausalLM(
            t.Qwen2MoeConfig(**SIZES, num_experts=4, moe_intermediate_size=16, shared_expert_intermediate_size=24)
        ),
        told(RMS, EXPERTS, expert_feed_forward_length=16, expert_shared_feed_forward_length=24),
        stacked,
    ),
    "qwen3moe": Case(
        "qwen3moe",
        lambda: t.Qwen3MoeForCausalLM(t.Qwen3MoeConfig(**SIZES, head_dim=8, num_experts=4, moe_intermediate_size=16)),
        told(RMS, WIDE, EXPERTS, expert_feed_forward_length=16),
        stacked,
    ),
    "seed_oss": Case("seed_oss", lambda: t.SeedOssForCausalLM(t.SeedOssConfig(**SIZES, head_dim=8)), told(RMS, WIDE)),
    "stablelm": Case(
        "stablelm", lambda: t.StableLmForCausalLM(t.StableLmConfig(**SIZES)), told(NORM, rope__dimension_count=2)
    ),
    "starcoder2": Case("starcoder2", lambda: t.Starcoder2ForCausalLM(t.Starcoder2Config(**SIZES)), told(NORM)),
    "command-r": Case(
        "command-r", lambda: t.CohereForCausalLM(t.CohereConfig(**SIZES)), told(NORM, logit_scale=0.0625)
    ),
    "cohere2": Case("cohere2", lambda: t.Cohere2ForCausalLM(t.Cohere2Config(**SIZES, head_dim=8)), told(NORM, WIDE)),
    "gemma": Case("gemma", lambda: t.GemmaForCausalLM(t.GemmaConfig(**SIZES, head_dim=8)), told(RMS, WIDE), one_more),
    "gemma2": Case(
        "gemma2", lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**SIZES, head_dim=8)), told(RMS, WIDE), one_more
    ),
    "gemma3": Case(
        "gemma3", lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**SIZES, head_dim=8)), told(RMS, WIDE), one_more
    ),
    "nemotron": Case(
        "nemotron",
        lambda: t.NemotronForCausalLM(t.NemotronConfig(**SIZES)),
        told(NORM, rope__dimension_count=4),
        one_more,
    ),
    "glm4": Case("glm4", lambda: t.Glm4ForCausalLM(t.Glm4Config(**SIZES, head_dim=8)), told(RMS, WIDE)),
    "phi3": Case("phi3", lambda: t.Phi3ForCausalLM(t.Phi3Config(**SIZES)), told(RMS)),
    "phi2": Case(
        "phi2",
        lambda: t.PhiForCausalLM(t.PhiConfig(**NO_GROUPS)),
        told(NORM, attention__head_count_kv=4, rope__dimension_count=4),
    ),
    "gpt2": Case(
        "gpt2",
        lambda: t.GPT2LMHeadModel(t.GPT2Config(**TINY, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
        told(NORM, feed_forward_length=128, attention__head_count_kv=4),
        flipped,
    ),
    "starcoder": Case(
        "starcoder",
        lambda: t.GPTBigCodeForCausalLM(
            t.GPTBigCodeConfig(**TINY, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=64)
        ),
        told(NORM, attention__head_count_kv=1),
    ),
    "gptneox": Case(
        "gptneox",
        lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**NO_GROUPS)),
        told(NORM, use_parallel_residual=True, rope__dimension_count=2, attention__head_count_kv=None),
        head_by_head,
    ),
    "falcon": Case(
        "falcon",
        lambda: t.FalconForCausalLM(
            t.FalconConfig(
                **TINY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, multi_query=True, alibi=False
            )
        ),
        told(NORM, feed_forward_length=128, attention__head_count_kv=1),
        groups_of(1),
    ),
    "falcon of two norms": Case(
        "falcon",
        lambda: t.FalconForCausalLM(
            t.FalconConfig(
                **TINY,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_kv_heads=2,
                new_decoder_architecture=True,
                alibi=False,
            )
        ),
        told(NORM, feed_forward_length=128),
        groups_of(2),
    ),
    "bloom": Case(
        "bloom",
        lambda: t.BloomForCausalLM(t.BloomConfig(**TINY, hidden_size=32, n_layer=2, n_head=4)),
        told(NORM, feed_forward_length=128, attention__head_count_kv=4),
        bloom,
    ),
    "mpt": Case(
        "mpt",
        lambda: t.MptForCausalLM(t.MptConfig(vocab_size=48, d_model=32, n_layers=2, n_heads=4, max_seq_len=64)),
        told(NORM, feed_forward_length=128, attention__head_count_kv=None),
    ),
    "bert": Case(
        "bert",
        lambda: t.BertModel(t.BertConfig(**NO_GROUPS), add_pooling_layer=False),
        told(NORM, attention__head_count_kv=None),
    ),
    "t5": Case(
        "t5",
        lambda: t.T5ForConditionalGeneration(
            t.T5Config(
                vocab_size=48,
                d_model=32,
                d_ff=64,
                d_kv=8,
                num_heads=4,
                num_layers=2,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
            )
        ),
        told(RMS, WIDE, attention__relative_buckets_count=32, decoder_block_count=2),
    ),
    "t5 without gates": Case(
        "t5",
        lambda: t.T5ForConditionalGeneration(
            t.T5Config(vocab_size=48, d_model=32, d_ff=64, d_kv=8, num_heads=4, num_layers=2)
        ),
        told(RMS, WIDE, attention__relative_buckets_count=32),
    ),
    "mamba": Case(
        "mamba",
        lambda: t.MambaForCausalLM(t.MambaConfig(vocab_size=48, hidden_size=32, num_hidden_layers=2, state_size=4)),
        {
            "embedding_length": 32,
            "block_count": 2,
            "ssm.inner_size": 64,
            "ssm.state_size": 4,
            "ssm.conv_kernel": 4,
            "ssm.time_step_rank": 2,
            **RMS,
        },
        mamba,
    ),
}
