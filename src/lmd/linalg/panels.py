"""A matrix that is read in panels, as an operator in float64."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import frexp, ldexp
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

__all__ = ["Operator", "PanelMatrix", "TensorPanels", "safe_scale", "to_float64"]

_PANEL_ELEMENTS = 1 << 20
_SAFE_SQUARES = (ldexp(1.0, -400), ldexp(1.0, 400))
"""Sums of squares in this range lose nothing to underflow or overflow that the largest value could feel."""
_LARGEST_EXPONENT = 1000
_ALIGNMENT = 64
"""Bytes; what torch gives every tensor that it allocates."""


@runtime_checkable
class PanelMatrix(Protocol):
    """What can be cut along its longer side (rows when square) and read piece by piece, in order."""

    @property
    def name(self) -> str:
        """For error messages; '' for a plain tensor."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """``(out, in)``."""
        ...

    def panels(self) -> Iterable[Shaped[Tensor, "out in"]]:
        """The pieces, in the stored type."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TensorPanels:
    """A plain tensor, cut as a layer's matrix is."""

    tensor: Shaped[Tensor, "out in"]
    name: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """``(out, in)``."""
        out, inn = self.tensor.shape
        return out, inn

    def panels(self) -> Iterator[Shaped[Tensor, "out in"]]:
        """Views of about a million elements."""
        out, inn = self.shape
        yield from self.tensor.split(max(1, _PANEL_ELEMENTS // max(1, min(out, inn))), dim=int(out < inn))


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """``scale * W`` as a linear operator: only one panel at a time is in float64.

    Attributes:
        matrix: where the panels come from.
        scale: a power of two, so that multiplying is exact.
    """

    matrix: PanelMatrix
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """``(out, in)``."""
        return self.matrix.shape

    @property
    def cut_axis(self) -> int:
        """The axis the panels are cut along: the longer one."""
        return int(self.shape[0] < self.shape[1])

    def panels(self) -> Iterator[Float64[Tensor, "out in"]]:
        """The pieces in float64; the caller must not write on them."""
        for panel in self.matrix.panels():
            wide = to_float64(panel)
            yield wide if self.scale == 1.0 else wide * self.scale

    def apply(self, V: Float64[Tensor, "in k"]) -> Float64[Tensor, "out k"]:
        """``W V``, in one pass over the panels."""
        return self.apply_both(V, V.new_zeros(self.shape[0], 0))[0]

    def adjoint(self, U: Float64[Tensor, "out k"]) -> Float64[Tensor, "in k"]:
        """``W^T U``, in one pass over the panels."""
        return self.apply_both(U.new_zeros(self.shape[1], 0), U)[1]

    def apply_both(
        self, V: Float64[Tensor, "in j"], U: Float64[Tensor, "out k"]
    ) -> tuple[Float64[Tensor, "out j"], Float64[Tensor, "in k"]]:
        """``W V`` and ``W^T U``, in one pass over the panels."""
        WV, WtU = V.new_zeros(self.shape[0], V.shape[1]), U.new_zeros(self.shape[1], U.shape[1])
        start = 0
        for P in self.panels():
            stop = start + P.shape[self.cut_axis]
            if self.cut_axis == 0:
                WV[start:stop] = P @ V
                WtU.addmm_(P.T, U[start:stop])
            else:
                WV.addmm_(P, V[start:stop])
                WtU[start:stop] = P.T @ U
            start = stop
        return WV, WtU

    def whole(self) -> Float64[Tensor, "out in"]:
        """The whole matrix in float64, in memory of its own; Fortran-ordered if tall, so is its transpose if wide."""
        out, inn = self.shape
        W = torch.empty(self.shape, dtype=torch.float64) if out < inn else torch.empty(inn, out, dtype=torch.float64).T
        start = 0
        for P in self.panels():
            W.narrow(self.cut_axis, start, P.shape[self.cut_axis]).copy_(P)
            start += P.shape[self.cut_axis]
        return W

    def squares(self) -> float:
        """Sum of the squared entries, in one pass over the panels."""
        return sum(torch.linalg.vector_norm(P).square().item() for P in self.panels())


def safe_scale(matrix: PanelMatrix, squares: float) -> float:
    """Power of two that brings the entries of a matrix to where their squares neither overflow nor vanish.

    Args:
        matrix: read again only if ``squares`` is suspicious.
        squares: sum of the squared entries, as it came out unscaled.

    Returns:
        1.0 for ordinary matrices and for zero.

    Raises:
        ValueError: the matrix contains NaN or Inf.
    """
    if _SAFE_SQUARES[0] <= squares <= _SAFE_SQUARES[1]:
        return 1.0
    largest, bad = 0.0, 0
    for panel in Operator(matrix).panels():
        finite = torch.isfinite(panel)
        bad += panel.numel() - int(finite.sum())
        largest = max(largest, panel.where(finite, 0.0).abs().max().item()) if panel.numel() else largest
    if bad:
        owner = f"layer {matrix.name!r}" if matrix.name else "the matrix"
        raise ValueError(
            f"{owner} contains NaN or Inf in {bad} of {matrix.shape[0] * matrix.shape[1]} entries; only finite numbers "
            f"have singular values; repair the weights or leave the layer out."
        )
    exponent = frexp(largest)[1] if largest else 0
    return ldexp(1.0, min(max(-exponent, -_LARGEST_EXPONENT), _LARGEST_EXPONENT))


def to_float64(panel: Shaped[Tensor, "out in"]) -> Float64[Tensor, "out in"]:
    """The numbers in float64 on the CPU, without a copy if they are there already and well aligned.

    Raises:
        ValueError: they are complex.
    """
    if panel.is_complex():
        raise ValueError(
            f"a matrix of {panel.dtype} came; only real types are decomposed; pass its real and imaginary parts apart."
        )
    wide = panel.detach().to(device="cpu", dtype=torch.float64)
    # the order in which BLAS sums depends on where a tensor starts: the same numbers must give the same last bits
    return wide if wide.data_ptr() % _ALIGNMENT == 0 else wide.clone()
