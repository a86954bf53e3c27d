"""Attention in the layouts that libraries store it in; each module splits its own projections, by its own code."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

Matrices = dict[str, Tensor]
Heads = tuple[Tensor, Tensor, Tensor]


def turned(x: Tensor, angles: Tensor, *, neighbours: bool) -> Tensor:
    """Rotary positions by complex numbers: ``x (heads, n, width)``, ``angles (n, pairs)``; the rest stays."""
    pairs = angles.shape[1]
    if pairs == 0:
        return x
    turning, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    parts = turning.unflatten(-1, (pairs, 2) if neighbours else (2, pairs))
    parts = parts if neighbours else parts.transpose(-1, -2)
    spun = torch.view_as_complex(parts.contiguous()) * torch.polar(torch.ones_like(angles), angles)
    back = torch.view_as_real(spun)
    return torch.cat([(back if neighbours else back.transpose(-1, -2)).flatten(-2), rest], dim=-1)


class Attention(nn.Module, ABC):
    """Softmax attention without mask; subclasses store and split the projections."""

    out = "out"
    neighbours = False

    @abstractmethod
    def split(self, x: Tensor) -> Heads:
        """Query ``(heads, n, width)``, key and value ``(key heads, n, width)``."""

    def sizes(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """What queries and keys are divided by."""
        return torch.ones(q.shape[:2]), torch.ones(k.shape[:2])

    def gains(self) -> tuple[Tensor, Tensor]:
        return torch.ones(1), torch.ones(1)

    def gate(self, x: Tensor) -> Tensor | float:
        return 1.0

    def angles(self, positions: Tensor) -> Tensor:
        return torch.zeros(len(positions), 0)

    def logits(self, x: Tensor, positions: Tensor | None = None, *, linear: bool = False) -> Tensor:
        """Before scaling; ``linear`` leaves out what depends on the size of queries and keys."""
        q, k, _ = self.split(x)
        k = k.repeat_interleave(len(q) // len(k), dim=0)
        sq, sk = (torch.ones(1), torch.ones(1)) if linear else self.sizes(q, k)
        gq, gk = self.gains()
        angles = self.angles(torch.zeros(len(x)) if positions is None else positions)
        q, k = (turned(part * gain, angles, neighbours=self.neighbours) for part, gain in ((q, gq), (k, gk)))
        return (q / sq[..., None]) @ (k / sk[..., None]).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, _, v = self.split(x)
        weights = torch.softmax(self.logits(x) / 3.0, dim=-1)
        mixed = weights @ v.repeat_interleave(len(weights) // len(v), dim=0)
        return self.written((mixed * self.gate(x)).transpose(0, 1).flatten(1))

    def written(self, mixed: Tensor) -> Tensor:
        """What the output projection makes of what the heads give."""
        return self.get_submodule(self.out)(mixed)


def heads_first(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(1, (heads, -1)).transpose(0, 1)


class Grouped(Attention):
    """Separate projections, four query heads for two key heads, rotary halves: as in Llama."""

    out = "o_proj"

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.num_heads, self.num_key_value_heads, self.head_dim, self.rope_theta = 4, 2, 4, 100.0
        self.q_proj = nn.Linear(10, 16, bias=bias)
        self.k_proj, self.v_proj = nn.Linear(10, 8, bias=bias), nn.Linear(10, 8, bias=bias)
        self.o_proj = nn.Linear(16, 10, bias=bias)

    def split(self, x: Tensor) -> Heads:
        return heads_first(self.q_proj(x), 4), heads_first(self.k_proj(x), 2), heads_first(self.v_proj(x), 2)

    def angles(self, positions: Tensor) -> Tensor:
        return positions[:, None] * torch.tensor([1.0, 0.1])


class Neighbours(Attention):
    """As in the first code of Llama: neighbouring coordinates turn, a buffer holds the frequencies."""

    out = "wo"
    neighbours = True

    def __init__(self) -> None:
        super().__init__()
        self.n_heads = 2
        self.wq, self.wk, self.wv = (nn.Linear(6, 8, bias=False) for _ in range(3))
        self.wo = nn.Linear(8, 6, bias=False)
        self.rotary = nn.Module()
        self.rotary.register_buffer("inv_freq", torch.tensor([1.0, 0.3]), persistent=False)

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(layer(x), 2) for layer in (self.wq, self.wk, self.wv))

    def angles(self, positions: Tensor) -> Tensor:
        return positions[:, None] * self.rotary.inv_freq


class Bert(Attention):
    """Projections one module further down, the output beside them."""

    out = "output.dense"

    def __init__(self) -> None:
        super().__init__()
        self.self = nn.Module()
        self.self.num_attention_heads = 3
        self.num_attention_heads = 3
        self.self.query, self.self.key, self.self.value = (nn.Linear(6, 6) for _ in range(3))
        self.output = nn.Module()
        self.output.dense = nn.Linear(6, 6)
        self.output.LayerNorm = nn.LayerNorm(6)
        for layer in (self.self.query, self.self.key, self.self.value, self.output.dense):
            layer.bias = None

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(layer(x), 3) for layer in (self.self.query, self.self.key, self.self.value))


class Turned(nn.Module):
    """Laid out as the transformers layer Conv1D, ``(in, out)``."""

    def __init__(self, nf: int, nx: int, bias: bool) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + (0 if self.bias is None else self.bias)


Turned.__name__ = "Conv1D"


class Gpt2(Attention):
    """One weight stored ``(in, out)``: all queries, all keys, all values."""

    out = "c_proj"

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.n_head = 2
        self.c_attn, self.c_proj = Turned(18, 6, bias), Turned(6, 6, bias)

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(part, 2) for part in self.c_attn(x).chunk(3, dim=1))


class NeoX(Attention):
    """One weight, head behind head; a quarter of each head turns."""

    out = "dense"

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.num_attention_heads, self.rotary_ndims, self.rope_theta = 2, 2, 10.0
        self.query_key_value, self.dense = nn.Linear(6, 48, bias=bias), nn.Linear(16, 6, bias=bias)

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.query_key_value(x).view(len(x), 2, 24).transpose(0, 1).split(8, dim=2)
        return q, k, v

    def angles(self, positions: Tensor) -> Tensor:
        return positions[:, None] * torch.ones(1, 1)


class Falcon(Attention):
    """One weight, groups of query heads each with their key and value."""

    out = "dense"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim, self.new_decoder_architecture = 4, 2, 3, True
        self.query_key_value, self.dense = nn.Linear(6, 24, bias=False), nn.Linear(12, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        grouped = self.query_key_value(x).view(len(x), 2, 4, 3)
        q, k, v = grouped[:, :, :2].flatten(1, 2), grouped[:, :, 2], grouped[:, :, 3]
        return q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)


class MultiQuery(Attention):
    """One weight, four query heads and a single key and value."""

    out = "dense"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.multi_query = 4, True
        self.query_key_value, self.dense = nn.Linear(6, 18, bias=False), nn.Linear(12, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.query_key_value(x).split([12, 3, 3], dim=1)
        return heads_first(q, 4), heads_first(k, 1), heads_first(v, 1)


class Vision(Attention):
    """As in timm: ``qkv`` and ``proj``."""

    out = "proj"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 3
        self.qkv, self.proj = nn.Linear(6, 18, bias=False), nn.Linear(6, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        q, k, v = self.qkv(x).view(len(x), 3, 3, 2).permute(1, 2, 0, 3)
        return q, k, v


class Latent(Attention):
    """Keys and values in one weight, the output in a sequence."""

    out = "to_out"

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.to_q, self.to_kv = nn.Linear(6, 8, bias=False), nn.Linear(6, 16, bias=False)
        self.to_out = nn.Sequential(nn.Linear(8, 6, bias=False), nn.Dropout(0.1))

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(part, 2) for part in (self.to_q(x), *self.to_kv(x).chunk(2, dim=1)))


class Gated(Attention):
    """Each head's rows of query are followed by as many of a gate."""

    out = "o_proj"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 2, 3
        self.q_proj = nn.Linear(6, 12, bias=False)
        self.k_proj, self.v_proj = nn.Linear(6, 3, bias=False), nn.Linear(6, 3, bias=False)
        self.o_proj = nn.Linear(6, 6, bias=False)

    def split(self, x: Tensor) -> Heads:
        q, _ = self.q_proj(x).view(len(x), 2, 6).chunk(2, dim=-1)
        return q.transpose(0, 1), heads_first(self.k_proj(x), 1), heads_first(self.v_proj(x), 1)

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.q_proj(x).view(len(x), 2, 6)[..., 3:].transpose(0, 1))


