"""What is done to examples between the file and the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Layout", "Preparation", "number"]

Layout = Literal["HWC", "CHW"]
Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """In this order: shape, layout, type, scale, mean and standard deviation, the user's own function.

    Attributes:
        shape: of one example as the network takes it, where it is known; flattened ones get it.
        layout: whether channels come last (``HWC``) or first in what is stored.
        dtype: of the inputs; None leaves them as they are stored.
        scale: factor of all numbers.
        mean: taken away, one for all or one for each channel (of vectors: each feature).
        std: divided by, likewise.
        transform: from a batch to a batch, last.
    """

    shape: tuple[int, ...] | None = None
    layout: Layout = "CHW"
    dtype: torch.dtype | None = None
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    transform: Transform | None = None

    @property
    def scales(self) -> bool:
        """Whether the numbers themselves are changed."""
        return bool(self.scale is not None or self.mean or self.std or self.transform is not None)

    def __call__(self, inputs: Tensor) -> Tensor:
        """A batch as the network takes it.

        Raises:
            ValueError: the steps do not fit its shape.
        """
        inputs = self._typed(self._arranged(inputs))
        if self.scale is not None:
            inputs = inputs * self.scale
        if self.mean:
            inputs = inputs - _per_channel(self.mean, inputs, "mean")
        if self.std:
            inputs = inputs / _per_channel(self.std, inputs, "std")
        return inputs if self.transform is None else self._transformed(inputs)

    def _arranged(self, inputs: Tensor) -> Tensor:
        shape = self.shape
        if self.layout == "HWC" and inputs.ndim == 2 and shape is not None and len(shape) > 1:
            inputs = _reshaped(inputs, (*shape[1:], shape[0]))
        if self.layout == "HWC":
            # a picture without an axis of channels has one of them
            inputs = inputs[..., None] if inputs.ndim == 3 else inputs
            if inputs.ndim < 4:
                raise ValueError(
                    f"layout=HWC is about pictures, and each example has shape {tuple(inputs.shape[1:])}; leave it "
                    f"out, or tell their shape with --input-shape CxHxW."
                )
            inputs = inputs.movedim(-1, 1)
        return inputs if shape is None else _reshaped(inputs, shape)

    def _typed(self, inputs: Tensor) -> Tensor:
        dtype = self.dtype
        if dtype is None and self.scales and not inputs.dtype.is_floating_point:
            dtype = torch.float32
        return inputs if dtype is None else inputs.to(dtype)

    def _transformed(self, inputs: Tensor) -> Tensor:
        assert self.transform is not None
        changed = self.transform(inputs)
        if not isinstance(changed, Tensor) or len(changed) != len(inputs):
            what = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise ValueError(
                f"the transform made {what} of a batch of {len(inputs)}; it must return a tensor with as many examples."
            )
        return changed


def _reshaped(inputs: Tensor, shape: tuple[int, ...]) -> Tensor:
    """In that shape where that only flattens, unflattens, or adds or drops axes of 1; else as they are."""
    came = tuple(inputs.shape[1:])
    flat = len(came) == 1 or len(shape) == 1
    same = [n for n in came if n != 1] == [n for n in shape if n != 1]
    return inputs.reshape(len(inputs), *shape) if prod(came) == prod(shape) and (flat or same) else inputs


def _per_channel(numbers: Sequence[float], inputs: Tensor, name: str) -> Tensor:
    values = inputs.new_tensor(list(numbers))
    if len(numbers) == 1:
        return values
    channels = inputs.shape[1] if inputs.ndim > 1 else 0
    if len(numbers) != channels:
        raise ValueError(
            f"{name} has {len(numbers)} numbers and the examples have {channels} channels (shape "
            f"{tuple(inputs.shape[1:])}); give one number, or one for each channel; with channels last, --layout HWC."
        )
    return values.reshape(-1, *(1,) * (inputs.ndim - 2))


def number(word: str | float) -> float:
    """A number, or a fraction such as ``1/255``.

    Raises:
        ValueError: it is neither.

    >>> number("1/4")
    0.25
    """
    above, line, below = str(word).partition("/")
    try:
        return float(above) / float(below) if line else float(above)
    except (ValueError, ZeroDivisionError) as fault:
        raise ValueError(f"{word!r} is no number; give one such as 0.5 or 1/255.") from fault
