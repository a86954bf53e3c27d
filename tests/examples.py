"""One example for each registered thing; the contract suites run on them."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import h5py
import numpy
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from lmd.testing import Example
from tests import attention_examples, attention_forms
from tests.convolutions import convolution_examples
from tests.expert_examples import STACKS
from tests.gate_examples import FUSED_GATES
from tests.kind_examples import MORE_KINDS
from tests.onnx_files import as_onnx
from tests.seeds import data, linear_part, seeded
from tests.state_examples import STATES

Matrices = dict[str, Tensor]


def dense(module: nn.Module, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    (W,) = matrices.values()
    x = data(5, W.shape[1])
    yield x @ W.T, linear_part(module, x)


def embedding(module: nn.Module, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    (W,) = matrices.values()
    entries = torch.arange(W.shape[1])
    yield W @ functional.one_hot(entries, W.shape[1]).to(W.dtype), module(entries).T.detach()


def batch_norm(module: nn.Module, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    (W,) = matrices.values()
    x = data(6, W.shape[1])
    shaped = x[(...,) + (None,) * (0 if isinstance(module, nn.BatchNorm1d) else 2)]
    yield x.double() @ W.T.double(), linear_part(module, shaped).flatten(1)


def norm(module: nn.Module, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    (W,) = matrices.values()
    x = data(6, W.shape[1])
    bare = seeded(lambda: module)
    with torch.no_grad():
        answer = bare(x)
        weight, bias = module.weight.clone(), getattr(module, "bias", None)
        normalised = (answer - (bias if bias is not None else 0)) / weight
    yield normalised @ W.T, answer - (bias.detach() if bias is not None else 0)


def norm_of_one_more(module: nn.Module, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    (W,) = matrices.values()
    x = data(6, W.shape[1])
    normalised = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    with torch.no_grad():
        yield normalised.double() @ W.T, module(x).double()


def attention(module: nn.MultiheadAttention, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole attention, head by head from the rows, against the module's forward without its biases."""
    E, heads = module.embed_dim, module.num_heads
    size = E // heads
    query, key, value = data(4, E), data(6, module.kdim), data(6, module.vdim)
    unbiased = seeded(lambda: nn.MultiheadAttention(E, heads, bias=False, kdim=module.kdim, vdim=module.vdim))
    unbiased.load_state_dict({k: v for k, v in module.state_dict().items() if "bias" not in k})
    total = torch.zeros(4, E)
    for head in range(heads):
        part = {name: matrices.get(f"{name}.{head}", matrices[name]) for name in ("query", "key", "value", "output")}
        logits = (query @ part["query"].T) @ (key @ part["key"].T).T
        yield query.double() @ matrices[f"query_key.{head}"] @ key.double().T, logits.double()
        yield value.double() @ matrices[f"value_output.{head}"].T, (value @ part["value"].T @ part["output"].T).double()
        weights = torch.softmax(logits / size**0.5, dim=-1)
        total += weights @ (value @ part["value"].T) @ part["output"].T
    with torch.no_grad():
        yield total, unbiased(query, key, value, need_weights=False)[0]


GATES = {"RNN": [""], "GRU": [".r", ".z", ".n"], "LSTM": [".i", ".f", ".g", ".o"]}


def lstm_step(matrices: Matrices, prefix: str, x: Tensor, h: Tensor, c: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    b = bias.chunk(4)
    i, f, g, o = (
        x @ matrices[f"{prefix}input.{n}"].T + h @ matrices[f"{prefix}hidden.{n}"].T + b[k]
        for k, n in enumerate("ifgo")
    )
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h @ matrices[f"{prefix}projection"].T if f"{prefix}projection" in matrices else h), c


