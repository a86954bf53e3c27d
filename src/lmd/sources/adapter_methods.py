"""Ways to adapt a layer beside low-rank products: the names of their tensors, and what can be said of each.

Needs no torch.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

__all__ = ["OTHER_ROLES", "ROLES", "SHARED", "method_of", "reason_of"]

SHARED = ("vera_A", "vera_B", "randlora_A", "randlora_B", "vblora_vector_bank")
"""Tensors that peft keeps once for all the layers it changes."""

_COMPLETE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ia3": frozenset(["ia3_l"]),
        "oft": frozenset(["oft_R"]),
        "boft": frozenset(["boft_R", "boft_s"]),
        "hra": frozenset(["hra_u"]),
        "fourierft": frozenset(["fourierft_spectrum"]),
        "vblora": frozenset(["vblora_logits_A", "vblora_logits_B", "vblora_vector_bank"]),
        "vera": frozenset(["vera_A", "vera_B", "vera_lambda_b", "vera_lambda_d"]),
        "randlora": frozenset(["randlora_A", "randlora_B", "randlora_gamma", "randlora_lambda"]),
        "hira": frozenset(["hira_A", "hira_B"]),
        "rows": frozenset(["trainable_tokens_delta"]),
    }
)
"""Methods whose updates are computed, with every tensor that this takes."""

_WORDS = {
    "ia3": "IA3",
    "oft": "OFT",
    "boft": "BOFT",
    "hra": "HRA",
    "fourierft": "FourierFT",
    "vblora": "VB-LoRA",
    "vera": "VeRA",
    "randlora": "RandLoRA",
    "hira": "HiRA",
    "lora": "LoRA",
    "lokr": "LoKr",
    "hada": "LoHa",
    "prompt": "prompt or prefix tuning",
    "adaption": "adaption prompts",
    "dora": "weight-decomposed adapters",
}
ROLES = (
    *(role for roles in _COMPLETE.values() for role in sorted(roles)),
    *("vblora_logits_A_topk_indices", "vblora_logits_A_topk_weights"),
    *("vblora_logits_B_topk_indices", "vblora_logits_B_topk_weights"),
    *("hira_A", "hira_B", "hira_embedding_A", "hira_embedding_B", "oft_r", "oft_embedding_R", "lora_diag"),
)
"""Names of tensors that may be followed by that of the adapter."""

OTHER_ROLES = (
    *("adamss_A", "adamss_B", "c3a_kernel", "deft_P", "deft_R", "deft_decomposition", "delora_A", "delora_B"),
    *("delora_lambda", "delora_w_norm", "frod_lambda_l", "frod_lambda_s_values", "frod_V", "frod_U", "glora_A"),
    *("glora_B", "glora_C", "glora_D", "gralora_A", "gralora_B", "gralora_A_general", "gralora_B_general"),
    *("lily_A", "lily_B", "lily_router", "miss_block", "bone_block", "osf_svd_params", "peanut_A", "peanut_B"),
    *("peanut_encoders", "peanut_decoders", "poly_lora_A", "poly_lora_B", "poly_router", "psoft_R", "psoft_alpha"),
    *("pvera_lambda_b", "pvera_lambda_d", "pvera_A", "pvera_B", "road_theta", "road_alpha", "shira_weight"),
    *("shira_indices", "supertuning_values", "supertuning_lora_A", "supertuning_lora_B", "supertuning_indices"),
    *("tinylora_v", "tinylora_A", "tinylora_B", "tinylora_P", "unilora_theta_d", "unilora_indices_A"),
    *("unilora_indices_B", "waveft_spectrum", "oft_blocks", "oft_diag"),
    *("prompt_embeddings", "adaption_prompt", "adaption_gate"),
    "trainable_tokens_delta",
)
"""Names of tensors of methods that are named, not computed; what follows them belongs to the tensor."""


def method_of(roles: Collection[str]) -> str:
    """The method that can be computed of these tensors, else ``other``."""
    own = frozenset(roles)
    return next((method for method, needed in _COMPLETE.items() if needed <= own), "other")


def reason_of(roles: Collection[str]) -> str:
    """Why tensors that look like an adapter give no update."""
    first = min(roles)
    stem = first.partition("_")[0]
    words = _WORDS.get(stem, stem)
    if stem in ("prompt", "adaption"):
        return f"{words}: vectors put before the sequence or among the keys and values, no update of a layer's weight"
    if set(roles) <= set(SHARED):
        return f"{words}: shared by the layers that are changed, whose rows hold their updates"
    if any("_topk_" in role for role in roles):
        return f"{words}: saved as the places and weights of its leading vectors (peft: save_only_topk_weights)"
    needed = _COMPLETE.get(stem, frozenset())
    missing = sorted(needed - set(roles))
    if needed and missing and all(role in SHARED for role in missing):
        return f"{words}: the file lacks {', '.join(missing)}, which all layers share (peft: save_projection=False)"
    return f"{words}: how {', '.join(sorted(roles))} change a layer is not computed by lmd"
