"""Whole networks of the kinds that people bring, small: every matrix of theirs must be decomposed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.kind_modules import GraphConvolution
from tests.seeds import seeded


class GRUGate(nn.Module):
    """A gate in place of a residual sum (Parisotto et al. 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("Wr", "Ur", "Wz", "Uz", "Wg", "Ug"):
            setattr(self, name, nn.Linear(width, width, bias=False))
        self.bias = nn.Parameter(torch.full((width,), 2.0))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        r = torch.sigmoid(self.Wr(y) + self.Ur(x))
        z = torch.sigmoid(self.Wz(y) + self.Uz(x) - self.bias)
        return (1 - z) * x + z * torch.tanh(self.Wg(y) + self.Ug(r * x))


class RelativeAttention(nn.Module):
    """Attention with relative positions and two learnt queries, u and v (Dai et al. 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.positions = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.u = nn.Parameter(torch.zeros(heads, width // heads))
        self.v = nn.Parameter(torch.zeros(heads, width // heads))

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        relative = self.positions(encoded).unflatten(-1, (self.heads, -1))
        content = torch.einsum("ihd,jhd->hij", q + self.u, k)
        place = torch.einsum("ihd,jhd->hij", q + self.v, relative)
        weights = torch.softmax((content + place) / q.shape[-1] ** 0.5, dim=-1)
        return self.out(torch.einsum("hij,jhd->ihd", weights, v).flatten(1))


class GatedTransformer(nn.Module):
    """GTrXL: norms first, gated residuals, relative positions, policy and value heads."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Linear(5, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "attention": RelativeAttention(width, 2),
                    "gate1": GRUGate(width),
                    "norm2": nn.LayerNorm(width),
                    "mlp": nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, width)),
                    "gate2": GRUGate(width),
                }
            )
            for _ in range(2)
        )
        self.policy = nn.Linear(width, 3)
        self.value = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.embed(x)
        angles = torch.arange(len(x))[:, None] / 10 ** torch.arange(h.shape[1] // 2)
        encoded = torch.cat([angles.sin(), angles.cos()], dim=1)
        for layer in self.layers:
            h = layer["gate1"](h, functional.relu(layer["attention"](layer["norm1"](h), encoded)))
            h = layer["gate2"](h, functional.relu(layer["mlp"](layer["norm2"](h))))
        return self.policy(h), self.value(h)


class AttentiveReader(nn.Module):
    """A bidirectional LSTM whose states are weighed by a learnt context (Yang et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 6)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.Linear(10, 10)
        self.context = nn.Parameter(torch.randn(10, 1))
        self.classifier = nn.Linear(10, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(tokens))
        weights = torch.softmax(torch.tanh(self.attention(states)) @ self.context, dim=1)
        return self.classifier((weights * states).sum(1))


class GraphNetwork(nn.Module):
    """Two graph convolutions (Kipf & Welling 2017) and a read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = GraphConvolution(6, 8)
        self.conv2 = GraphConvolution(8, 8)
        self.readout = nn.Linear(8, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = torch.relu(self.conv1(x, adjacency))
        return self.readout(self.conv2(h, adjacency).mean(0))


class BetaVAE(nn.Module):
    """Convolutions down to means and log-variances, transposed convolutions up (Higgins et al. 2017)."""

    def __init__(self, latent: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 16)
        )
        self.mean = nn.Linear(16, latent)
        self.log_variance = nn.Linear(16, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 128),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 4, 4, 2, 1),
            nn.PReLU(),
            nn.ConvTranspose2d(4, 1, 4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.mean(self.encoder(x)))


class Subnet(nn.Module):
    """Two convolutions and an output for each anchor, shared by all levels of the pyramid (Lin et al. 2017)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(2, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.predict = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(torch.relu(self.tower(x)))


class Detector(nn.Module):
    """A small backbone, a feature pyramid, and heads for class and box with one learnt scale for each level."""

    def __init__(self, width: int = 6, classes: int = 3, anchors: int = 2) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.Conv2d(4, 8, 3, 2, 1, bias=False)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(8)])
        self.lateral = nn.ModuleList([nn.Conv2d(4, width, 1), nn.Conv2d(8, width, 1)])
        self.smooth = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(2)])
        self.classification = Subnet(width, anchors * classes)
        self.box = Subnet(width, anchors * 4)
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(2)])

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = torch.relu(norm(stage(x)))
            features.append(x)
        top = self.lateral[1](features[1])
        low = self.lateral[0](features[0]) + functional.interpolate(top, scale_factor=2.0)
        levels = [smooth(level) for smooth, level in zip(self.smooth, (low, top), strict=True)]
        return [(self.classification(f), self.box(f) * s) for f, s in zip(levels, self.scales, strict=True)]


class SharedHeads(nn.Module):
    """The same subnet listed once for each level: every tensor has two names."""

    def __init__(self) -> None:
        super().__init__()
        subnet = Subnet(4, 6)
        self.heads = nn.ModuleList([subnet, subnet])

    def forward(self, x: Tensor) -> Tensor:
        return self.heads[0](x) + self.heads[1](x)


EXAMPLE_NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
    "gated transformer": (lambda: seeded(GatedTransformer), lambda: (torch.ones(4, 5),)),
    "bidirectional LSTM with attention": (lambda: seeded(AttentiveReader), lambda: (torch.arange(6)[None],)),
    "graph convolution network": (lambda: seeded(GraphNetwork), lambda: (torch.ones(3, 6), torch.eye(3))),
    "beta-VAE": (lambda: seeded(BetaVAE), lambda: (torch.ones(2, 1, 16, 16),)),
    "detector": (lambda: seeded(Detector), lambda: (torch.ones(1, 3, 16, 16),)),
    "detector heads shared by the levels": (lambda: seeded(SharedHeads), lambda: (torch.ones(1, 4, 8, 8),)),
}
