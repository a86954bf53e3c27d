"""A convolution on inputs of a given size: a linear map, its transpose, its matrix and its Frobenius norm."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from lmd.linalg.convolutions.padding import PaddingMode, pad, pad_adjoint, padded_size, read_positions

__all__ = ["Convolution"]

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_SPREAD = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_BATCH_ELEMENTS = 1 << 24
"""Of inputs taken through the map together: 128 MB as float64."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """Everything about a convolution but its numbers; sizes are spatial, without batch and channels.

    Attributes:
        channels: ``(out, in)``.
        kernel_size, stride, dilation: one number for each axis, of which there are 1 to 3.
        pads: positions added before and after, for each axis; below 0 for positions cut.
        mode: what is added.
        groups: of channels that do not see each other.
        transposed: the map is the transpose of the convolution from ``out`` to ``in`` channels that the rest describes.
        output_padding: rows added at the end of a transposed convolution's output.
    """

    channels: tuple[int, int]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    mode: PaddingMode = "zeros"
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def dimensions(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel_size)

    @property
    def extent(self) -> tuple[int, ...]:
        """How far the kernel reaches along each axis, gaps included."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """As torch stores it: ``(out, in / groups, *k)``, transposed ``(in, out / groups, *k)``."""
        out, inn = reversed(self.channels) if self.transposed else self.channels
        return (out, inn // self.groups, *self.kernel_size)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of what comes out.

        Raises:
            ValueError: the input is too small for the kernel.
        """
        if len(size) != self.dimensions or min(size, default=0) < 1:
            raise ValueError(f"size={tuple(size)} must be {self.dimensions} numbers of at least 1, one for each axis.")
        return self._spread_size(size) if self.transposed else self._convolved_size(size)

    def shape(self, size: Sequence[int]) -> tuple[int, int]:
        """``(out, in)`` of the matrix on inputs of this size."""
        out, inn = self.channels
        return out * prod(self.output_size(size)), inn * prod(size)

    def apply(self, kernel: Float[Tensor, "..."], x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The convolution of ``x (batch, in, *size)``, without a bias."""
        if self.transposed:
            return self._spread(kernel, x, self.output_size(x.shape[2:]))
        return self._convolve(kernel, x, self.output_size(x.shape[2:]))

    def adjoint(
        self, kernel: Float[Tensor, "..."], y: Float[Tensor, "..."], size: Sequence[int]
    ) -> Float[Tensor, "..."]:
        """The exact transpose: ``y (batch, out, *output_size)`` back to inputs of this size."""
        return self._convolve(kernel, y, tuple(size)) if self.transposed else self._spread(kernel, y, tuple(size))

    def matrix(self, kernel: Float64[Tensor, "..."], size: Sequence[int]) -> Float64[Tensor, "out in"]:
        """The whole matrix, column by column; for small cases."""
        out, inn = self.shape(size)
        columns = torch.empty(inn, out, dtype=torch.float64)
        step = max(1, _BATCH_ELEMENTS // max(out, inn))
        for start in range(0, inn, step):
            count = min(step, inn - start)
            units = torch.zeros(count, inn, dtype=torch.float64)
            units[torch.arange(count), torch.arange(start, start + count)] = 1.0
            columns[start : start + count] = self.apply(kernel, units.reshape(count, -1, *size)).reshape(count, out)
        return columns.T.contiguous()

    def frobenius_norm(self, kernel: Float64[Tensor, "..."], size: Sequence[int]) -> float:
        """Frobenius norm of the matrix, in closed form.

        A row sums the taps that read one position; two of them meet as often as the axes say, whose counts multiply.
        """
        taps = kernel.flatten(2).permute(2, 0, 1).flatten(1)
        meetings = reduce(torch.kron, self._meetings(self._convolved_from(size)))
        return ((taps @ taps.T) * meetings).sum().clamp_min(0.0).sqrt().item()

    def applications(self, size: Sequence[int]) -> int:
        """Multiplications that one application takes."""
        return prod(self.kernel_shape) * prod(size if self.transposed else self.output_size(size))

    def _convolved_from(self, size: Sequence[int]) -> tuple[int, ...]:
        return self.output_size(size) if self.transposed else tuple(size)

    def _meetings(self, size: Sequence[int]) -> Iterator[Float64[Tensor, "k k"]]:
        """For each axis, how many outputs read the same position by tap i and by tap j."""
        for axis, n in enumerate(size):
            outputs = torch.arange(self._kept(size)[axis]) * self.stride[axis]
            taps = torch.arange(self.kernel_size[axis]) * self.dilation[axis]
            read = read_positions(n, self.pads[axis], self.mode)[outputs[:, None] + taps]
            same = (read[:, :, None] == read[:, None, :]) & (read[:, :, None] >= 0)
            yield same.sum(dim=0).double()

    def _convolved_size(self, size: Sequence[int]) -> tuple[int, ...]:
        padded = padded_size(size, self.pads)
        result = tuple((n - e) // s + 1 for n, e, s in zip(padded, self.extent, self.stride, strict=True))
        if min(result) < 1:
            raise ValueError(
                f"size={tuple(size)} padded by {self.pads} must be at least {self.extent}, what the kernel reaches."
            )
        return result

    def _spread_size(self, size: Sequence[int]) -> tuple[int, ...]:
        more = self.output_padding or (0,) * self.dimensions
        return tuple(
            (n - 1) * s - before - after + e + o
            for n, s, (before, after), e, o in zip(size, self.stride, self.pads, self.extent, more, strict=True)
        )

    def _kept(self, size: Sequence[int]) -> tuple[int, ...]:
        """Outputs of the convolution that the map has: output padding beyond the stride would add some."""
        found = self._convolved_size(size)
        if not self.transposed or not any(self.output_padding):
            return found
        more = zip(found, self.output_padding, self.stride, strict=True)
        return tuple(n - o // s for n, o, s in more)

    def _convolve(self, kernel: Tensor, x: Tensor, size: tuple[int, ...]) -> Tensor:
        options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        if self.mode == "zeros" and all(before == after >= 0 for before, after in self.pads):
            y = _CONVOLVE[self.dimensions](x, kernel, padding=tuple(before for before, _ in self.pads), **options)
        else:
            y = _CONVOLVE[self.dimensions](pad(x, self.pads, self.mode), kernel, **options)
        for axis, n in enumerate(size, start=2):
            y = y.narrow(axis, 0, n)
        return y

    def _spread(self, kernel: Tensor, y: Tensor, size: tuple[int, ...]) -> Tensor:
        """The transpose of ``_convolve``, onto inputs of this size."""
        padded = padded_size(size, self.pads)
        options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        z = _SPREAD[self.dimensions](y, kernel, **options)
        missing = [(0, n - m) for n, m in zip(padded, z.shape[2:], strict=True)]
        return pad_adjoint(pad(z, missing, "zeros"), size, self.pads, self.mode)
