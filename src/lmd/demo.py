"""A network anyone can train in seconds: scikit-learn's digits, 64-128-64-10, weight decay, a fixed seed."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

__all__ = ["Digits", "digits", "train"]

_EPOCHS, _BATCH, _RATE, _DECAY = 40, 64, 3e-3, 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """1797 handwritten digits of 8 x 8 pixels in [0, 1] (Alpaydin & Kaynak 1998), a fifth kept for the test."""

    train_inputs: Float32[Tensor, "n 64"]
    train_labels: Int64[Tensor, " n"]
    test_inputs: Float32[Tensor, "m 64"]
    test_labels: Int64[Tensor, " m"]


def digits(seed: int = 0) -> Digits:
    """Load and split the data that scikit-learn ships."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, labels, test_size=0.2, random_state=seed, stratify=labels)
    x, x_test, y, y_test = (torch.from_numpy(part) for part in parts)
    return Digits(x.float(), y.long(), x_test.float(), y_test.long())


def train(data: Digits, seed: int = 0) -> tuple[nn.Sequential, dict[str, Any]]:
    """Train the network.

    Returns:
        The network in evaluation mode, and what is known about its training.
    """
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        model = _network()
        # matrices of this size are many times slower on several threads when the machine is busy
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            _fit(model, data)
        finally:
            torch.set_num_threads(before)
    model.eval()
    return model, {
        "data": "scikit-learn digits, pixels in [0, 1]",
        "examples": len(data.train_inputs),
        "test_examples": len(data.test_inputs),
        "accuracy_train": _accuracy(model, data.train_inputs, data.train_labels),
        "accuracy_test": _accuracy(model, data.test_inputs, data.test_labels),
        "loss": "cross_entropy",
        "optimiser": "AdamW",
        "weight_decay": _DECAY,
        "epochs": _EPOCHS,
        "seed": seed,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Steps this small take longer on several threads: 4 s against 80 s on two cores that others use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network() -> nn.Sequential:
    layers: dict[str, nn.Module] = {
        "first": nn.Linear(64, 128),
        "relu1": nn.ReLU(),
        "second": nn.Linear(128, 64),
        "relu2": nn.ReLU(),
        "output": nn.Linear(64, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def _fit(model: nn.Module, data: Digits) -> None:
    count = len(data.train_inputs)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _EPOCHS)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(count).split(_BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(data.train_inputs[batch]), data.train_labels[batch]).backward()
            optimiser.step()
        schedule.step()


def _accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(inputs).argmax(dim=1) == labels).double().mean().item()
