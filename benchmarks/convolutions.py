"""A child process: the operators of ResNet-20's convolutions at their real input sizes, bracketed and checked."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

RESNET20 = Path(__file__).resolve().parents[2] / "shared" / "models" / "resnet20-cifar10" / "resnet20-12fca82f.th"
"""Beside the checkout; skipped when absent."""
_DENSE_SIZE = 5
"""Side of inputs at which every operator's matrix is checked by LAPACK: 64 channels make 1600 rows."""


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters, which pads the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Halve the sides where the channels double."""
        super().__init__()
        self.stride, self.more = (1 if inputs == outputs else 2), (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """One residual step."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(y + short)


class ResNet20(nn.Module):
    """The network for CIFAR-10 of He et al. 2016, 19 convolutions and a linear layer."""

    def __init__(self) -> None:
        """Three stages of three blocks."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of ten classes, of pictures ``(n, 3, 32, 32)``."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def resnet20(file: Path = RESNET20) -> ResNet20:
    """The trained network."""
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    network = ResNet20()
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    return network.eval()


def bracketed(network: nn.Module) -> dict[str, Any]:
    """CPU seconds and width of the brackets of all operators, on pictures of CIFAR-10."""
    import lmd

    # imports, and the first call of each library, are no part of the work
    lmd.decompose(nn.Conv2d(4, 4, 3), input_shape=(4, 20, 20))
    started = time.process_time()
    atlas = lmd.decompose(network, input_shape=(3, 32, 32), layers="*.operator")
    seconds = time.process_time() - started
    norms = {r.name: {k: n["value"] for k, n in r.entry["findings"].items() if "operator" in k} for r in atlas.layers}
    ratios = [found["operator_norm_ratio"] for found in norms.values()]
    residuals = [r.entry["residual"] / norms[r.name]["operator_norm_lower"] for r in atlas.layers]
    widths = {"ratio_min": min(ratios), "ratio_mean": sum(ratios) / len(ratios), "ratio_max": max(ratios)}
    return {"operators": len(norms), "cpu_s": seconds, **widths, "residual": max(residuals), "norms": norms}


def checked(network: nn.Module) -> float:
    """Largest error of Lanczos against LAPACK, as a share of the norm, over all kernels on inputs of a small size."""
    from dataclasses import replace

    from lmd.factors.convolutions import operator_factors
    from lmd.factors.rank import Wish
    from lmd.layers.convolutions.convolution_maps import ConvolutionOperator
    from lmd.layers.walk import walk
    from lmd.sources.torch_module import from_module

    paths = [path for path, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    opened = replace(from_module(network), input_sizes=dict.fromkeys(paths, ((_DENSE_SIZE,) * 2,)))
    worst = 0.0
    for layer in walk(opened).layers:
        if isinstance(layer, ConvolutionOperator) and min(layer.shape) > 2 * _DENSE_SIZE**2:
            found = operator_factors(layer, Wish.of(4), torch.Generator().manual_seed(0)).S
            true = torch.linalg.svdvals(layer.load())[: len(found)]
            worst = max(worst, ((found - true).abs().max() / true[0]).item())
    return worst


def main() -> None:
    """One JSON line; nothing if the network is not there."""
    torch.set_num_threads(1)
    if not RESNET20.exists():
        return
    network = resnet20()
    found = {**bracketed(network), "error": checked(network)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
