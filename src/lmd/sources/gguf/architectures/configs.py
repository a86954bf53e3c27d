"""What a GGUF file's metadata says, in the words of the config.json of its architecture. Needs no torch."""

from collections.abc import Callable, Collection
from typing import Any

from lmd.sources.gguf.architectures.families import Family
from lmd.sources.gguf.architectures.names import Named
from lmd.sources.gguf.architectures.positions import rotary_config
from lmd.sources.gguf.shelf import Shelf

__all__ = ["UNGROUPED", "config_of"]

_SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "norm_eps": "attention.layer_norm_epsilon",
    "norm_epsilon": "attention.layer_norm_epsilon",
    "sliding_window": "attention.sliding_window",
    "num_local_experts": "expert_count",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "logit_scale": "logit_scale",
}
"""Words that many architectures share; an architecture passes over those it does not know."""

_OTHER_SIZES: dict[str, dict[str, str]] = {
    "gpt2": {
        "n_embd": "embedding_length",
        "n_head": "attention.head_count",
        "n_layer": "block_count",
        "n_positions": "context_length",
        "n_inner": "feed_forward_length",
        "layer_norm_epsilon": "attention.layer_norm_epsilon",
    },
    "bloom": {
        "hidden_size": "embedding_length",
        "n_head": "attention.head_count",
        "n_layer": "block_count",
        "layer_norm_epsilon": "attention.layer_norm_epsilon",
    },
    "mpt": {
        "d_model": "embedding_length",
        "n_heads": "attention.head_count",
        "n_layers": "block_count",
        "max_seq_len": "context_length",
        "layer_norm_epsilon": "attention.layer_norm_epsilon",
    },
    "t5": {
        "d_model": "embedding_length",
        "d_ff": "feed_forward_length",
        "d_kv": "attention.key_length",
        "num_heads": "attention.head_count",
        "num_layers": "block_count",
        "relative_attention_num_buckets": "attention.relative_buckets_count",
        "layer_norm_epsilon": "attention.layer_norm_rms_epsilon",
    },
    "mamba": {
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "intermediate_size": "ssm.inner_size",
        "state_size": "ssm.state_size",
        "conv_kernel": "ssm.conv_kernel",
        "time_step_rank": "ssm.time_step_rank",
        "layer_norm_epsilon": "attention.layer_norm_rms_epsilon",
    },
}
_OTHER_SIZES["gpt_bigcode"] = _OTHER_SIZES["gptj"] = _OTHER_SIZES["gpt2"]

_UNTURNED = ("bert", "bloom", "gpt2", "gpt_bigcode", "mamba", "mpt", "t5")
"""Those without rotary positions."""
UNGROUPED = (*_UNTURNED, "gptj")
"""Those with a key for each query, whatever is said of groups."""

_CLASSES = {
    "bert": "BertModel",
    "bloom": "BloomForCausalLM",
    "cohere": "CohereForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "falcon": "FalconForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "glm4": "Glm4ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_bigcode": "GPTBigCodeForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
    "gptj": "GPTJForCausalLM",
    "granite": "GraniteForCausalLM",
    "arcee": "ArceeForCausalLM",
    "llama": "LlamaForCausalLM",
    "mamba": "MambaForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "mpt": "MptForCausalLM",
    "nemotron": "NemotronForCausalLM",
    "olmo": "OlmoForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmoe": "OlmoeForCausalLM",
    "phi": "PhiForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "seed_oss": "SeedOssForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "stablelm": "StableLmForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
    "t5": "T5ForConditionalGeneration",
}


class _Told:
    """What a file tells, for the settings that are not numbers of its metadata."""

    def __init__(self, family: Family, shelf: Shelf, tensors: Collection[Named]) -> None:
        self.family, self.shelf = family, shelf
        self.shapes = {tensor.name: tensor.shape for tensor in tensors}
        self.words = frozenset(tensor.stored.name for tensor in tensors)

    def has(self, *words: str) -> bool:
        """Whether the file has a tensor of one of the names, in ggml's words."""
        return any(word in self.words for word in words)

    def rows(self, word: str) -> int:
        """Rows of the tensor outside the blocks, by ggml's word; 0 if there is none."""
        shape = self.shapes.get(f"{self.family.top.get(word, '')}.weight", ())
        return shape[0] if shape else 0


def config_of(family: Family, shelf: Shelf, tensors: Collection[Named]) -> dict[str, Any]:
    """A mapping as in a config.json; empty where the architecture has none, or its layers differ from each other."""
    if not family.model_type:
        return {}
    told = _Told(family, shelf, tensors)
    config: dict[str, Any] = {"model_type": family.model_type, "vocab_size": told.rows("token_embd")}
    # some architectures have one by default, beyond a small vocabulary
    config["pad_token_id"] = None
    if family.model_type in _CLASSES:
        config["architectures"] = [_CLASSES[family.model_type]]
    for word, key in _OTHER_SIZES.get(family.model_type, _SIZES).items():
        value = shelf.value(key)
        if isinstance(value, list):
            if len(set(map(str, value))) != 1:
                return {}
            value = value[0]
        if isinstance(value, int | float):
            config[word] = value
    if family.model_type != "t5":
        config["tie_word_embeddings"] = family.tied or not told.has("output.weight")
    turned = rotary_config(shelf) if family.model_type not in _UNTURNED else {}
    return {**config, **turned, **_MORE.get(family.model_type, _nothing)(told)}


def _nothing(told: _Told) -> dict[str, Any]:
    return {}


