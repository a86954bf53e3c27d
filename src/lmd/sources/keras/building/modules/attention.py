"""Multi-head attention whose projections are dense layers of torch."""

from functools import reduce

import torch
from torch import Tensor, nn

__all__ = ["KerasAttention"]


class KerasAttention(nn.Module):
    """Projections ``query``, ``key``, ``value`` and ``output``, kernels of all heads side by side.

    Args:
        sizes: inputs of query, key and value, in this order, and outputs of the layer.
        num_heads: of the query.
        kv_heads: of key and value.
        head_dim: width of each head's query and key.
        value_dim: width of each head's value.
        bias: whether the projections have one.
    """

    def __init__(
        self,
        sizes: tuple[int, int, int, int],
        num_heads: int,
        kv_heads: int,
        head_dim: int,
        value_dim: int,
        *,
        bias: bool,
    ) -> None:
        super().__init__()
        inputs = (*sizes[:3], num_heads * value_dim)
        outputs = (num_heads * head_dim, kv_heads * head_dim, kv_heads * value_dim, sizes[3])
        for name, into, out in zip(("query", "key", "value", "output"), inputs, outputs, strict=True):
            self.add_module(name, nn.Linear(into, out, bias=bias, device="meta"))
        self.num_heads, self.kv_heads, self.head_dim, self.value_dim = num_heads, kv_heads, head_dim, value_dim

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor,
        *masks: Tensor | None,
        causal: bool = False,
        scores: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """``(N, T, features)``; the mean of the values that each query looks at, and the weights if asked for.

        ``masks`` are those of pairs, of queries and of values.
        """
        q = self._heads("query", query, self.num_heads)
        k, v = self._heads("key", key, self.kv_heads), self._heads("value", value, self.kv_heads)
        shared = self.num_heads // self.kv_heads
        k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
        found = (q / self.head_dim**0.5) @ k.transpose(-1, -2)
        allowed = _allowed(found, masks, causal=causal)
        if allowed is not None:
            found = found.masked_fill(~allowed, torch.finfo(found.dtype).min / 2)
        weights = torch.softmax(found, dim=-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        result = self.get_submodule("output")(mixed)
        return (result, weights) if scores else result

    def _heads(self, name: str, x: Tensor, count: int) -> Tensor:
        return self.get_submodule(name)(x).unflatten(-1, (count, -1)).transpose(1, 2)


def _allowed(scores: Tensor, masks: tuple[Tensor | None, ...], *, causal: bool) -> Tensor | None:
    mask, queries, values = masks or (None, None, None)
    parts = []
    if mask is not None:
        parts.append(mask.bool() if mask.ndim == 4 else mask.bool().unsqueeze(1))
    if queries is not None:
        parts.append(queries.bool()[:, None, :, None])
    if values is not None:
        parts.append(values.bool()[:, None, None, :])
    if causal:
        parts.append(torch.ones(scores.shape[-2:], dtype=torch.bool).tril())
    return reduce(torch.logical_and, parts) if parts else None