def lstm(module: nn.LSTM, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole layer, step by step from its gates, in both directions."""
    x = data(5, module.input_size)
    for layer in range(module.num_layers):
        outputs = []
        for suffix, prefix in (("", ""), ("_reverse", "reverse."))[: 1 + module.bidirectional]:
            h, c = torch.zeros(module.proj_size or module.hidden_size), torch.zeros(module.hidden_size)
            bias = (
                getattr(module, f"bias_ih_l{layer}{suffix}") + getattr(module, f"bias_hh_l{layer}{suffix}")
            ).detach()
            steps = []
            for row in x if not suffix else x.flip(0):
                h, c = lstm_step(matrices, f"l{layer}.{prefix}", row, h, c, bias)
                steps.append(h)
            outputs.append(torch.stack(steps) if not suffix else torch.stack(steps).flip(0))
        x = torch.cat(outputs, dim=1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections")  # oneDNN has none, and says so
        yield x, module(data(5, module.input_size))[0]


def gru_cell(module: nn.GRUCell, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    x, h = data(3, module.input_size), data(3, module.hidden_size)
    bi, bh = module.bias_ih.detach().chunk(3), module.bias_hh.detach().chunk(3)
    into = {n: x @ matrices[f"input.{n}"].T + bi[k] for k, n in enumerate("rzn")}
    over = {n: h @ matrices[f"hidden.{n}"].T + bh[k] for k, n in enumerate("rzn")}
    r, z = torch.sigmoid(into["r"] + over["r"]), torch.sigmoid(into["z"] + over["z"])
    n = torch.tanh(into["n"] + r * over["n"])
    with torch.no_grad():
        yield (1 - z) * n + z * h, module(x, h)


def rnn(module: nn.RNN, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    x, h = data(5, module.input_size), torch.zeros(module.hidden_size)
    bias = (module.bias_ih_l0 + module.bias_hh_l0).detach()
    steps = []
    for row in x:
        h = torch.tanh(row @ matrices["l0.input"].T + h @ matrices["l0.hidden"].T + bias)
        steps.append(h)
    with torch.no_grad():
        yield torch.stack(steps), module(x)[0]


class Conv1D(nn.Module):
    """Laid out as the transformers layer of this name, which is known by structure."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class CustomLinear(nn.Linear):
    """A subclass, followed by type."""


class LlamaRMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class GemmaRMSNorm(LlamaRMSNorm):
    """Stores how far the gain is from one."""

    def forward(self, x: Tensor) -> Tensor:
        return (1 + self.weight) * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def with_heads(heads: int) -> tuple[str, ...]:
    parts = ("query", "key", "value", "output")
    rows = tuple(n for p in parts for n in (p, *(f"{p}.{h}" for h in range(heads) if heads > 1)))
    return (*rows, *circuits(heads))


def circuits(heads: int) -> tuple[str, ...]:
    return tuple(f"{circuit}.{head}" for circuit in ("query_key", "value_output") for head in range(heads))


def gates(kind: str, *prefixes: str) -> tuple[str, ...]:
    return tuple(f"{p}{part}{gate}" for p in prefixes for part in ("input", "hidden") for gate in GATES[kind])


def old(norm: Callable[..., nn.Module], module: nn.Module, **options: object) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old-style norms are what is tested
        return norm(module, **options)


class Adapted(nn.Module):
    """Laid out as a layer of peft: the layer it changes, and the factors of each adapter by its name."""

    def __init__(self, base: nn.Module, scaling: dict[str, float]) -> None:
        super().__init__()
        self.base_layer = base
        self.scaling = scaling


class AdaptedLinear(Adapted):
    """LoRA; with magnitudes DoRA."""

    def __init__(self, base: nn.Linear, ranks: dict[str, int], *, magnitudes: bool = False) -> None:
        super().__init__(base, {name: 1.0 + rank for name, rank in ranks.items()})
        self.lora_A = nn.ModuleDict({n: nn.Linear(base.in_features, r, bias=False) for n, r in ranks.items()})
        self.lora_B = nn.ModuleDict({n: nn.Linear(r, base.out_features, bias=False) for n, r in ranks.items()})
        self.lora_magnitude_vector = nn.ModuleDict()
        if magnitudes:
            for name in ranks:
                self.lora_magnitude_vector[name] = holder = nn.Module()
                holder.weight = nn.Parameter(torch.empty(base.out_features))

    def forward(self, x: Tensor) -> Tensor:
        answer = self.base_layer(x)
        for name, scale in self.scaling.items():
            update = scale * self.lora_B[name].weight @ self.lora_A[name].weight
            if name in self.lora_magnitude_vector:
                moved = self.base_layer.weight + update
                rows = self.lora_magnitude_vector[name].weight / moved.norm(dim=1)
                update = rows[:, None] * moved - self.base_layer.weight
            answer = answer + x @ update.T
        return answer


class AdaptedByKronecker(Adapted):
    """LoKr, one factor whole and one a product."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base, {"default": 2.5})
        self.lokr_w1 = nn.ParameterDict({"default": torch.empty(2, 3)})
        self.lokr_w2_a = nn.ParameterDict({"default": torch.empty(base.out_features // 2, 2)})
        self.lokr_w2_b = nn.ParameterDict({"default": torch.empty(2, base.in_features // 3)})

    def forward(self, x: Tensor) -> Tensor:
        second = self.lokr_w2_a["default"] @ self.lokr_w2_b["default"]
        return self.base_layer(x) + x @ (self.scaling["default"] * torch.kron(self.lokr_w1["default"], second)).T


def adapted(module: nn.Module, matrices: Matrices) -> Iterator[tuple[Tensor, Tensor]]:
    """The base and every update; of DoRA the whole one, which ``difference`` names."""
    x = data(5, module.base_layer.in_features)
    rows = {name: W.double() for name, W in matrices.items()}
    whole = [W for n, W in rows.items() if n == "difference"] or [W for n, W in rows.items() if n != "base_layer"]
    yield x.double() @ (rows["base_layer"] + sum(whole)).T, linear_part(module, x)


def pruned(module: nn.Module) -> nn.Module:
    prune.random_unstructured(module, "weight", amount=0.4)
    return module


P = nn.utils.parametrizations
WEIGHT = ("weight",)

KINDS: list[Example] = [
    Example("linear", seeded(lambda: nn.Linear(5, 3)), WEIGHT, dense),
    Example("linear without bias", seeded(lambda: nn.Linear(3, 5, bias=False)), WEIGHT, dense),
    Example("linear subclass", seeded(lambda: CustomLinear(4, 4)), WEIGHT, dense),
    Example("one by one", seeded(lambda: nn.Linear(1, 1)), WEIGHT, dense),
    Example("transformers Conv1D", seeded(lambda: Conv1D(6, 4)), WEIGHT, dense),
    Example("embedding", seeded(lambda: nn.Embedding(9, 4)), WEIGHT, embedding),
    *convolution_examples(seeded),
    Example("attention packed", seeded(lambda: nn.MultiheadAttention(6, 3)), with_heads(3), attention),
    Example(
        "attention separate", seeded(lambda: nn.MultiheadAttention(6, 2, kdim=4, vdim=5)), with_heads(2), attention
    ),
    Example("attention of one head", seeded(lambda: nn.MultiheadAttention(4, 1)), with_heads(1), attention),
    Example("rnn", seeded(lambda: nn.RNN(3, 4)), gates("RNN", "l0."), rnn),
    Example("gru cell", seeded(lambda: nn.GRUCell(3, 4)), gates("GRU", ""), gru_cell),
    Example("lstm of two layers", seeded(lambda: nn.LSTM(3, 4, num_layers=2)), gates("LSTM", "l0.", "l1."), lstm),
    Example(
        "lstm in both directions",
        seeded(lambda: nn.LSTM(3, 4, bidirectional=True)),
        gates("LSTM", "l0.", "l0.reverse."),
        lstm,
    ),
    Example(
        "lstm with projection",
        seeded(lambda: nn.LSTM(3, 5, proj_size=2)),
        (*gates("LSTM", "l0."), "l0.projection", *(f"l0.recurrent.{gate}" for gate in "ifgo")),
        lstm,
    ),
    Example("batch norm 1d", seeded(lambda: nn.BatchNorm1d(5)), WEIGHT, batch_norm),
    Example("batch norm 2d", seeded(lambda: nn.BatchNorm2d(4)), WEIGHT, batch_norm),
    Example("layer norm", seeded(lambda: nn.LayerNorm(6)), WEIGHT, norm),
    Example("rms norm", seeded(lambda: nn.RMSNorm(6)), WEIGHT, norm),
    Example("rms norm of a library", seeded(lambda: LlamaRMSNorm(6)), WEIGHT, norm),
    Example("rms norm with a gain of one more", seeded(lambda: GemmaRMSNorm(6)), WEIGHT, norm_of_one_more),
    Example("weight norm", seeded(lambda: P.weight_norm(nn.Linear(5, 3))), WEIGHT, dense),
    Example("weight norm of columns", seeded(lambda: P.weight_norm(nn.Linear(5, 3), dim=1)), WEIGHT, dense),
    Example("spectral norm, old", seeded(lambda: old(nn.utils.spectral_norm, nn.Linear(4, 3))), WEIGHT, dense),
    Example("LoRA", seeded(lambda: AdaptedLinear(nn.Linear(6, 4), {"default": 2})), ("adapter", "base_layer"), adapted),
    Example(
        "LoRA twice",
        seeded(lambda: AdaptedLinear(nn.Linear(6, 7), {"first": 2, "second": 3})),
        ("adapter.first", "adapter.second", "base_layer"),
        adapted,
    ),
    Example(
        "DoRA",
        seeded(lambda: AdaptedLinear(nn.Linear(6, 4), {"default": 2}, magnitudes=True)),
        ("adapter", "difference", "base_layer"),
        adapted,
    ),
    Example("LoKr", seeded(lambda: AdaptedByKronecker(nn.Linear(6, 4))), ("adapter", "base_layer"), adapted),
    Example("pruned", seeded(lambda: pruned(nn.Linear(5, 4))), WEIGHT, dense),
    Example("orthogonal", seeded(lambda: P.orthogonal(nn.Linear(4, 4))), WEIGHT, dense),
    *MORE_KINDS,
    *STATES,
    *FUSED_GATES,
    *STACKS,
]
KINDS += [
    Example(f"attention: {name}", seeded(build), rows, attention_examples.projections)
    for name, (build, rows) in (attention_examples.LAYOUTS | attention_forms.FORMS).items()
]
KINDS += [
    Example(f"attention: {name}", seeded(build), rows, attention_examples.circuits)
    for name, (build, rows) in attention_forms.OTHERS.items()
]
KINDS.append(
    Example("attention from a latent", seeded(attention_forms.Latent), attention_forms.LATENT, attention_forms.latent)
)


class Residual(nn.Module):
    """Convolutions without bias, batch norms, a strided shortcut, as in a ResNet."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        self.decoder = nn.ModuleDict(
            {
                "convT1": nn.ConvTranspose2d(4, 8, 3),
                "convT2": nn.ConvTranspose2d(8, 8, 3),
                "convT3": nn.ConvTranspose2d(8, 1, 3),
            }
        )