def _turning(told: _Told) -> dict[str, Any]:
    """The share of a head that turns with the position."""
    shelf = told.shelf
    heads = shelf.count("attention.head_count")
    width = shelf.count("attention.key_length") or (shelf.count("embedding_length") // heads if heads else 0)
    turning = shelf.count("rope.dimension_count")
    return {"partial_rotary_factor": turning / width} if width and turning else {}


def _llama(told: _Told) -> dict[str, Any]:
    biased = told.has("blk.0.attn_q.bias")
    return {"attention_bias": biased, "mlp_bias": told.has("blk.0.ffn_up.bias")}


def _qwen_experts(told: _Told) -> dict[str, Any]:
    sparse = told.has("blk.0.ffn_gate_exps.weight")
    inner = told.shelf.count("expert_feed_forward_length")
    shared = told.shapes.get("model.layers.0.mlp.shared_expert.up_proj.weight")
    found: dict[str, Any] = {"decoder_sparse_step": 1} if sparse else {}
    if not inner:
        expert = told.shapes.get("model.layers.0.mlp.experts.0.up_proj.weight")
        found.update({"moe_intermediate_size": expert[0]} if expert else {})
    return {**found, **({"shared_expert_intermediate_size": shared[0]} if shared else {})}


def _mixtral(told: _Told) -> dict[str, Any]:
    return {"attention_bias": told.has("blk.0.attn_q.bias")}


def _cohere(told: _Told) -> dict[str, Any]:
    return {"use_qk_norm": told.has("blk.0.attn_q_norm.weight")}


def _stablelm(told: _Told) -> dict[str, Any]:
    parallel = not told.has("blk.0.ffn_norm.weight")
    biased = told.has("blk.0.attn_q.bias")
    return {"use_qkv_bias": biased, "use_parallel_residual": parallel, **_turning(told)}


def _starcoder2(told: _Told) -> dict[str, Any]:
    return {"use_bias": told.has("blk.0.attn_q.bias")}


def _gpt_bigcode(told: _Told) -> dict[str, Any]:
    return {"multi_query": told.shelf.count("attention.head_count_kv") == 1}


def _gpt2(told: _Told) -> dict[str, Any]:
    return {"n_positions": told.rows("position_embd")} if told.rows("position_embd") else {}


def _gptj(told: _Told) -> dict[str, Any]:
    return {"rotary_dim": told.shelf.count("rope.dimension_count")}


def _gpt_neox(told: _Told) -> dict[str, Any]:
    parallel = told.shelf.value("use_parallel_residual")
    share = _turning(told).get("partial_rotary_factor", 1.0)
    return {
        "use_parallel_residual": parallel is not False,
        "attention_bias": told.has("blk.0.attn_qkv.bias"),
        "rotary_pct": share,
    }


def _falcon(told: _Told) -> dict[str, Any]:
    groups, both = told.shelf.count("attention.head_count_kv"), told.has("blk.0.attn_norm_2.weight")
    new = both or 1 < groups < told.shelf.count("attention.head_count")
    return {
        "multi_query": groups == 1,
        "num_kv_heads": groups,
        "new_decoder_architecture": new,
        "parallel_attn": not told.has("blk.0.ffn_norm.weight"),
        "num_ln_in_parallel_attn": 2 if both else 1,
        "bias": told.has("blk.0.attn_qkv.bias"),
        "ffn_hidden_size": told.shelf.count("feed_forward_length") or None,
        "layer_norm_epsilon": told.shelf.value("attention.layer_norm_epsilon") or 1e-5,
        "alibi": False,
    }


def _mpt(told: _Told) -> dict[str, Any]:
    width = told.shelf.count("embedding_length")
    inner = told.shelf.count("feed_forward_length")
    ratio = {"expansion_ratio": inner // width} if width and inner else {}
    return {**ratio, "no_bias": not told.has("blk.0.attn_qkv.bias")}


def _bert(told: _Told) -> dict[str, Any]:
    found: dict[str, Any] = {"type_vocab_size": told.rows("token_types") or 2}
    return {**found, "max_position_embeddings": told.rows("position_embd")} if told.rows("position_embd") else found


def _t5(told: _Told) -> dict[str, Any]:
    gated = told.has("enc.blk.0.ffn_gate.weight")
    decoder = told.shelf.count("decoder_block_count")
    found = {
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "tie_word_embeddings": not told.has("output.weight"),
        **({"num_decoder_layers": decoder} if decoder else {}),
    }
    return found if told.has("dec.blk.0.attn_q.weight") else {**found, "architectures": ["T5EncoderModel"]}


def _mamba(told: _Told) -> dict[str, Any]:
    return {"use_conv_bias": told.has("blk.0.ssm_conv1d.bias"), "use_bias": told.has("blk.0.ssm_in.bias")}


def _gemma(told: _Told) -> dict[str, Any]:
    return {"hidden_activation": "gelu_pytorch_tanh"}


_MORE: dict[str, Callable[[_Told], dict[str, Any]]] = {
    **dict.fromkeys(("llama", "granite", "olmo", "olmo2", "olmoe", "smollm3", "arcee", "seed_oss"), _llama),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), _qwen_experts),
    **dict.fromkeys(("cohere", "cohere2"), _cohere),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), _gemma),
    "mixtral": _mixtral,
    "stablelm": _stablelm,
    "starcoder2": _starcoder2,
    "gpt_bigcode": _gpt_bigcode,
    "gpt2": _gpt2,
    "gptj": _gptj,
    "gpt_neox": _gpt_neox,
    "falcon": _falcon,
    "mpt": _mpt,
    "bert": _bert,
    "t5": _t5,
    "mamba": _mamba,
    "phi": _turning,
    "glm4": _turning,
    "nemotron": _turning,
    "phi3": _turning,
}
