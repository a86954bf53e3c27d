"""What the factors of a LoRA began as: nothing, or a part of the weight that was taken out of it then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["Start", "start_of"]

Matrix = Float64[Tensor, "out in"]
_MOVED = ("pissa", "corda", "loftq", "lora_ga")
"""Beginnings of the names of those that change the weight in a way that the weight alone does not tell."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the factors began as.

    Attributes:
        words: what a row says of it behind its rank.
        part: from the weight and the rank to the part of the weight that the factors began as, and that was taken out.
        name: in peft's words, where the weight was changed in a way that is not told.
    """

    words: str = ""
    part: Callable[[Tensor, int], Tensor] | None = None
    name: str = ""


def start_of(config: Mapping[str, Any], scale: float) -> Start:
    """The start that the settings of a LoRA tell: those of a file, or of a live layer, whose weight is changed already.

    References:
        Meng et al. 2024 (PiSSA), Büyükakyüz 2024 (OLoRA).
    """
    live = str(config.get("began_live", "")).lower()
    if live == "olora" or live.startswith(_MOVED):
        return Start(f", the product alone: beside a base layer whose weight {live} changed first, as it is here")
    name = str(config.get("init_lora_weights", "")).lower()
    if name in ("pissa", "olora"):
        part = _principal if name == "pissa" else partial(_leading, scale=scale)
        return Start(f", the product alone: its factors began as a part of W, taken out of W then ({name})", part)
    if name.startswith(_MOVED):
        return Start(f", trained beside weights that {name} changed first, to be added to those", name=name)
    return Start()


def _principal(W: Matrix, rank: int) -> Matrix:
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return (U[:, :rank] * S[:rank]) @ Vh[:rank]


def _leading(W: Matrix, rank: int, *, scale: float) -> Matrix:
    Q, R = torch.linalg.qr(W)
    return scale * Q[:, :rank] @ R[:rank]
