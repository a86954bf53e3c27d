"""Attention in forms whose heads nobody counts by the usual names; each module splits by its own code."""

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from tests.attention_examples import Attention, Heads, Matrices, RMSNorm, heads_first, rows_of, turned


class ByHead(Attention):
    """As in TinyViT and EfficientFormer: each head's query, key and wider value, as its own attributes say."""

    out = "proj"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.key_dim, self.d = 3, 2, 4
        self.qkv, self.proj = nn.Linear(6, 3 * 8, bias=False), nn.Linear(12, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.qkv(x).view(len(x), 3, 8).split([2, 2, 4], dim=2)
        return q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)


class Tutorial(Attention):
    """Each head's query, key and value under a name that others give to blocks."""

    out = "o_proj"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.qkv_proj, self.o_proj = nn.Linear(6, 18, bias=False), nn.Linear(6, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.qkv_proj(x).view(len(x), 2, 9).transpose(0, 1).chunk(3, dim=2)
        return q, k, v


class KeysFirst(Attention):
    """Blocks in another order, and a number of heads under no known name."""

    out = "proj"

    def __init__(self) -> None:
        super().__init__()
        self.kqv, self.proj = nn.Linear(6, 18, bias=False), nn.Linear(6, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        k, q, v = (heads_first(part, 3) for part in self.kqv(x).chunk(3, dim=1))
        return q, k, v


class Uncounted(Attention):
    """Separate projections of heads that only the forward pass knows."""

    out = "wo"

    def __init__(self) -> None:
        super().__init__()
        self.wq, self.wk, self.wv = (
            nn.Linear(6, 8, bias=False),
            nn.Linear(6, 4, bias=False),
            nn.Linear(6, 4, bias=False),
        )
        self.wo = nn.Linear(8, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        return heads_first(self.wq(x), 4), heads_first(self.wk(x), 2), heads_first(self.wv(x), 2)


class Annotated(Attention):
    """Four equal maps in a list, as in the Annotated Transformer."""

    out = "linears.3"

    def __init__(self) -> None:
        super().__init__()
        self.h, self.d_k = 2, 3
        self.linears = nn.ModuleList(nn.Linear(6, 6, bias=False) for _ in range(4))

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(layer(x), 2) for layer in self.linears[:3])


class Disentangled(Attention):
    """As in the first DeBERTa: ``in_proj`` head by head, biases of queries and values beside it."""

    out = "o_proj"

    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads = 2
        self.in_proj, self.o_proj = nn.Linear(6, 18, bias=False), nn.Linear(6, 6, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.zeros(6))
        self.shifted = False

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.in_proj(x).view(len(x), 2, 9).transpose(0, 1).chunk(3, dim=2)
        if self.shifted:
            q, v = (part + bias.view(2, 1, 3) for part, bias in ((q, self.q_bias), (v, self.v_bias)))
        return q, k, v


class Shared(Attention):
    """One projection for query and key."""

    out = "to_out"

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.to_qk, self.to_v = nn.Linear(6, 8, bias=False), nn.Linear(6, 8, bias=False)
        self.to_out = nn.Linear(8, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        q = heads_first(self.to_qk(x), 2)
        return q, q, heads_first(self.to_v(x), 2)


class Halves(Shared):
    """Query and key in one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qk = nn.Linear(6, 16, bias=False)

    def split(self, x: Tensor) -> Heads:
        q, k = (heads_first(part, 2) for part in self.to_qk(x).chunk(2, dim=1))
        return q, k, heads_first(self.to_v(x), 2)


class ColumnParallelLinear(nn.Module):
    """A linear layer of a library that cuts it over devices."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, output_size
        self.weight = nn.Parameter(torch.empty(output_size, input_size))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


class Megatron(Attention):
    """Each group of queries with its key and value."""

    out = "linear_proj"

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_attention_heads=4, num_query_groups=2, kv_channels=3)
        self.linear_qkv, self.linear_proj = ColumnParallelLinear(6, 24), ColumnParallelLinear(12, 6)

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.linear_qkv(x).view(len(x), 2, 12).split([6, 3, 3], dim=2)
        return q.reshape(len(x), 4, 3).transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)


class WithHeadsFirst(Attention):
    """Weights as in TransformerLens."""

    out = "W_O"

    def __init__(self) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V = (nn.Parameter(torch.empty(2, 6, 3)) for _ in range(3))
        self.W_O = nn.Parameter(torch.empty(2, 3, 6))
        self.b_Q = self.b_K = self.b_V = None

    def with_biases(self) -> "WithHeadsFirst":
        self.b_Q, self.b_K, self.b_V = (nn.Parameter(torch.empty(2, 3)) for _ in range(3))
        return self

    def split(self, x: Tensor) -> Heads:
        weights, biases = (self.W_Q, self.W_K, self.W_V), (self.b_Q, self.b_K, self.b_V)
        return tuple(
            torch.einsum("nm,hmd->hnd", x, W) + (0 if b is None else b[:, None])
            for W, b in zip(weights, biases, strict=True)
        )

    def written(self, mixed: Tensor) -> Tensor:
        return torch.einsum("nhd,hdm->nm", mixed.unflatten(1, (2, 3)), self.W_O)


class WithHeadsBetween(Attention):
    """Weights as in XLNet."""

    out = "o"

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Parameter(torch.empty(6, 2, 3)) for _ in range(4))

    def split(self, x: Tensor) -> Heads:
        return tuple(torch.einsum("nm,mhd->hnd", x, W) for W in (self.q, self.k, self.v))

    def written(self, mixed: Tensor) -> Tensor:
        return torch.einsum("nhd,mhd->nm", mixed.unflatten(1, (2, 3)), self.o)


