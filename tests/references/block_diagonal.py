"""A block-diagonal map as the dense matrix it is."""

import torch
from torch import Tensor

__all__ = ["dense"]


def dense(blocks: Tensor) -> Tensor:
    """Zeros, and each block in its place."""
    groups, o, i = blocks.shape
    W = torch.zeros(groups * o, groups * i, dtype=torch.float64)
    for g in range(groups):
        for row in range(o):
            for column in range(i):
                W[g * o + row, g * i + column] = blocks[g, row, column]
    return W