class Separable(nn.Module):
    """Depthwise then pointwise, as in MobileNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.BatchNorm2d(8))
        self.pointwise = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, 10)


class Reader(nn.Module):
    """Embedding, LSTM, attention, norm and a head, with awkward child names."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 6, bidirectional=True)
        self.attention = nn.MultiheadAttention(12, 1)
        self.norm = nn.LayerNorm(12)
        self.blocks = nn.ModuleDict({"type_": nn.Linear(12, 12), "2": nn.Linear(12, 5)})


NETWORKS: dict[str, nn.Module] = {
    "mlp": seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))),
    "resnet": seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), Residual(4, 8), Residual(8, 8))
    ),
    "autoencoder": seeded(Autoencoder),
    "mobilenet": seeded(Separable),
    "reader": seeded(Reader),
    "weight norms": seeded(
        lambda: nn.Sequential(P.weight_norm(nn.Linear(5, 4)), old(nn.utils.weight_norm, nn.Conv1d(3, 4, 2)))
    ),
    "spectral norms": seeded(
        lambda: nn.Sequential(P.spectral_norm(nn.Linear(5, 4)), old(nn.utils.spectral_norm, nn.Linear(4, 3)))
    ),
    "pruned": seeded(lambda: nn.Sequential(pruned(nn.Linear(5, 4)), nn.ReLU(), pruned(nn.Conv1d(2, 3, 3)))),
    "one layer": seeded(lambda: nn.Linear(4, 2)),
}