class Pictures(Attention):
    """Takes tokens, or pictures with the channels first; projections are convolutions of one position."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x[0].flatten(1).T).T.reshape(1, -1, *x.shape[2:])

    def convolved(self, layer: nn.Module, x: Tensor) -> Tensor:
        return (
            layer(x.T.reshape(1, x.shape[1], *(len(x) if n == 0 else 1 for n in range(layer.weight.ndim - 2))))[0]
            .flatten(1)
            .T
        )

    def written(self, mixed: Tensor) -> Tensor:
        return self.convolved(self.get_submodule(self.out), mixed)


class Diffusion(Pictures):
    """A single head that no attribute counts, as in diffusion models."""

    out = "proj_out"

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(6, 6, 1, bias=False) for _ in range(4))

    def split(self, x: Tensor) -> Heads:
        return tuple(self.convolved(layer, x)[None] for layer in (self.q, self.k, self.v))


class FusedPictures(Pictures):
    """Blocks of heads in one convolution."""

    out = "to_out"

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.to_qkv, self.to_out = nn.Conv2d(6, 24, 1, bias=False), nn.Conv2d(8, 6, 1, bias=False)

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(part, 2) for part in self.convolved(self.to_qkv, x).chunk(3, dim=1))


class Squeezed(Pictures):
    """Grouped convolutions, the output beside the module that reads, as in SqueezeBERT."""

    out = "post_attention.conv1d"

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.post_attention = nn.Module(), nn.Module()
        self.attention.num_attention_heads = 4
        for name in ("query", "key", "value"):
            self.attention.add_module(name, nn.Conv1d(8, 8, 1, groups=2, bias=False))
        self.post_attention.conv1d = nn.Conv1d(8, 8, 1, bias=False)

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(self.convolved(layer, x), 4) for layer in self.attention.children())


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(6, 3, bias=False) for _ in range(3))


class OneByOne(Attention):
    """A module for each head, as in many a first course."""

    out = "proj"

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head() for _ in range(2))
        self.proj = nn.Linear(6, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        return tuple(torch.stack([getattr(h, n)(x) for h in self.heads]) for n in ("query", "key", "value"))


class Latent(nn.Module):
    """Keys and values from a narrow latent, as in DeepSeek; without its division by the sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.rope_theta = 2, 100.0
        self.q_a_proj, self.q_b_proj = nn.Linear(6, 4, bias=False), nn.Linear(4, 14, bias=False)
        self.kv_a_proj_with_mqa, self.kv_b_proj = nn.Linear(6, 9, bias=False), nn.Linear(5, 16, bias=False)
        self.q_a_layernorm, self.kv_a_layernorm = RMSNorm(4), RMSNorm(5)
        self.o_proj = nn.Linear(10, 6, bias=False)

    def logits(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Without positions, and the rotary part."""
        q = heads_first(self.q_b_proj(self.q_a_proj(x) * self.q_a_layernorm.weight), 2)
        latent, turning = self.kv_a_proj_with_mqa(x).split([5, 4], dim=1)
        k = heads_first(self.kv_b_proj(latent * self.kv_a_layernorm.weight), 2)[..., :3]
        angles = positions[:, None] * torch.tensor([1.0, 0.1])
        rotary = (turned(part, angles, neighbours=True) for part in (q[..., 3:], turning[None]))
        return q[..., :3] @ k.transpose(1, 2), next(rotary) @ next(rotary).transpose(1, 2)

    def values(self, x: Tensor) -> Tensor:
        """Of each head, behind the output."""
        latent = self.kv_a_proj_with_mqa(x)[:, :5] * self.kv_a_layernorm.weight
        v = heads_first(self.kv_b_proj(latent), 2)[..., 3:]
        return torch.stack([v[h] @ self.o_proj.weight[:, 5 * h : 5 * h + 5].T for h in range(2)])


def latent(module: Latent, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        plain, rotary = module.logits(x, torch.zeros(4))
        for head, value in enumerate(module.values(x)):
            yield x.double() @ matrices[f"query_key.{head}"] @ x.double().T, plain[head].double()
            yield x.double() @ matrices[f"rotary.query_key.{head}"] @ x.double().T, rotary[head].double()
            yield x.double() @ matrices[f"value_output.{head}"].T, value.double()


FUSED = "{0}.query {0}.key {0}.value {1}"
FORMS = {
    "by its own widths": (ByHead, rows_of(FUSED.format("qkv", "proj"), 3)),
    "by a trial": (Tutorial, rows_of(FUSED.format("qkv_proj", "o_proj"), 2)),
    "keys first": (KeysFirst, rows_of(FUSED.format("kqv", "proj"), 3)),
    "uncounted": (Uncounted, rows_of("wq wk wv wo", 4)),
    "a list": (Annotated, rows_of("linears.0 linears.1 linears.2 linears.3", 2)),
    "Megatron": (Megatron, rows_of(FUSED.format("linear_qkv", "linear_proj"), 4)),
    "heads first": (WithHeadsFirst, rows_of("W_Q W_K W_V W_O", 2)),
    "heads between": (WithHeadsBetween, rows_of("q k v o", 2)),
    "diffusion": (Diffusion, rows_of("q k v proj_out", 1)),
    "fused pictures": (FusedPictures, rows_of(FUSED.format("to_qkv", "to_out"), 2)),
    "grouped convolutions": (
        Squeezed,
        rows_of("attention.query attention.key attention.value post_attention.conv1d", 4),
    ),
    "DeBERTa": (Disentangled, rows_of(FUSED.format("in_proj", "o_proj"), 2)),
}
"""Forms with a row for each of query, key and value."""
OTHERS = {
    "shared query and key": (Shared, rows_of("to_qk to_v to_out", 2)),
    "query and key in one": (Halves, rows_of("to_qk.query to_qk.key to_v to_out", 2)),
    "a module for each head": (
        OneByOne,
        rows_of("heads.0.query heads.0.key heads.0.value heads.1.query heads.1.key heads.1.value proj", 2),
    ),
}
LATENT = (
    *("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa.latent", "kv_a_proj_with_mqa.key"),
    *("kv_b_proj.key", "kv_b_proj.value", "o_proj"),
    *("query_key.0", "query_key.1", "rotary.query_key.0", "rotary.query_key.1"),
    *("value_output.0", "value_output.1", "q_a_layernorm", "kv_a_layernorm"),
)
