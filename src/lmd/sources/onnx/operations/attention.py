"""Attention as one operation, and rotary positions."""

import math

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation

__all__: list[str] = []


def _heads(x: Tensor, count: int) -> Tensor:
    return x if x.ndim == 4 else x.unflatten(-1, (count, -1)).transpose(1, 2)


@operation("onnx.Attention")
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    scale: float = 0.0,
    softcap: float = 0.0,
    softmax_precision: int = 0,
) -> tuple[Tensor, ...]:
    """Of each head, groups of queries sharing keys where there are fewer of those."""
    flat = query.ndim == 3
    q, k, v = _heads(query, q_num_heads), _heads(key, kv_num_heads), _heads(value, kv_num_heads)
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], dim=2), torch.cat([past_value, v], dim=2)
    shared = q.shape[1] // k.shape[1]
    factor = math.sqrt(scale or 1.0 / math.sqrt(q.shape[-1]))
    logits = (q * factor) @ (k.repeat_interleave(shared, dim=1) * factor).mT
    shown = [logits]
    masked = logits + _mask(logits, mask, is_causal, 0 if past_key is None else past_key.shape[2])
    shown.append(masked)
    capped = softcap * torch.tanh(masked / softcap) if softcap else masked
    shown.append(capped)
    weights = torch.softmax(capped.float() if capped.dtype is torch.float16 else capped, dim=-1).to(v.dtype)
    shown.append(weights)
    made = weights @ v.repeat_interleave(shared, dim=1)
    made = made.transpose(1, 2).flatten(2) if flat else made
    return made, k, v, shown[qk_matmul_output_mode]


def _mask(logits: Tensor, mask: Tensor | None, causal: int, past: int) -> Tensor:
    total = torch.zeros_like(logits[:1, :1])
    lowest = torch.full_like(total, float("-inf"))
    if mask is not None:
        missing = logits.shape[-1] - mask.shape[-1]
        if mask.dtype is torch.bool:
            mask = torch.where(mask, 0.0, float("-inf")).to(logits.dtype)
        if missing > 0:
            mask = torch.nn.functional.pad(mask, (0, missing), value=float("-inf"))
        total = total + mask
    if causal:
        total = torch.where(torch.ones_like(total, dtype=torch.bool).tril(past), total, lowest)
    return total


@operation("onnx.com.microsoft.MultiHeadAttention")
def multi_head_attention(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
    *past: Tensor | None,
    num_heads: int,
    unidirectional: int = 0,
    scale: float = 0.0,
    mask_filter_value: float = -10000.0,
) -> tuple[Tensor, ...]:
    """Onnxruntime's, with biases before and masks of whole numbers.

    Raises:
        ValueError: queries, keys and values came in one tensor, or the past of another kind.
    """
    if key is None or value is None or query.ndim != 3 or len(past) > 2:
        raise ValueError("a MultiHeadAttention of packed queries, keys and values, or with cached states, is not run.")
    if bias is not None:
        shifts = bias.split([part.shape[-1] if part.ndim == 3 else 0 for part in (query, key, value)])
        query, key, value = (x + b if len(b) else x for x, b in zip((query, key, value), shifts, strict=True))
    if mask is not None:
        hidden = torch.where(_shown(mask, key.shape[-2]), 0.0, mask_filter_value).to(query.dtype)
        added = hidden if added is None else added + hidden
    settings = {"is_causal": unidirectional, "q_num_heads": num_heads, "kv_num_heads": num_heads, "scale": scale}
    return attention(query, key, value, added, *past, **settings)[:3]


def _shown(mask: Tensor, steps: int) -> Tensor:
    """Which keys a mask shows, with an axis for heads and one for queries: by length, by key, or by query and key."""
    if mask.ndim == 1:
        mask = torch.arange(steps) < mask[:, None]
    return (mask > 0)[:, None, None] if mask.ndim == 2 else (mask > 0)[:, None]


@operation("onnx.RotaryEmbedding")
def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    places: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Pairs of entries turned by an angle that grows with the position."""
    heads = _heads(x, num_heads)
    width = rotary_embedding_dim or heads.shape[-1]
    turned, rest = heads[..., :width], heads[..., width:]
    cos, sin = ((t[places] if places is not None else t)[..., : width // 2].unsqueeze(1) for t in (cos, sin))
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, dim=-1)
    real, imaginary = a * cos - b * sin, a * sin + b * cos
    pairs = torch.stack([real, imaginary], dim=-1).flatten(-2)
    made = pairs if interleaved else torch.cat([real, imaginary], dim=-1)
    made = torch.cat([made, rest], dim=-1)
    return made if x.ndim == 4 else made.transpose(1, 2).flatten(2)
