"""Second moments of what goes into a layer, comes out of it, and comes back as gradients, summed batch by batch."""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

__all__ = ["Moments", "Sums", "Vectors", "takes", "vectors_of"]

_WORK = 1 << 31
"""Multiplications spent on one layer for one batch, which says how many vectors of it are taken."""
_FEWEST = 4096
_MOST_SIDE = 6144
"""A matrix of this side has 300 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What a layer saw, as means of products over vectors: examples, tokens, or patches of pictures.

    Attributes:
        layer: name of the row or path of the module.
        vectors: how many vectors were summed.
        seen: how many the layer saw; more than ``vectors`` where positions were drawn.
        examples: how many examples they come from.
        what: ``vectors``, ``patches``, ``tokens``, ``entries`` or ``steps``.
        input_mean: ``(in,)``.
        input_second: ``E[x x^T] (in, in)``; of look-ups, whose inputs are one-hot, its diagonal ``(in,)``.
        output_mean: ``(out,)``, bias included.
        output_second: ``E[y y^T] (out, out)``.
        delta_mean: mean gradient of the loss of one example at the outputs, or None without targets.
        delta_second: ``E[d d^T] (out, out)``, or None.
    """

    layer: str
    vectors: int
    seen: int
    examples: int
    what: str
    input_mean: Float64[Tensor, " in"]
    input_second: Float64[Tensor, "in in"] | Float64[Tensor, " in"]
    output_mean: Float64[Tensor, " out"]
    output_second: Float64[Tensor, "out out"]
    delta_mean: Float64[Tensor, " out"] | None = None
    delta_second: Float64[Tensor, "out out"] | None = None

    @property
    def exact(self) -> bool:
        """Whether all vectors were taken."""
        return self.vectors == self.seen


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Inputs and outputs of one call as rows.

    Attributes:
        what: as of ``Moments``.
        inputs: ``(n, in)``, or the entries ``(n,)`` that were looked up.
        outputs: ``(n, out)``.
        places: index of each row among all positions of the call, to find its delta by; None where all are taken.
        seen: how many there were.
    """

    what: str
    inputs: Tensor
    outputs: Tensor
    places: Tensor | None
    seen: int

    def rows(self, outputs: Tensor) -> Tensor:
        """The same rows of another tensor of the outputs' shape."""
        flat = _as_rows(outputs, patches=self.what == "patches")
        return flat if self.places is None else flat[self.places]


class Sums:
    """Running sums of one layer."""

    def __init__(self, layer: str, inputs: int, outputs: int, *, one_hot: bool) -> None:
        """Begin with zeros."""
        kind: dict[str, Any] = {"dtype": torch.float64}
        self._layer, self._entries = layer, inputs
        self._x = torch.zeros(inputs, **kind)
        self._xx = torch.zeros(inputs, **kind) if one_hot else torch.zeros(inputs, inputs, **kind)
        self._y, self._yy = torch.zeros(outputs, **kind), torch.zeros(outputs, outputs, **kind)
        self._d, self._dd = torch.zeros(outputs, **kind), torch.zeros(outputs, outputs, **kind)
        self._vectors = self._seen = self._deltas = self._examples = 0
        self._what = ""

    def add(self, vectors: Vectors, examples: int) -> None:
        """What one call saw."""
        y = vectors.outputs.double()
        if self._xx.ndim == 1:
            counts = torch.bincount(vectors.inputs.reshape(-1), minlength=self._entries).double()
            self._x += counts
            self._xx += counts
        else:
            x = vectors.inputs.double()
            self._x += x.sum(dim=0)
            self._xx.addmm_(x.T, x)
        self._y += y.sum(dim=0)
        self._yy.addmm_(y.T, y)
        self._vectors, self._seen = self._vectors + len(y), self._seen + vectors.seen
        self._examples, self._what = self._examples + examples, vectors.what

    def add_deltas(self, deltas: Tensor) -> None:
        """Gradients at the outputs of one call, ``(n, out)``."""
        d = deltas.double()
        self._d += d.sum(dim=0)
        self._dd.addmm_(d.T, d)
        self._deltas += len(d)

    def moments(self) -> Moments | None:
        """Means of all that was added; None if nothing was."""
        n, m = self._vectors, self._deltas
        if not n:
            return None
        deltas = (self._d / m, self._dd / m) if m else (None, None)
        means = (self._x / n, self._xx / n, self._y / n, self._yy / n)
        return Moments(self._layer, n, self._seen, self._examples, self._what, *means, *deltas)


