"""Examples of layers that are no single torch layer, or a rare one: each with its forward pass from its matrices."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmd.sources.skeleton import StackedLinear
from lmd.testing import Example
from tests.kind_modules import (
    ClassToken,
    CrystalGraph,
    ExpertList,
    FusedGate,
    GraphAttention,
    GraphConvolution,
    GraphSum,
    LayerScale,
    Mixer,
    PairedExperts,
    ParallelExperts,
    RelationalGraph,
    Router,
    SeparateExperts,
    StackedExperts,
    SwiGLU,
    WithoutLayers,
)
from tests.seeds import data, linear_part, seeded

Matrices = dict[str, Tensor]
Pairs = Iterator[tuple[Tensor, Tensor]]


def answer(module: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module(*inputs)


def bag(module: nn.EmbeddingBag, matrices: Matrices) -> Pairs:
    entries = torch.tensor([[0, 2, 2], [5, 1, 0]])
    counts = functional.one_hot(entries, module.num_embeddings).sum(1).float()
    if module.mode == "mean":
        counts /= entries.shape[1]
    yield counts @ matrices["weight"].T, answer(module, entries)


def bilinear(module: nn.Bilinear, matrices: Matrices) -> Pairs:
    x, y = data(5, module.in1_features), data(5, module.in2_features)
    own = answer(module, x, y) - (0 if module.bias is None else module.bias.detach())
    out, in1, in2 = module.weight.shape
    yield torch.einsum("ni,nj->nij", x, y).flatten(1) @ matrices["weight"].T, own
    yield torch.einsum("noj,nj->no", (x @ matrices["left"].T).unflatten(1, (out, in2)), y), own
    yield torch.einsum("noi,ni->no", (y @ matrices["right"].T).unflatten(1, (out, in1)), x), own
    yield torch.stack([torch.einsum("ni,ij,nj->n", x, matrices[str(k)], y) for k in range(out)], dim=1), own


def stack(module: StackedLinear, matrices: Matrices) -> Pairs:
    x = data(len(module.weight), 5, 3)
    yield torch.stack([part @ matrices[str(place)].T for place, part in enumerate(x)]), answer(module, x)


def prelu(module: nn.PReLU, matrices: Matrices) -> Pairs:
    x = -data(5, 4).abs()
    W = matrices["weight"]
    yield (x @ W.T if len(W) > 1 else x * W), answer(module, x)
    yield x.abs(), answer(module, x.abs())


def gru(module: nn.GRU, matrices: Matrices) -> Pairs:
    x = data(5, module.input_size)
    both = []
    for suffix, prefix in (("", "l0."), ("_reverse", "l0.reverse."))[: 1 + module.bidirectional]:
        cell = nn.GRUCell(module.input_size, module.hidden_size)
        for source, part in (("ih", "input"), ("hh", "hidden")):
            stacked = torch.cat([matrices[f"{prefix}{part}.{gate}"] for gate in "rzn"])
            getattr(cell, f"weight_{source}").data = stacked
            getattr(cell, f"bias_{source}").data = getattr(module, f"bias_{source}_l0{suffix}").data
        h, steps = torch.zeros(module.hidden_size), []
        for row in x.flip(0) if suffix else x:
            h = answer(cell, row, h)
            steps.append(h)
        both.append(torch.stack(steps).flip(0) if suffix else torch.stack(steps))
    yield torch.cat(both, dim=1), answer(module, x)[0]


def rnn_cell(module: nn.RNNCell, matrices: Matrices) -> Pairs:
    x, h = data(3, module.input_size), data(3, module.hidden_size)
    bias = (module.bias_ih + module.bias_hh).detach()
    yield torch.relu(x @ matrices["input"].T + h @ matrices["hidden"].T + bias), answer(module, x, h)


def lstm_cell(module: nn.LSTMCell, matrices: Matrices) -> Pairs:
    x, h, c = data(3, module.input_size), data(3, module.hidden_size), torch.ones(3, module.hidden_size)
    bias = (module.bias_ih + module.bias_hh).detach().chunk(4)
    i, f, g, o = (x @ matrices[f"input.{n}"].T + h @ matrices[f"hidden.{n}"].T + bias[k] for k, n in enumerate("ifgo"))
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    with torch.no_grad():
        own = module(x, (h, torch.ones(3, module.hidden_size)))
    yield torch.sigmoid(o) * torch.tanh(c), own[0]
    yield c, own[1]


def projected(module: nn.LSTM, matrices: Matrices) -> Pairs:
    hidden, down = module.weight_hh_l0.detach(), module.weight_hr_l0.detach()
    whole = torch.cat([matrices[f"l0.recurrent.{gate}"] for gate in "ifgo"])
    yield whole.float(), hidden @ down
    backward = torch.cat([matrices[f"l0.reverse.recurrent.{gate}"] for gate in "ifgo"])
    yield backward.float(), module.weight_hh_l0_reverse.detach() @ module.weight_hr_l0_reverse.detach()


def linear(name: str) -> Callable[[nn.Module, Matrices], Pairs]:
    """A module that is one map and a shift."""

    def agrees(module: nn.Module, matrices: Matrices) -> Pairs:
        x = data(5, matrices[name].shape[1])
        yield x @ matrices[name].T, linear_part(module, x)

    return agrees


def token(module: ClassToken, matrices: Matrices) -> Pairs:
    x = data(2, 4, 6)
    tokens = torch.cat([matrices["cls_token"].T.expand(2, 1, 6), x], dim=1)
    yield tokens + matrices["pos_embed"].T, answer(module, x)


def without_layers(module: WithoutLayers, matrices: Matrices) -> Pairs:
    x = data(5, 4)
    yield x @ matrices["matrix"].T, answer(module, x) @ module.turned.detach().T
    yield data(2, 3) @ matrices["stack"], (data(2, 3) @ module.stack.detach().flatten(1))


def experts(module: nn.Module, matrices: Matrices) -> Pairs:
    """Every expert from its rows; the mean and the deviations make up each expert again."""
    x = data(4, module.width)
    for e in range(module.experts):
        gate, up = (x @ matrices[f"gate_up_proj.{e}.{half}"].T for half in ("gate", "up"))
        yield module.joined(gate, up, e) @ matrices[f"down_proj.{e}"].T, answer(module, x, e) - module.shift(e)
        both = matrices["down_proj.mean"] + matrices[f"down_proj.{e}.deviation"]
        yield both, matrices[f"down_proj.{e}"]
    yield sum(matrices[f"gate_up_proj.{e}.up.deviation"] for e in range(module.experts)), torch.zeros(5, 4)


def separate_experts(module: SeparateExperts, matrices: Matrices) -> Pairs:
    x = data(4, 4)
    for e in range(module.experts):
        gate, up = x @ matrices[f"w1.{e}"].T, x @ matrices[f"w3.{e}"].T
        yield (functional.silu(gate) * up) @ matrices[f"w2.{e}"].T, answer(module, x, e)


def parallel_experts(module: ParallelExperts, matrices: Matrices) -> Pairs:
    x = data(4, 4)
    for e in range(3):
        yield x @ matrices[f"{e}"].T, answer(module, x, e)
        yield matrices["mean"] + matrices[f"{e}.deviation"], matrices[f"{e}"]


def expert_list(module: ExpertList, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    scores = torch.softmax(x @ matrices["gate"].T, dim=1)
    total = torch.zeros(3, 4)
    for e in range(2):
        hidden = torch.relu(x @ matrices[f"experts.{e}.fc1"].T + module.experts[e].fc1.bias.detach())
        out = hidden @ matrices[f"experts.{e}.fc2"].T + module.experts[e].fc2.bias.detach()
        total += scores[:, e : e + 1] * out
    yield total, answer(module, x)
    yield matrices["experts.mean.fc1"], (matrices["experts.0.fc1"] + matrices["experts.1.fc1"]) / 2
    yield matrices["experts.mean.fc1"] + matrices["experts.1.fc1.deviation"], matrices["experts.1.fc1"]


def fused_gate(module: FusedGate, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    gate, up = x @ matrices["gate_up_proj.gate"].T, x @ matrices["gate_up_proj.up"].T
    yield (functional.silu(gate) * up) @ matrices["down_proj"].T, answer(module, x)


def swiglu(module: SwiGLU, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    gate, up = x @ matrices["gate_proj"].T, x @ matrices["up_proj"].T
    yield (functional.silu(gate) * up) @ matrices["down_proj"].T, answer(module, x)


def mixer(module: Mixer, matrices: Matrices) -> Pairs:
    """The whole selective scan, step by step from the rows."""
    x = data(6, 3)
    inner, states = 4, 2
    A = matrices["A"].diagonal().unflatten(0, (inner, states)).float()
    into, gate = (x @ matrices["in_proj"].T).chunk(2, dim=1)
    padded = functional.pad(into, (0, 0, 2, 0))
    windows = padded.unfold(0, 3, 1).flatten(1)
    into = functional.silu(windows @ matrices["conv1d"].T + module.conv1d.bias.detach())
    h, outputs = torch.zeros(inner, states), []
    for row in into:
        dt, B, C = (matrices["x_proj"] @ row).split([2, states, states])
        dt = functional.softplus(matrices["dt_proj"] @ dt + module.dt_proj.bias.detach())
        h = torch.exp(dt[:, None] * A) * h + dt[:, None] * B * row[:, None]
        outputs.append(h @ C + matrices["D"] @ row)
    yield (torch.stack(outputs) * functional.silu(gate)) @ matrices["out_proj"].T, answer(module, x)


ADJACENCY = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 1.0]])


def graph_convolution(module: GraphConvolution, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    yield ADJACENCY @ (x @ matrices["lin"].T) + module.bias.detach(), answer(module, x, ADJACENCY)


def graph_sum(module: GraphSum, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    yield ADJACENCY @ (x @ matrices["weight"].T), answer(module, x, ADJACENCY)


def graph_attention(module: GraphAttention, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    features = (x @ matrices["lin"].T).unflatten(1, (2, 5))
    source, target = (features.flatten(1) @ matrices[f"att_{end}"].T for end in ("src", "dst"))
    scores = torch.softmax(functional.leaky_relu(target[:, None] + source[None], 0.2), dim=1)
    yield torch.einsum("tsh,shc->thc", scores, features).flatten(1), answer(module, x)


def relational_graph(module: RelationalGraph, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    messages = sum(ADJACENCY * (k + 1) @ (x @ matrices[f"weight.{k}"].T) for k in range(2))
    yield messages + x @ matrices["root"].T, answer(module, x, ADJACENCY)


def crystal_graph(module: CrystalGraph, matrices: Matrices) -> Pairs:
    own, neighbour, edge = data(5, 3), data(5, 3).flip(0), data(5, 2)
    whole = torch.cat([own, neighbour, edge], dim=1) @ matrices["fc_full"].T
    parts = zip((own, neighbour, edge), ("own", "neighbour", "edge"), strict=True)
    yield whole, answer(module, own, neighbour, edge) - module.fc_full.bias.detach()
    yield sum(x @ matrices[f"fc_full.{word}"].T for x, word in parts), whole


def stack_rows(name: str, *halves: str) -> tuple[str, ...]:
    rows: list[str] = []
    for half in halves or ("",):
        dotted = f".{half}" if half else ""
        own = [f"{name}.{e}{dotted}" for e in range(3)]
        rows += [*own, f"{name}.mean{dotted}", *(f"{one}.deviation" for one in own)]
    return tuple(rows)


def list_rows(child: str) -> tuple[str, ...]:
    own = [f"experts.{e}.{child}" for e in range(2)]
    return (*own, f"experts.mean.{child}", *(f"{one}.deviation" for one in own))


GATED_STACKS = (*stack_rows("gate_up_proj", "gate", "up"), *stack_rows("down_proj"))
TABLES = ("gate_up_proj_bias", "down_proj_bias")
BOTH = ("l0.", "l0.reverse.")
GRU_ROWS = tuple(f"{p}{part}.{g}" for p in BOTH for part in ("input", "hidden") for g in "rzn")
PROJECTED_ROWS = tuple(
    name
    for p in BOTH
    for name in (
        *(f"{p}{part}.{g}" for part in ("input", "hidden") for g in "ifgo"),
        f"{p}projection",
        *(f"{p}recurrent.{g}" for g in "ifgo"),
    )
)
CELL_ROWS = tuple(f"{part}.{g}" for part in ("input", "hidden") for g in "ifgo")

MORE_KINDS: list[Example] = [
    Example("embedding bag, sum", seeded(lambda: nn.EmbeddingBag(7, 3, mode="sum")), ("weight",), bag),
    Example("embedding bag, mean", seeded(lambda: nn.EmbeddingBag(7, 3, mode="mean")), ("weight",), bag),
    Example("bilinear", seeded(lambda: nn.Bilinear(3, 2, 2)), ("weight", "left", "right", "0", "1"), bilinear),
    Example("stack", seeded(lambda: StackedLinear((2, 4, 3), transposed=False)), ("0", "1"), stack),
    Example("stack, stored (in, out)", seeded(lambda: StackedLinear((2, 3, 4), transposed=True)), ("0", "1"), stack),
    Example("prelu", seeded(lambda: nn.PReLU(4)), ("weight",), prelu),
    Example("prelu with one slope", seeded(nn.PReLU), ("weight",), prelu),
    Example("gru layer", seeded(lambda: nn.GRU(3, 4)), GRU_ROWS[:6], gru),
    Example("gru in both directions", seeded(lambda: nn.GRU(3, 4, bidirectional=True)), GRU_ROWS, gru),
    Example("rnn cell", seeded(lambda: nn.RNNCell(3, 4, nonlinearity="relu")), ("input", "hidden"), rnn_cell),
    Example("lstm cell", seeded(lambda: nn.LSTMCell(3, 4)), CELL_ROWS, lstm_cell),
    Example(
        "lstm with projection in both directions",
        seeded(lambda: nn.LSTM(3, 4, proj_size=2, bidirectional=True)),
        PROJECTED_ROWS,
        projected,
    ),
    Example("layer scale", seeded(lambda: LayerScale(5)), ("gamma",), linear("gamma")),
    Example("class token and positions", seeded(ClassToken), ("cls_token", "pos_embed"), token),
    Example("raw parameters", seeded(WithoutLayers), ("matrix", "turned", "stack"), without_layers),
    Example("experts stored (experts, out, in)", seeded(StackedExperts), GATED_STACKS, experts),
    Example(
        "experts stored (experts, in, out)", seeded(lambda: StackedExperts(transposed=True)), GATED_STACKS, experts
    ),
    Example("experts whose gate and up alternate", seeded(PairedExperts), (*GATED_STACKS, *TABLES), experts),
    Example(
        "experts of three stacks",
        seeded(SeparateExperts),
        tuple(row for name in ("w1", "w2", "w3") for row in stack_rows(name)),
        separate_experts,
    ),
    Example(
        "experts of one stack",
        seeded(ParallelExperts),
        ("0", "1", "2", "mean", "0.deviation", "1.deviation", "2.deviation"),
        parallel_experts,
    ),
    Example("experts as modules", seeded(ExpertList), ("gate", *list_rows("fc1"), *list_rows("fc2")), expert_list),
    Example("router", seeded(Router), ("weight",), linear("weight")),
    Example("fused gate and up", seeded(FusedGate), ("gate_up_proj.gate", "gate_up_proj.up", "down_proj"), fused_gate),
    Example("gated feed-forward", seeded(SwiGLU), ("gate_proj", "up_proj", "down_proj"), swiglu),
    Example(
        "state-space mixer",
        seeded(Mixer),
        ("A", "D", "in_proj", "conv1d", "conv1d.symbol", "x_proj", "dt_proj", "out_proj"),
        mixer,
    ),
    Example("graph convolution", seeded(GraphConvolution), ("lin",), graph_convolution),
    Example("graph convolution stored (in, out)", seeded(GraphSum), ("weight",), graph_sum),
    Example("graph attention", seeded(GraphAttention), ("att_src", "att_dst", "lin"), graph_attention),
    Example(
        "graph convolution of relations", seeded(RelationalGraph), ("weight.0", "weight.1", "root"), relational_graph
    ),
    Example(
        "graph convolution of a crystal",
        seeded(CrystalGraph),
        ("fc_full", "fc_full.own", "fc_full.neighbour", "fc_full.edge"),
        crystal_graph,
    ),
]
