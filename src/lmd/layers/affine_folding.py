"""A normalisation folded into the layer beside it with its shift: ``[W diag(gain), W shift + b]`` and its like."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lmd.layers.bias import constant_note
from lmd.layers.convolutions.pooled import as_computed
from lmd.layers.layer_matrix import Form, LayerMatrix
from lmd.layers.registry import join
from lmd.layers.thin_product import ThinProduct
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["Affine", "affine_norms", "times_affine"]


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A normalisation as ``x -> diag(gain) x + shift``.

    Attributes:
        row: its row, ``diag(gain)``.
        shift: what it adds; None where it adds nothing.
    """

    row: LayerMatrix
    shift: Loader | None

    @property
    def width(self) -> int:
        """Number of channels."""
        return self.row.shape[0]


def affine_norms(norms: Mapping[str, LayerMatrix], network: Network) -> dict[str, Affine]:
    """The normalisations with what each adds to its scaled input."""
    modules = {network.names.get(place, place): module for place, module in network.skeleton.named_modules()}
    return {name: Affine(row, _shift(row, modules, network)) for name, row in norms.items()}


def _shift(row: LayerMatrix, modules: Mapping[str, nn.Module], network: Network) -> Loader | None:
    # a network that is one layer has the empty path
    path = row.name if row.name in modules else ""
    bias, mean = (network.loaders.get(join(path, word)) for word in ("bias", "running_mean"))
    if not isinstance(modules[path], _NormBase) or mean is None:
        return bias
    parts = (row.loader, mean) if bias is None else (row.loader, mean, bias)
    return Combined(partial(_evaluation_shift, gain=row.form), parts, mean.shape)


def _evaluation_shift(norm: Tensor, mean: Tensor, bias: Tensor | None = None, *, gain: Form) -> Tensor:
    shift = -mean.double() * gain(norm).double().flatten()
    return shift if bias is None else shift + bias.double()