class _Taker(Protocol):
    def __call__(
        self, module: Any, x: Tensor, y: Tensor, shape: tuple[int, int], generator: torch.Generator
    ) -> Vectors | None: ...


def vectors_of(
    module: nn.Module, x: Tensor, y: Tensor, shape: tuple[int, int], generator: torch.Generator
) -> Vectors | None:
    """Inputs and outputs of a call as rows of a map of this shape; None where the call is no such map.

    Args:
        module: what was called.
        x: its first input.
        y: its output.
        shape: ``(out, in)`` of the map.
        generator: draws positions where there are more than can be summed.
    """
    taker = next(take for kind, take in _TAKERS if isinstance(module, kind))
    return taker(module, x, y, shape, generator)


def _none(module: Any, x: Tensor, y: Tensor, shape: tuple[int, int], generator: torch.Generator) -> Vectors | None:
    return None


def _tokens(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    shape: tuple[int, int],
    generator: torch.Generator,
) -> Vectors | None:
    if not x.ndim or x.shape[-1] != shape[1] or y.shape[-1] != shape[0] or x.shape[:-1] != y.shape[:-1]:
        return None
    what = "vectors" if x.ndim == 2 else "tokens"
    x, y = _as_rows(x, patches=False), _as_rows(y, patches=False)
    places = _drawn(len(x), shape, generator)
    if places is None:
        return Vectors(what, x, y, None, len(x))
    return Vectors(what, x[places], y[places], places, len(x))


def _entries(
    module: nn.Embedding,
    x: Tensor,
    y: Tensor,
    shape: tuple[int, int],
    generator: torch.Generator,
) -> Vectors | None:
    rows = y.reshape(-1, y.shape[-1])
    if rows.shape[1] != shape[0] or x.numel() != len(rows):
        return None
    return Vectors("entries", x.reshape(-1), rows, None, len(rows))


def _patches(
    module: _ConvNd, x: Tensor, y: Tensor, shape: tuple[int, int], generator: torch.Generator
) -> Vectors | None:
    axes = len(module.kernel_size)
    if x.ndim != axes + 2 or shape != (module.out_channels, module.in_channels * prod(module.kernel_size)):
        return None
    padded = _padded(module, x)
    windows = padded
    for axis, (size, step, far) in enumerate(zip(module.kernel_size, module.stride, module.dilation, strict=True)):
        windows = windows.unfold(2 + axis, (size - 1) * far + 1, step)[..., ::far]
    sizes = tuple(windows.shape[2 : 2 + axes])
    if sizes != tuple(y.shape[2:]):
        return None
    total = len(x) * prod(sizes)
    places = _drawn(total, shape, generator)
    chosen = torch.arange(total) if places is None else places
    # examples and positions first: a view, so that only the patches wanted are copied
    index = _unravelled(chosen, (len(x), *sizes))
    patches = windows.movedim(1, 1 + axes)[index]
    return Vectors("patches", patches.reshape(len(chosen), -1), _as_rows(y, patches=True)[chosen], places, total)


def _padded(module: _ConvNd, x: Tensor) -> Tensor:
    if module.padding_mode != "zeros":
        return nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=module.padding_mode)
    if isinstance(module.padding, str):
        return nn.functional.pad(x, module._reversed_padding_repeated_twice)
    return nn.functional.pad(x, [n for n in reversed(module.padding) for _ in range(2)])


def _unravelled(index: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    found: list[Tensor] = []
    for size in reversed(sizes):
        found.append(index % size)
        index = index // size
    return tuple(reversed(found))


def _as_rows(y: Tensor, *, patches: bool) -> Tensor:
    y = y.movedim(1, -1) if patches else y
    return y.reshape(-1, y.shape[-1])


def _drawn(total: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor | None:
    most = max(_FEWEST, _WORK // (shape[0] ** 2 + shape[1] ** 2))
    return None if total <= most else torch.randperm(total, generator=generator)[:most].sort().values


def takes(shape: tuple[int, int], *, one_hot: bool) -> bool:
    """Whether the moments of a map of this shape fit the memory."""
    return shape[0] <= _MOST_SIDE and (one_hot or shape[1] <= _MOST_SIDE)


_TAKERS: tuple[tuple[type, _Taker], ...] = (
    (_ConvTransposeNd, _none),
    (_ConvNd, _patches),
    (nn.Embedding, _entries),
    (nn.EmbeddingBag, _none),
    (nn.RNNBase, _none),
    (nn.RNNCellBase, _none),
    (nn.Module, _tokens),
)