class RMSNorm(nn.Module):
    """The gain is all the example needs; the layer divides by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Normed(Attention):
    """Queries and keys divided by their size and scaled, as in Qwen3."""

    out = "o_proj"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(6, 6, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = RMSNorm(3), RMSNorm(3)

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(layer(x), 2) for layer in (self.q_proj, self.k_proj, self.v_proj))

    def sizes(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return q.square().mean(-1).sqrt(), k.square().mean(-1).sqrt()

    def gains(self) -> tuple[Tensor, Tensor]:
        return self.q_norm.weight, self.k_norm.weight


class T5(Attention):
    """Heads as wide as one likes, a table of biases of relative positions."""

    out = "o"

    def __init__(self) -> None:
        super().__init__()
        self.n_heads, self.key_value_proj_dim = 2, 5
        self.q, self.k, self.v = (nn.Linear(6, 10, bias=False) for _ in range(3))
        self.o = nn.Linear(10, 6, bias=False)
        self.relative_attention_bias = nn.Embedding(8, 2)

    def split(self, x: Tensor) -> Heads:
        return tuple(heads_first(layer(x), 2) for layer in (self.q, self.k, self.v))


def circuits(module: Attention, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    """The comparisons, then the whole output, head by head from the circuits."""
    compared = [matrices[name] for name in matrices if name.startswith("query_key.")]
    written = [matrices[name] for name in matrices if name.startswith("value_output.")]
    x = torch.randn(5, compared[0].shape[0], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        yield torch.stack([x.double() @ W @ x.double().T for W in compared]), module.logits(x, linear=True).double()
        if not isinstance(module, Gated):
            weights = torch.softmax(module.logits(x) / 3.0, dim=-1).double()
            yield sum(P @ x.double() @ W.T for P, W in zip(weights, written, strict=True)), module(x).double()


def projections(module: Attention, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    """Each projection against the module's own split, then the circuits."""
    rows = [W for name, W in matrices.items() if not name.startswith(("query_key.", "value_output."))]
    x = torch.randn(4, rows[0].shape[1], generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        for W, part in zip(rows[:3], module.split(x), strict=True):
            yield x @ W.T, part.transpose(0, 1).flatten(1)
        if isinstance(module, Gated):
            yield torch.sigmoid(x @ matrices["q_proj.gate"].T), module.gate(x).transpose(0, 1).flatten(1)
        path = module.out if module.out in matrices else f"{module.out}.0"
        z = torch.randn(4, matrices[path].shape[1], generator=torch.Generator().manual_seed(5))
        yield z @ matrices[path].T, module.written(z)
    yield from circuits(module, matrices)


def rows_of(names: str, heads: int, after: str = "") -> tuple[str, ...]:
    """The rows of a layer: its projections, its circuits, and what comes after."""
    each = [f"{circuit}.{head}" for circuit in ("query_key", "value_output") for head in range(heads)]
    return (*names.split(), *each, *after.split())


FUSED = "{0}.query {0}.key {0}.value {1}"
LAYOUTS = {
    "grouped queries": (Grouped, rows_of("q_proj k_proj v_proj o_proj", 4)),
    "neighbouring coordinates": (Neighbours, rows_of("wq wk wv wo", 2)),
    "Bert": (Bert, rows_of("self.query self.key self.value output.dense", 3, "output.LayerNorm")),
    "GPT-2": (Gpt2, rows_of(FUSED.format("c_attn", "c_proj"), 2)),
    "head by head": (NeoX, rows_of(FUSED.format("query_key_value", "dense"), 2)),
    "group by group": (Falcon, rows_of(FUSED.format("query_key_value", "dense"), 4)),
    "a single key": (MultiQuery, rows_of(FUSED.format("query_key_value", "dense"), 4)),
    "vision": (Vision, rows_of(FUSED.format("qkv", "proj"), 3)),
    "keys with values": (Latent, rows_of("to_q to_kv.key to_kv.value to_out.0", 2)),
    "gated queries": (Gated, rows_of("q_proj.query k_proj v_proj q_proj.gate o_proj", 2)),
    "normalised queries": (Normed, rows_of("q_proj k_proj v_proj o_proj", 2, "q_norm k_norm")),
    "T5": (T5, rows_of("q k v o", 2, "relative_attention_bias")),
}
