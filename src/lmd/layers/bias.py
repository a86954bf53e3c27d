"""Biases folded into the map: ``[W b]``, whose last input is the constant 1."""

from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from lmd.layers.convolutions.pooled import as_computed
from lmd.layers.layer_matrix import Form, LayerMatrix
from lmd.layers.recurrence import AffineRecurrentMatrix, RecurrentMatrix
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["constant_note", "wished_bias", "with_constant"]

_WITHOUT = "without the bias: this is the linear part alone"


def wished_bias(network: Network, name: str) -> Loader | None:
    """The loader of a bias, where biases are to be folded in and the layer has this one."""
    return network.loaders.get(name) if network.wishes.fold_bias else None


def constant_note(groups: int) -> str:
    """What a row of ``[W b]`` says of its last column, or of the last column of each of its blocks."""
    return "[W b]: the last input " + ("" if groups == 1 else "of each group ") + "is the constant 1"


def with_constant(row: LayerMatrix) -> LayerMatrix:
    """``[W b]`` for a row that carries a bias, block by block where it is block-diagonal; other rows as they are."""
    if row.kind in ("conv_operator", "conv_symbol"):
        return replace(row, note=f"{row.note}; {_WITHOUT}")
    if row.bias is None:
        return row
    out, inn = row.shape
    size = (row.groups, out // row.groups, inn // row.groups + 1)
    function = partial(_augmented, form=row.form, size=(row.groups, out // row.groups, inn // row.groups))
    given = {field.name: getattr(row, field.name) for field in fields(LayerMatrix)}
    recurrent = isinstance(row, RecurrentMatrix)
    notes = (row.note, constant_note(row.groups), "eigenvalues are those of W" if recurrent else "")
    given |= {
        "shape": (out, inn + row.groups),
        "loader": Combined(function, (row.loader, row.bias), size),
        "form": as_computed,
        "note": "; ".join(filter(None, notes)),
        "bias": None,
    }
    return (AffineRecurrentMatrix if recurrent else LayerMatrix)(**given)


def _augmented(weight: Tensor, bias: Tensor, *, form: Form, size: tuple[int, int, int]) -> Tensor:
    blocks = form(weight).reshape(size)
    return torch.cat([blocks, bias.reshape(*size[:2], 1)], dim=2)
