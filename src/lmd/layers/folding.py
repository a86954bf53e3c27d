"""Normalisation folded into the layer beside it: ``W diag(gain)`` or ``diag(gain) W``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lmd.layers.affine_folding import Affine, affine_norms, times_affine
from lmd.layers.blocks.feeding import Feeds, feeds_of
from lmd.layers.convolutions.convolution_maps import ConvolutionMap
from lmd.layers.convolutions.pooled import as_computed
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.sources.loaders import Combined
from lmd.sources.network import Network

__all__ = ["folded"]

_FOLDABLE = (
    *("dense", "kernel_matrix", "query", "key", "value", "attention_output"),
    *("query_key", "value_output", "expert", "gate"),
)
_BY_ITSELF = "no normalisation folded: this is the layer by itself"
_UNKNOWN = "no normalisation folded: none is certain to stand beside it"
Form = Callable[[Tensor], Tensor]


def folded(layers: Sequence[LayerMatrix], network: Network) -> tuple[LayerMatrix, ...]:
    """Each layer that a normalisation certainly feeds, times its gain; the note says which one, or that none is."""
    norms = {row.name: row for row in layers if row.kind == "diagonal" and row.view_of is None}
    feeds = feeds_of(network, norms)
    shifts = affine_norms(norms, network) if network.wishes.fold_bias else {}
    guesses = {name for name, row in norms.items() if _is_guess(row, network)}
    return tuple(_doubted(row, _folded(row, feeds, norms, shifts), feeds, guesses) for row in layers)


def _is_guess(norm: LayerMatrix, network: Network) -> bool:
    reading = network.readings.get(norm.name)
    return norm.confidence == "guess" or (reading is not None and reading.confidence == "guess")


def _doubted(row: LayerMatrix, folded_row: LayerMatrix, feeds: Feeds, guesses: set[str]) -> LayerMatrix:
    """What has the gain of a norm that is a guess is one too."""
    if folded_row.loader is row.loader:
        return folded_row
    before, behind = feeds.norm_before(_reads(row)), feeds.norm_behind(_reads(row))
    name = next((norm for norm in (before, behind) if norm in guesses), None)
    if name is None:
        return folded_row
    note = f"{folded_row.note}; that {name} multiplies by its weight, and not by 1 + weight, is a guess"
    return replace(folded_row, note=note, confidence="guess")


def _folded(row: LayerMatrix, feeds: Feeds, norms: dict[str, LayerMatrix], shifts: dict[str, Affine]) -> LayerMatrix:
    if isinstance(row, RecurrentMatrix):
        return replace(row, note="; ".join(text for text in (row.note, _BY_ITSELF) if text))
    if row.kind not in _FOLDABLE and not isinstance(row, ConvolutionMap):
        return row
    tensor = _reads(row)
    before, behind = norms.get(feeds.norm_before(tensor) or ""), norms.get(feeds.norm_behind(tensor) or "")
    # an operator has no column for a constant
    affine = bool(shifts) and not isinstance(row, ConvolutionMap)
    if before is not None and _fits_before(before.shape[0], row):
        both = behind is not None and _fits_behind(behind.shape[0], row)
        left = f"{behind.name} behind it is not folded in" if behind is not None and both else ""
        row = replace(row, note="; ".join(text for text in (row.note, left) if text), own_inputs=False)
        return times_affine(row, shifts[before.name], behind=False) if affine else _times(row, before, behind=False)
    if behind is not None and _fits_behind(behind.shape[0], row):
        return times_affine(row, shifts[behind.name], behind=True) if affine else _times(row, behind, behind=True)
    return replace(row, note="; ".join(text for text in (row.note, _UNKNOWN) if text))


def _reads(row: LayerMatrix) -> str:
    """The stored weight by which a row reads: what a head writes comes from what its value reads."""
    return row.loader.tensors[1 if row.kind == "value_output" and len(row.loader.tensors) > 1 else 0]


def _fits_before(width: int, row: LayerMatrix) -> bool:
    if isinstance(row, ConvolutionMap):
        return width == row.geometry.channels[1]
    columns = row.shape[1]
    if isinstance(row, ThinProduct):
        # behind the inputs may come the constant 1 and what a norm of queries or keys divides by
        return width <= columns <= width + 2
    # one more column for the constant 1 of [W b]
    return columns % width == 0 or columns == width + 1


def _fits_behind(width: int, row: LayerMatrix) -> bool:
    if isinstance(row, ConvolutionMap):
        return width == row.geometry.channels[0]
    return width == row.shape[0] and not isinstance(row, ThinProduct)


def _times(row: LayerMatrix, norm: LayerMatrix, *, behind: bool) -> LayerMatrix:
    place = "behind" if behind else "before"
    note = "; ".join(text for text in (row.note, f"times the gain of {norm.name}, folded in from {place}") if text)
    if isinstance(row, ThinProduct):
        both = row.kind == "query_key"
        function: Callable[..., Tensor] = partial(
            _scaled_factors, form=row.form, gain=norm.form, out=row.shape[0], both=both
        )
        size = row.loader.shape
    elif isinstance(row, ConvolutionMap):
        size, groups = row.geometry.kernel_shape, row.geometry.groups
        # stored with the outputs first, of a transposed one with the inputs
        first = behind != row.geometry.transposed
        function = partial(_scaled_kernel, form=row.form, gain=norm.form, groups=groups, first=first)
    else:
        out, inn = row.shape
        size = (row.groups, out // row.groups, inn // row.groups)
        function = partial(_scaled, form=row.form, gain=norm.form, size=size, behind=behind)
    return replace(row, loader=Combined(function, (row.loader, norm.loader), size), form=as_computed, note=note)


def _scaled(
    weight: Tensor, norm: Tensor, *, form: Form, gain: Form, size: tuple[int, int, int], behind: bool
) -> Tensor:
    blocks, gains = form(weight).double().reshape(size), gain(norm).double().flatten()
    if behind:
        return blocks * gains.reshape(size[0], size[1], 1)
    if size[0] == 1 and size[2] == gains.numel() + 1:
        gains = torch.cat([gains, gains.new_ones(1)])
    # a kernel has one column for each position of each channel
    repeated = gains.repeat_interleave(size[0] * size[2] // gains.numel())
    return blocks * repeated.reshape(size[0], 1, size[2])


def _scaled_kernel(kernel: Tensor, norm: Tensor, *, form: Form, gain: Form, groups: int, first: bool) -> Tensor:
    """One channel of a stored kernel times each gain: along its first axis, or along its second within the groups."""
    stored, gains = form(kernel).double(), gain(norm).double().flatten()
    if first:
        return (stored.flatten(1) * gains[:, None]).reshape(stored.shape)
    blocks = stored.flatten(2).unflatten(0, (groups, -1))
    return (blocks * gains.reshape(groups, 1, -1, 1)).reshape(stored.shape)


def _scaled_factors(factors: Tensor, norm: Tensor, *, form: Form, gain: Form, out: int, both: bool) -> Tensor:
    gains = gain(norm).double().flatten()
    left = gains if both else torch.ones(out, dtype=torch.float64)
    return form(factors) * torch.cat([left, gains])[:, None]
