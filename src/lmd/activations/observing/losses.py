"""How far the outputs are from the targets."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Loss", "LossName", "Score", "loss_of"]

LossName = Literal["cross_entropy", "mse"]
_SUMS_TO_ONE = 1e-3
"""Of float32 sums of up to thousands of classes."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Which loss, and how outputs are read.

    Attributes:
        name: ``cross_entropy`` or ``mse``.
        probabilities: the outputs are probabilities already, so that the loss is minus their logarithm.
    """

    name: LossName
    probabilities: bool = False

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over examples, so that gradients are those of single examples."""
        if self.name == "mse":
            targets = targets.to(outputs.dtype).reshape(outputs.shape)
            return (outputs - targets).square().reshape(len(outputs), -1).mean(dim=1).sum()
        scores, classes = _by_class(outputs, targets)
        if self.probabilities:
            scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
        else:
            scores = functional.log_softmax(scores, dim=1)
        return functional.nll_loss(scores, classes, reduction="none").reshape(len(outputs), -1).mean(dim=1).sum()


@dataclass(slots=True)
class Score:
    """Running counts of right answers and of the loss."""

    examples: int = 0
    answers: int = 0
    right: int = 0
    loss: float = 0.0

    def add(self, loss: Loss, outputs: Tensor, targets: Tensor, value: Tensor) -> None:
        """One batch."""
        self.examples += len(outputs)
        self.loss += value.item()
        if loss.name == "cross_entropy":
            scores, classes = _by_class(outputs, targets)
            self.right += int((scores.argmax(dim=1) == classes).sum())
            self.answers += classes.numel()


def _by_class(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Scores ``(n, classes, ...)`` and classes ``(n, ...)``: tokens have their scores last."""
    if outputs.ndim == targets.ndim + 1 and outputs.shape[:-1] == targets.shape and outputs.ndim > 2:
        outputs = outputs.movedim(-1, 1)
    return outputs, targets.long()


def loss_of(outputs: Tensor, targets: Tensor, wished: LossName | None = None) -> Loss:
    """The loss that fits outputs and targets: cross-entropy for whole numbers, squares for others.

    Raises:
        ValueError: none fits, or the targets are no classes of this network.
    """
    whole = not targets.dtype.is_floating_point or bool((targets == targets.round()).all() and targets.ndim == 1)
    name: LossName = wished or (
        "cross_entropy" if whole and outputs.ndim > 1 and outputs.numel() > len(outputs) else "mse"
    )
    if name == "mse":
        if targets.numel() != outputs.numel():
            raise ValueError(
                f"the targets have shape {tuple(targets.shape)} and the network's outputs {tuple(outputs.shape)}; "
                f"squares need a number for each output: give such targets, or whole numbers as classes."
            )
        return Loss("mse")
    scores, classes = _by_class(outputs, targets)
    if scores.shape[:1] + scores.shape[2:] != classes.shape:
        raise ValueError(
            f"the network's outputs have shape {tuple(outputs.shape)} and the targets {tuple(targets.shape)}; give one "
            f"class for each example."
        )
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= scores.shape[1]:
        raise ValueError(
            f"the targets run from {low} to {high}, and the network tells {scores.shape[1]} classes apart, "
            f"counted from 0; choose another label column, or shift the targets."
        )
    held = outputs.detach().double()
    sums = scores.detach().double().sum(dim=1)
    probabilities = bool((held >= 0).all() and ((sums - 1).abs() < _SUMS_TO_ONE).all())
    return Loss("cross_entropy", probabilities)
