"""Small networks with their forward passes, to be exported by torch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NETWORKS", "Crossed", "OfTorch", "Turned"]


class Attention(nn.Module):
    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.norm1, self.norm2 = Attention(), nn.LayerNorm(16), nn.LayerNorm(16)
        self.linear1, self.linear2 = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.linear2(functional.gelu(self.linear1(x))))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.pos = nn.Embedding(20, 16), nn.Parameter(torch.randn(1, 6, 16))
        self.layers, self.head = nn.ModuleList([Block(), Block()]), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.emb(x) + self.pos
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.down(x))


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.join, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.relu(self.down1(x))
        joined = torch.cat([wide, self.up(torch.relu(self.down2(functional.max_pool2d(wide, 2))))], dim=1)
        larger = functional.interpolate(self.join(joined), scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(functional.interpolate(larger, size=(10, 12), mode="nearest"))


class Reader(nn.Module):
    def __init__(self, form: type[nn.Module], **options) -> None:
        super().__init__()
        self.emb, self.rnn = nn.Embedding(20, 6), form(6, 5, batch_first=True, **options)
        self.fc = nn.Linear(10 if options.get("bidirectional") else 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(self.emb(x))[0][:, -1])


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 6))
        self.dec = nn.Sequential(
            *(
                nn.Linear(3, 32),
                nn.Unflatten(1, (2, 4, 4)),
                nn.ConvTranspose2d(2, 4, 4, 2, 1, output_padding=1),
                nn.ReLU(),
            ),
            *(nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.enc(x).chunk(2, dim=-1)
        return self.dec(mean + torch.exp(0.5 * spread)), mean


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.ln, self.lm_head = nn.Embedding(20, 6), nn.LayerNorm(6), nn.Linear(6, 20, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.lm_head(self.ln(self.wte(x)))


class OfTorch(nn.Module):
    """Torch's own attention layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.n(x + self.a(x, x, x, need_weights=True)[0])


def _mobile() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
        *(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.Hardswish()),
        *(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 5)),
    )


def _resnet() -> nn.Module:
    start = (nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(*start, Residual(4, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def _norms() -> nn.Module:
    return nn.Sequential(
        *(
            nn.Conv2d(2, 6, 3, padding="same", padding_mode="reflect"),
            nn.GroupNorm(3, 6),
            nn.InstanceNorm2d(6, affine=True),
        ),
        *(nn.PReLU(6), nn.Conv2d(6, 4, 3, dilation=2), nn.LocalResponseNorm(3)),
    )


_WORDS = (torch.arange(12).reshape(2, 6),)
NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.Tanh()), (4, 6)),
    "convnet": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)),
        (2, 1, 8, 8),
    ),
    "resnet": (_resnet, (2, 3, 32, 32)),
    "mobile": (_mobile, (2, 3, 16, 16)),
    "unet": (Unet, (1, 1, 8, 8)),
    "vae": (Vae, (2, 1, 8, 8)),
    "norms": (_norms, (2, 2, 9, 9)),
    "attention of torch": (OfTorch, (2, 5, 8)),
    "encoder": (Encoder, _WORDS),
    "tied": (Tied, _WORDS),
    "lstm": (lambda: Reader(nn.LSTM), _WORDS),
    "gru": (lambda: Reader(nn.GRU, bidirectional=True), _WORDS),
    "rnn": (lambda: Reader(nn.RNN, nonlinearity="relu"), _WORDS),
}
"""Name to how it is made, and the shape of its input or the input itself."""


class Crossed(nn.Module):
    """Torch's own attention layer on queries, keys and values of their own."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.a = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        nn.init.normal_(self.a.in_proj_bias)
        nn.init.normal_(self.a.out_proj.bias)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.a(q, k, v)[0]


class Turned(nn.Module):
    """Rotary positions, and two keys for four queries."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False)
        self.v_proj, self.o_proj = nn.Linear(8, 4, bias=False), nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        q, k, v = (p(x).view(batch, steps, -1, 2).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        angles = torch.arange(steps)[:, None] * torch.ones(1, 2)
        q, k = (t * angles.cos() + torch.cat([-t[..., 1:], t[..., :1]], -1) * angles.sin() for t in (q, k))
        k, v = (t[:, :, None].expand(batch, 2, 2, steps, 2).reshape(batch, 4, steps, 2) for t in (k, v))
        made = torch.softmax(q @ k.transpose(-1, -2), dim=-1) @ v
        return self.o_proj(made.transpose(1, 2).reshape(batch, steps, width))
