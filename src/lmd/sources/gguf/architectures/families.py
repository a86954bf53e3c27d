"""What the tensors of each architecture are called: ggml's words to Hugging Face's, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FAMILIES", "ROWS_AS_THEY_ARE", "UNKNOWN", "Family"]

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture.

    Attributes:
        model_type: of the config.json that declares it; '' where none does.
        top: words outside the blocks.
        block: words of a block, with ``{n}`` for its number and ``{e}`` for that of an expert.
        rotated: whether the converter sorts query and key rows so that the two parts of a rotation are neighbours.
        fused: order of the rows in a fused projection of queries, keys and values: '' one after the other, as both
            sides have it; ``heads`` head by head at Hugging Face; ``groups`` group by group.
        split: whether a fused projection is three modules at Hugging Face.
        one_more: whether the gains of norms were stored one larger.
        transposed: ggml's words for matrices that Hugging Face stores ``(in, out)``.
        tied: whether the output always is the embedding.
    """

    model_type: str
    top: Words
    block: Words
    rotated: bool = False
    fused: str = ""
    split: bool = False
    one_more: bool = False
    transposed: frozenset[str] = field(default_factory=frozenset)
    tied: bool = False


_TOP = {
    "token_embd": "model.embed_tokens",
    "token_embd_norm": "model.embed_layernorm",
    "token_types": "model.token_type_embeddings",
    "position_embd": "model.position_embeddings",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_EXPERTS = {f"ffn_{part}_exps": f"model.layers.{{n}}.mlp.experts.{{e}}.{part}_proj" for part in ("gate", "up", "down")}
_SHARED = {f"ffn_{part}_shexp": f"model.layers.{{n}}.mlp.shared_expert.{part}_proj" for part in ("gate", "up", "down")}
_LAYER = {
    **{f"attn_{part}": f"model.layers.{{n}}.self_attn.{part}_proj" for part in ("q", "k", "v", "qkv")},
    "attn_norm": "model.layers.{n}.input_layernorm",
    "attn_output": "model.layers.{n}.self_attn.o_proj",
    "attn_q_norm": "model.layers.{n}.self_attn.q_norm",
    "attn_k_norm": "model.layers.{n}.self_attn.k_norm",
    "attn_sinks": "model.layers.{n}.self_attn.sinks",
    "attn_sinks.weight": "model.layers.{n}.self_attn.sinks",
    "attn_q_a": "model.layers.{n}.self_attn.q_a_proj",
    "attn_q_a_norm": "model.layers.{n}.self_attn.q_a_layernorm",
    "attn_q_b": "model.layers.{n}.self_attn.q_b_proj",
    "attn_kv_a_mqa": "model.layers.{n}.self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "model.layers.{n}.self_attn.kv_a_layernorm",
    "attn_kv_b": "model.layers.{n}.self_attn.kv_b_proj",
    # one matrix for each head
    **{f"attn_{part}_b": f"model.layers.{{n}}.self_attn.{part}_b_proj.{{e}}" for part in ("k", "v")},
    "post_attention_norm": "model.layers.{n}.post_attention_layernorm",
    "ffn_norm": "model.layers.{n}.post_attention_layernorm",
    "post_ffw_norm": "model.layers.{n}.post_feedforward_layernorm",
    **{f"ffn_{part}": f"model.layers.{{n}}.mlp.{part}_proj" for part in ("gate", "up", "down")},
    "ffn_gate_inp": "model.layers.{n}.mlp.gate",
    "ffn_gate_inp_shexp": "model.layers.{n}.mlp.shared_expert_gate",
    "exp_probs_b.bias": "model.layers.{n}.mlp.gate.e_score_correction_bias",
    **_EXPERTS,
    **_SHARED,
}
_SANDWICHED = {**_LAYER, "ffn_norm": "model.layers.{n}.pre_feedforward_layernorm"}
_MIXTRAL = {
    **_LAYER,
    "ffn_gate_inp": "model.layers.{n}.block_sparse_moe.gate",
    **{
        f"ffn_{part}_exps": f"model.layers.{{n}}.block_sparse_moe.experts.{{e}}.{word}"
        for part, word in (("gate", "w1"), ("down", "w2"), ("up", "w3"))
    },
}
_GLM = {
    **_LAYER,
    "ffn_up": "model.layers.{n}.mlp.gate_up_proj",
    "post_attention_norm": "model.layers.{n}.post_self_attn_layernorm",
    "post_ffw_norm": "model.layers.{n}.post_mlp_layernorm",
}
_PHI = {
    **_LAYER,
    "attn_output": "model.layers.{n}.self_attn.dense",
    "ffn_up": "model.layers.{n}.mlp.fc1",
    "ffn_down": "model.layers.{n}.mlp.fc2",
}
_GPT2 = {
    "attn_norm": "transformer.h.{n}.ln_1",
    "attn_qkv": "transformer.h.{n}.attn.c_attn",
    "attn_output": "transformer.h.{n}.attn.c_proj",
    "ffn_norm": "transformer.h.{n}.ln_2",
    "ffn_up": "transformer.h.{n}.mlp.c_fc",
    "ffn_down": "transformer.h.{n}.mlp.c_proj",
}
_GPT2_TOP = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_GPTJ = {
    **{f"attn_{part}": f"transformer.h.{{n}}.attn.{part}_proj" for part in ("q", "k", "v")},
    "attn_norm": "transformer.h.{n}.ln_1",
    "attn_output": "transformer.h.{n}.attn.out_proj",
    "ffn_up": "transformer.h.{n}.mlp.fc_in",
    "ffn_down": "transformer.h.{n}.mlp.fc_out",
}
_NEOX = {
    "attn_norm": "gpt_neox.layers.{n}.input_layernorm",
    "attn_qkv": "gpt_neox.layers.{n}.attention.query_key_value",
    "attn_output": "gpt_neox.layers.{n}.attention.dense",
    "ffn_norm": "gpt_neox.layers.{n}.post_attention_layernorm",
    "ffn_up": "gpt_neox.layers.{n}.mlp.dense_h_to_4h",
    "ffn_down": "gpt_neox.layers.{n}.mlp.dense_4h_to_h",
}
_BLOOM = {
    "attn_norm": "transformer.h.{n}.input_layernorm",
    "attn_qkv": "transformer.h.{n}.self_attention.query_key_value",
    "attn_output": "transformer.h.{n}.self_attention.dense",
    "ffn_norm": "transformer.h.{n}.post_attention_layernorm",
    "ffn_up": "transformer.h.{n}.mlp.dense_h_to_4h",
    "ffn_down": "transformer.h.{n}.mlp.dense_4h_to_h",
}
_BLOOM_TOP = {
    "token_embd": "transformer.word_embeddings",
    "token_embd_norm": "transformer.word_embeddings_layernorm",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_MPT = {
    "attn_norm": "transformer.blocks.{n}.norm_1",
    "attn_qkv": "transformer.blocks.{n}.attn.Wqkv",
    "attn_output": "transformer.blocks.{n}.attn.out_proj",
    "attn_q_norm": "transformer.blocks.{n}.attn.q_ln",
    "attn_k_norm": "transformer.blocks.{n}.attn.k_ln",
    "ffn_norm": "transformer.blocks.{n}.norm_2",
    "ffn_up": "transformer.blocks.{n}.ffn.up_proj",
    "ffn_down": "transformer.blocks.{n}.ffn.down_proj",
}
_BERT = {
    "attn_q": "encoder.layer.{n}.attention.self.query",
    "attn_k": "encoder.layer.{n}.attention.self.key",
    "attn_v": "encoder.layer.{n}.attention.self.value",
    "attn_output": "encoder.layer.{n}.attention.output.dense",
    "attn_output_norm": "encoder.layer.{n}.attention.output.LayerNorm",
    "ffn_up": "encoder.layer.{n}.intermediate.dense",
    "ffn_down": "encoder.layer.{n}.output.dense",
    "layer_output_norm": "encoder.layer.{n}.output.LayerNorm",
}
_BERT_TOP = {
    "token_embd": "embeddings.word_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
}
_MAMBA = {
    "attn_norm": "backbone.layers.{n}.norm",
    "ssm_in": "backbone.layers.{n}.mixer.in_proj",
    "ssm_conv1d": "backbone.layers.{n}.mixer.conv1d",
    "ssm_x": "backbone.layers.{n}.mixer.x_proj",
    "ssm_dt": "backbone.layers.{n}.mixer.dt_proj",
    "ssm_a": "backbone.layers.{n}.mixer.A_log",
    "ssm_d": "backbone.layers.{n}.mixer.D",
    "ssm_out": "backbone.layers.{n}.mixer.out_proj",
}
_MAMBA_TOP = {"token_embd": "backbone.embeddings", "output_norm": "backbone.norm_f", "output": "lm_head"}


def _t5_half(half: str, word: str, feed: int, up: str = "wi_1") -> Words:
    layer = f"{word}.block.{{n}}.layer"
    return {
        **{f"{half}.attn_{part}": f"{layer}.0.SelfAttention.{part}" for part in ("q", "k", "v", "o")},
        f"{half}.attn_rel_b": f"{layer}.0.SelfAttention.relative_attention_bias",
        f"{half}.attn_norm": f"{layer}.0.layer_norm",
        **{f"{half}.cross_attn_{part}": f"{layer}.1.EncDecAttention.{part}" for part in ("q", "k", "v", "o")},
        f"{half}.cross_attn_norm": f"{layer}.1.layer_norm",
        f"{half}.ffn_gate": f"{layer}.{feed}.DenseReluDense.wi_0",
        f"{half}.ffn_up": f"{layer}.{feed}.DenseReluDense.{up}",
        f"{half}.ffn_down": f"{layer}.{feed}.DenseReluDense.wo",
        f"{half}.ffn_norm": f"{layer}.{feed}.layer_norm",
    }


_T5 = {**_t5_half("enc", "encoder", 1), **_t5_half("dec", "decoder", 2)}
_T5_PLAIN = {**_t5_half("enc", "encoder", 1, "wi"), **_t5_half("dec", "decoder", 2, "wi")}
_T5_TOP = {
    "token_embd": "shared",
    "output": "lm_head",
    "enc.output_norm": "encoder.final_layer_norm",
    "dec.output_norm": "decoder.final_layer_norm",
}


def _llama(model_type: str = "llama", *, rotated: bool = False, block: Words = _LAYER) -> Family:
    return Family(model_type, _TOP, block, rotated=rotated)


UNKNOWN = Family("", _TOP, _LAYER)
"""The words most architectures share."""

_SORTED_ONLY = (
    *("arctic", "bailingmoe", "chameleon", "deci", "deepseek", "granitehybrid", "granitemoe", "llama-embed"),
    "minicpm",
)
"""Rows are sorted, and no declaration is made."""

ROWS_AS_THEY_ARE = frozenset(
    (
        *("afmoe", "apertus", "bailingmoe2", "bitnet", "chatglm", "codeshell", "cogvlm", "dbrx", "deepseek2", "dots1"),
        *("dream", "ernie4_5", "ernie4_5-moe", "eurobert", "exaone-moe", "exaone4", "falcon-h1", "gemma-embedding"),
        *("gemma3n", "gemma4", "glm4moe", "gpt-oss", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe", "jais"),
        *("jais2", "jamba", "jina-bert-v2", "jina-bert-v3", "lfm2", "lfm2moe", "llada-moe", "llama4", "mimo2"),
        *("minicpm3", "minimax-m2", "mistral4", "modern-bert", "nemotron_h", "nemotron_h_moe", "neo-bert"),
        *("nomic-bert", "nomic-bert-moe", "openelm", "orion", "pangu-embedded", "phimoe", "plm", "qwen", "qwen3next"),
        *("qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "refact", "rnd1", "smallthinker", "step35"),
    )
)
"""Architectures without words of their own, in whose files query and key rows stand as at Hugging Face."""

FAMILIES = {
    "llama": _llama(rotated=True),
    "mixtral": _llama("mixtral", rotated=True, block=_MIXTRAL),
    **{name: _llama(rotated=True) for name in ("baichuan", "internlm2", "xverse", "llada", "mistral3")},
    **{name: _llama(name, rotated=True) for name in ("granite", "olmo", "smollm3", "arcee")},
    **{name: _llama("", rotated=True) for name in _SORTED_ONLY},
    **{name: _llama(name) for name in ("qwen2", "qwen3", "olmo2", "olmoe", "stablelm", "seed_oss", "cohere2")},
    "qwen2vl": _llama("qwen2"),
    "qwen2moe": _llama("qwen2_moe"),
    "qwen3moe": _llama("qwen3_moe"),
    "command-r": _llama("cohere"),
    "exaone": _llama("llama"),
    "gemma": Family("gemma", _TOP, _LAYER, one_more=True, tied=True),
    "gemma2": Family("gemma2", _TOP, _SANDWICHED, one_more=True, tied=True),
    "gemma3": Family("gemma3_text", _TOP, _SANDWICHED, one_more=True, tied=True),
    "nemotron": Family("nemotron", _TOP, _LAYER, one_more=True),
    "glm4": _llama("glm4", block=_GLM),
    "phi3": _llama("phi3", block={**_LAYER, "ffn_up": "model.layers.{n}.mlp.gate_up_proj"}),
    "phi2": Family("phi", {**_TOP, "output_norm": "model.final_layernorm"}, _PHI, split=True),
    "starcoder2": _llama(
        "starcoder2",
        block={**_LAYER, "ffn_up": "model.layers.{n}.mlp.c_fc", "ffn_down": "model.layers.{n}.mlp.c_proj"},
    ),
    "gpt2": Family(
        "gpt2",
        _GPT2_TOP,
        _GPT2,
        transposed=frozenset({"attn_qkv", "attn_output", "ffn_up", "ffn_down"}),
        tied=True,
    ),
    "starcoder": Family("gpt_bigcode", _GPT2_TOP, _GPT2, tied=True),
    "gptj": Family("gptj", _GPT2_TOP, _GPTJ),
    "gptneox": Family(
        "gpt_neox",
        {
            "token_embd": "gpt_neox.embed_in",
            "output_norm": "gpt_neox.final_layer_norm",
            "output": "embed_out",
        },
        _NEOX,
        fused="heads",
    ),
    "falcon": Family("falcon", _BLOOM_TOP, _BLOOM, fused="groups"),
    "falcon of two norms": Family(
        "falcon",
        _BLOOM_TOP,
        {**_BLOOM, "attn_norm": "transformer.h.{n}.ln_mlp", "attn_norm_2": "transformer.h.{n}.ln_attn"},
        fused="groups",
    ),
    "bloom": Family("bloom", _BLOOM_TOP, _BLOOM, fused="heads", tied=True),
    "mpt": Family("mpt", {**_GPT2_TOP, "output_norm": "transformer.norm_f"}, _MPT, tied=True),
    "bert": Family("bert", _BERT_TOP, _BERT, tied=True),
    "t5": Family("t5", _T5_TOP, _T5),
    "t5encoder": Family("t5", _T5_TOP, _T5),
    "t5 without gates": Family("t5", _T5_TOP, _T5_PLAIN),
    "t5encoder without gates": Family("t5", _T5_TOP, _T5_PLAIN),
    "mamba": Family("mamba", _MAMBA_TOP, _MAMBA),
}
