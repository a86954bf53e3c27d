"""Layers with complex weights, as the real maps of real and imaginary parts that they are."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lmd.layers.convolutions.pooled import as_computed
from lmd.layers.layer_matrix import Form, LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix
from lmd.sources.loaders import Combined, Evaluated
from lmd.sources.network import Network

__all__ = ["as_real_maps", "complex_tensors"]

_NOTE = "complex weights: [[Re, -Im], [Im, Re]] of the real parts, then the imaginary parts; each value counts twice"


def complex_tensors(network: Network) -> frozenset[str]:
    """Names of the tensors of complex numbers."""
    return frozenset(record.name for record in network.records if record.dtype.startswith("complex"))


def as_real_maps(rows: Iterable[LayerMatrix], names: Set[str]) -> Iterator[LayerMatrix]:
    """Rows that read complex numbers as they are become real maps of twice the width; other rows pass.

    Parts of such layers that are no plain matrix are left out: circuits of heads, operators of convolutions.
    """
    for row in rows:
        if names.isdisjoint(row.loader.tensors) or isinstance(row.loader, Combined | Evaluated):
            yield row
        elif type(row) in (LayerMatrix, RecurrentMatrix):
            yield _real(row)


def _real(row: LayerMatrix) -> LayerMatrix:
    out, inn = row.shape
    size = (row.groups, out // row.groups, inn // row.groups)
    loader = Combined(partial(_blocks, form=row.form, size=size), (row.loader,), (size[0], 2 * size[1], 2 * size[2]))
    note = "; ".join(filter(None, (row.note, _NOTE)))
    bias = row.bias
    if bias is not None:
        bias = Combined(partial(_parts, groups=row.groups), (bias,), (2 * out,))
    return replace(row, shape=(2 * out, 2 * inn), loader=loader, form=as_computed, note=note, bias=bias)


def _parts(bias: Tensor, *, groups: int) -> Tensor:
    return torch.view_as_real(bias.reshape(groups, -1)).movedim(2, 1).flatten()


def _blocks(stored: Tensor, *, form: Form, size: tuple[int, int, int]) -> Tensor:
    W = form(stored).reshape(size)
    return torch.cat([torch.cat([W.real, -W.imag], dim=2), torch.cat([W.imag, W.real], dim=2)], dim=1)
