"""What a GGUF file says of rotary positions, in the words of a config.json. Needs no torch."""

from collections.abc import Mapping, Sequence
from math import isfinite, log
from typing import Any

from lmd.sources.gguf.shelf import Shelf

__all__ = ["FREQUENCIES", "rotary_config", "with_factors"]

FREQUENCIES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that each angle is divided by."""
_ALL, _LONG, _SHORT = FREQUENCIES
_DEFAULT_BASE = 10000.0
"""What llama.cpp takes where a file tells none."""


def rotary_config(shelf: Shelf) -> dict[str, Any]:
    """Base, share of a head that turns, and how far angles are stretched."""
    width, turning = shelf.count("attention.key_length"), shelf.count("rope.dimension_count")
    base = shelf.number("rope.freq_base") or _DEFAULT_BASE
    share = {"partial_rotary_factor": turning / width} if 0 < turning < width else {}
    local = shelf.number("rope.freq_base_swa")
    return {
        "rope_theta": base,
        # by the name that another architecture has for it
        "rotary_emb_base": base,
        **({"rope_local_base_freq": local} if local else {}),
        **share,
        **_scaled(shelf),
    }


def _scaled(shelf: Shelf) -> dict[str, Any]:
    kind, factor = shelf.value("rope.scaling.type") or "linear", shelf.number("rope.scaling.factor")
    factor = factor or shelf.number("rope.scale_linear")
    if kind not in ("linear", "yarn") or not factor or factor == 1:
        return {}
    if kind == "linear":
        return {"rope_scaling": {"rope_type": "linear", "factor": factor}}
    scaling: dict[str, Any] = {"rope_type": "yarn", "factor": factor}
    for word, key in _YARN.items():
        if (told := shelf.value(key)) is not None:
            scaling[word] = told
    if (strength := shelf.number("rope.scaling.attn_factor")) is not None and factor > 1:
        scaling["attention_factor"] = strength * (1 + 0.1 * log(factor))
    return {"rope_scaling": scaling}


_YARN = {
    "original_max_position_embeddings": "rope.scaling.original_context_length",
    "beta_fast": "rope.scaling.yarn_beta_fast",
    "beta_slow": "rope.scaling.yarn_beta_slow",
}


def with_factors(config: Mapping[str, Any], shelf: Shelf, factors: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The same with the tensors of factors that the file holds.

    Each angle is divided by its factor, which is what ``longrope`` says of any factors, however they were found.

    Raises:
        ValueError: no angle can be divided by them.
    """
    if any(not isfinite(factor) or factor <= 0 for numbers in factors.values() for factor in numbers):
        raise ValueError("factors of rotary positions are not all above 0")
    scaling = config.get("rope_scaling", {})
    trained = shelf.count("rope.scaling.original_context_length") or shelf.count("context_length")
    found: dict[str, Any] = {"rope_type": "longrope", "original_max_position_embeddings": trained}
    if _ALL in factors and any(factor != 1 for factor in factors[_ALL]):
        if scaling.get("rope_type") == "yarn":
            raise ValueError("factors of rotary positions stand beside those of yarn")
        both = [factor * scaling.get("factor", 1.0) for factor in factors[_ALL]]
        found |= {"short_factor": both, "long_factor": both, "attention_factor": 1.0}
    elif _SHORT in factors and _LONG in factors:
        found |= {"short_factor": list(factors[_SHORT]), "long_factor": list(factors[_LONG])}
        found["attention_factor"] = shelf.number("rope.scaling.attn_factor") or 1.0
    else:
        return dict(config)
    return {**config, "original_max_position_embeddings": trained, "rope_scaling": found}