def times_affine(row: LayerMatrix, norm: Affine, *, behind: bool) -> LayerMatrix:
    """The layer and the normalisation as one map of the input and, where anything is added, a constant 1."""
    place = "behind" if behind else "before"
    notes = [row.note, f"times the gain of {norm.row.name}, folded in from {place}"]
    if isinstance(row, ThinProduct):
        return _thin(row, norm, notes)
    out, inn = row.shape
    constant = not behind and row.groups == 1 and inn == norm.width + 1
    size = (row.groups, out // row.groups, inn // row.groups)
    parts = {"weight": row.loader, "norm": norm.row.loader, "shift": norm.shift, "bias": row.bias}
    given = {label: part for label, part in parts.items() if part is not None}
    function = partial(
        _behind if behind else _before,
        labels=tuple(given),
        form=row.form,
        gain=norm.row.form,
        size=size,
        constant=constant,
    )
    wider = int(not constant and ("shift" in given or "bias" in given))
    if wider:
        notes.append(constant_note(row.groups))
    if norm.shift is not None:
        notes.append(_about_shift(row, norm, behind=behind))
    loader = Combined(function, tuple(given.values()), (*size[:2], size[2] + wider))
    note = "; ".join(filter(None, notes))
    return replace(row, shape=(out, inn + wider * row.groups), loader=loader, form=as_computed, note=note, bias=None)


def _about_shift(row: LayerMatrix, norm: Affine, *, behind: bool) -> str:
    text = f"the shift of {norm.row.name} is in that column"
    if not behind and row.kind == "kernel_matrix" and row.shape[1] > norm.width:
        return f"{text}, as whole patches see it: the padding at the edge is not shifted"
    return text


def _before(
    *tensors: Tensor, labels: tuple[str, ...], form: Form, gain: Form, size: tuple[int, int, int], constant: bool
) -> Tensor:
    given = dict(zip(labels, tensors, strict=True))
    blocks, gains = form(given["weight"]).double().reshape(size), gain(given["norm"]).double().flatten()
    columns = [blocks[:, :, -1]] if constant else []
    blocks = blocks[:, :, : size[2] - int(constant)]
    if "bias" in given:
        columns.append(given["bias"].double().reshape(size[:2]))
    if "shift" in given:
        columns.append((blocks * _along(given["shift"].double().flatten(), blocks)).sum(2))
    scaled = blocks * _along(gains, blocks)
    return torch.cat([scaled, *([torch.stack(columns).sum(0)[:, :, None]] if columns else [])], dim=2)


def _along(channels: Tensor, blocks: Tensor) -> Tensor:
    """A number for each channel, repeated for each position that a kernel has."""
    groups, _, columns = blocks.shape
    return channels.repeat_interleave(groups * columns // channels.numel()).reshape(groups, 1, columns)


def _behind(
    *tensors: Tensor, labels: tuple[str, ...], form: Form, gain: Form, size: tuple[int, int, int], constant: bool
) -> Tensor:
    given = dict(zip(labels, tensors, strict=True))
    gains = gain(given["norm"]).double().reshape(*size[:2], 1)
    scaled = form(given["weight"]).double().reshape(size) * gains
    columns = []
    if "bias" in given:
        columns.append(given["bias"].double().reshape(gains.shape) * gains)
    if "shift" in given:
        columns.append(given["shift"].double().reshape(gains.shape))
    return torch.cat([scaled, *([torch.stack(columns).sum(0)] if columns else [])], dim=2)


def _thin(row: ThinProduct, norm: Affine, notes: list[str]) -> ThinProduct:
    out, inn = row.shape
    # a comparison reads the normalised input on both sides, what a head writes is not normalised
    sides = (row.kind == "query_key", True)
    shifted = tuple(reads and norm.shift is not None for reads in sides)
    shape = tuple(
        side + int(adds and not held) for side, adds, held in zip((out, inn), shifted, row.constants, strict=True)
    )
    if norm.shift is not None:
        text = f"the shift of {norm.row.name} is in its {'row and column' if sides[0] else 'column'}"
        notes.append(text if any(row.constants) else f"behind the inputs comes the constant 1; {text}")
    parts = (row.loader, norm.row.loader, *([] if norm.shift is None else [norm.shift]))
    form = _ThinForm(row.form, norm.row.form, out, sides[0], row.constants)
    loader = Combined(partial(_affine_factors, form=form), parts, (sum(shape), row.inner))
    note = "; ".join(filter(None, notes))
    constants = (row.constants[0] or shifted[0], row.constants[1] or shifted[1])
    return replace(
        row,
        shape=(shape[0], shape[1]),
        loader=loader,
        form=as_computed,
        note=note,
        bias=None,
        constants=constants,
    )


@dataclass(frozen=True, slots=True)
class _ThinForm:
    """How factors and gains are read, where the left factor ends, and whether it reads the normalisation too.

    ``constants`` tells which factors have a row for the constant 1 already.
    """

    factors: Form
    gain: Form
    out: int
    both: bool
    constants: tuple[bool, bool]


def _affine_factors(factors: Tensor, norm: Tensor, shift: Tensor | None = None, *, form: _ThinForm) -> Tensor:
    gains = form.gain(norm).double().flatten()
    left, right = form.factors(factors).split([form.out, len(factors) - form.out])
    added = None if shift is None else shift.double().flatten()
    left = _affine_factor(left, gains, added, constant=form.constants[0]) if form.both else left
    return torch.cat([left, _affine_factor(right, gains, added, constant=form.constants[1])])


def _affine_factor(factor: Tensor, gains: Tensor, shift: Tensor | None, *, constant: bool) -> Tensor:
    """One factor ``(in, inner)`` of what it does with the input before the normalisation.

    Behind the inputs come, where there are any, the constant 1 and then what is beside it.
    """
    channels, others = factor[: len(gains)], factor[len(gains) :]
    scaled = channels * gains[:, None]
    if shift is None:
        return torch.cat([scaled, others])
    added = (shift @ channels)[None]
    held, beside = (others[:1], others[1:]) if constant else (torch.zeros_like(added), others)
    return torch.cat([scaled, held + added, beside])