def as_safetensors(module: nn.Module, folder: Path) -> Path:
    save_model(module, str(folder / "model.safetensors"))
    return folder / "model.safetensors"


def as_folder(module: nn.Module, folder: Path) -> Path:
    as_safetensors(module, folder)
    return folder


def as_zip(module: nn.Module, folder: Path) -> Path:
    torch.save({"epoch": 3, "model": {f"module.{k}": v for k, v in module.state_dict().items()}}, folder / "m.pt")
    return folder / "m.pt"


def as_legacy(module: nn.Module, folder: Path) -> Path:
    torch.save([module.state_dict()], folder / "m.pth.tar", _use_new_zipfile_serialization=False)
    return folder / "m.pth.tar"


def as_gguf(module: nn.Module, folder: Path) -> Path:
    writer = gguf.GGUFWriter(str(folder / "m.gguf"), "none")
    shared: set[int] = set()
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in shared or not tensor.numel():
            writer.add_tensor(name, numpy.ascontiguousarray(tensor.numpy()))
        shared.add(tensor.data_ptr())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "m.gguf"


def as_h5(module: nn.Module, folder: Path) -> Path:
    """Tensors in HDF5, groups for the parts of their names, in the order of the module."""
    with h5py.File(folder / "m.h5", "w", track_order=True) as file:
        for name, tensor in module.state_dict().items():
            *above, last = name.split(".")
            group = file
            for part in above:
                group = group[part] if part in group else group.create_group(part, track_order=True)
            group[last] = tensor.numpy()
    return folder / "m.h5"


FORMATS: dict[str, Callable[[nn.Module, Path], Path]] = {
    "safetensors": as_safetensors,
    "Hugging Face folder": as_folder,
    "GGUF": as_gguf,
    "Keras": as_h5,
    "ONNX": as_onnx,
    "torch checkpoint": as_zip,
    "torch checkpoint, legacy": as_legacy,
}
