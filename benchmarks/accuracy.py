"""A child process: every spectrum of real models and of rank-deficient matrices against LAPACK in float64."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
"""Real models beside the checkout; skipped when absent."""
FILES = (
    "resnet20-cifar10/resnet20-12fca82f.th",
    "mnist-mlp-6x100/mnist_6_100_nat.pth",
    "cifar-conv-twins/cifar_base.pth",
    "stories260k",
    "silero-vad/silero_vad_16k.safetensors",
    "cgcnn/formation-energy-per-atom.pth.tar",
    "nerf-lego/checkpoint199999.ckpt",
    "ppo-lunar-lander/PPO_LunarLander-v2_0_0.pth",
    "vae-mnist/model.pt",
)


def constructed() -> Iterator[tuple[str, Tensor]]:
    """Matrices whose small singular values are zero but for rounding, and graded ones."""
    generator = torch.Generator().manual_seed(0)

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    for out, inn, rank in ((200, 200, 20), (600, 150, 149), (150, 600, 1), (384, 384, 383), (1000, 64, 32)):
        yield f"product {out}x{inn} rank {rank}", gaussian(out, rank) @ gaussian(rank, inn)
    repeated = gaussian(100, 80)
    yield "repeated rows", torch.cat([repeated, repeated])
    yield "zero columns", torch.cat([gaussian(120, 50), torch.zeros(120, 50, dtype=torch.float64)], dim=1)
    yield "all ones", torch.ones(90, 70, dtype=torch.float64)
    yield "zero", torch.zeros(30, 40, dtype=torch.float64)
    yield "projection", _projection(gaussian(160, 40))
    yield "graded 1 to 1e-14", gaussian(128, 128) * torch.logspace(0, -14, 128, dtype=torch.float64)
    yield "Hilbert", 1 / (torch.arange(60.0)[:, None] + torch.arange(60.0) + 1).double()
    yield "tiny entries", 1e-200 * gaussian(80, 10) @ gaussian(10, 80)
    yield "huge entries", 1e150 * gaussian(80, 10) @ gaussian(10, 80)


def _projection(A: Tensor) -> Tensor:
    Q = torch.linalg.qr(A).Q
    return Q @ Q.T


class Constructed(nn.Module):
    """One dense layer for each constructed matrix, in float64 and rounded to float32."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}
        layers = []
        for name, W in constructed():
            for dtype in (torch.float64, torch.float32):
                rounded = W.to(dtype)
                if bool(torch.isfinite(rounded).all()):
                    layer = nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=dtype)
                    layer.weight.data = rounded
                    self.places[f"layers.{len(layers)}"] = f"{name}, {str(dtype).removeprefix('torch.')}"
                    layers.append(layer)
        self.layers = nn.ModuleList(layers)


def compared(name: str, model: nn.Module | str) -> dict[str, Any]:
    """The worst layer of one model, its coverage, and how many of its values were refined."""
    import lmd
    from lmd.layers.walk import walk

    atlas = lmd.decompose(model, vectors=0, parts=False)
    matrices = {layer.name: layer for layer in walk(lmd.open_network(model)).layers}
    places = getattr(model, "places", {})
    errors = {}
    for record in atlas.layers:
        W = matrices[record.name].load().double()
        S, found = torch.linalg.svdvals(W), record.arrays()["spectrum"]
        largest = S[0].item() if S.numel() else 0.0
        difference = (S - found).abs().max().item() if S.numel() else 0.0
        errors[places.get(record.name, record.name)] = difference / largest if largest else difference
    worst = max(errors, key=lambda key: errors[key])
    refined = sum(record.entry["method"] == "lapack" for record in atlas.layers)
    failed = sum(record.failed for record in atlas.layers)
    coverage = {"accounted": atlas.coverage.accounted, "decomposed": atlas.coverage.decomposed}
    counts = {"layers": len(atlas.layers), "refined": refined, "failed": failed}
    return {"model": name, **counts, **coverage, "error": errors[worst], "worst_layer": worst}


def main(minilm: str) -> None:
    """One JSON line for each model; MINILM may be empty."""
    torch.set_num_threads(1)
    out = sys.stdout
    if minilm:
        out.write(json.dumps(compared("MiniLM-L6", minilm)) + "\n")
    for file in FILES:
        if (SHARED / file).exists():
            out.write(json.dumps(compared(file, str(SHARED / file))) + "\n")
    out.write(json.dumps(compared("constructed, rank-deficient", Constructed())) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
