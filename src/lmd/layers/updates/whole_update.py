"""What an adapter changes in all, where its low-rank part is not the whole of it: DoRA, PiSSA and OLoRA."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.layers.updates.against_base import Update, with_base
from lmd.layers.updates.starts import Start
from lmd.layers.updates.unpaired import NeedsBase, Unpaired
from lmd.sources.derived_loaders import Borrowed, Missing
from lmd.sources.loaders import Combined, Loader

__all__ = ["PartialUpdate", "beside", "from_leading_part", "rescaled_update"]

Form = Callable[[Tensor], Tensor]
Matrix = Float64[Tensor, "out in"]


@dataclass(frozen=True, slots=True, eq=False)
class PartialUpdate(ThinProduct):
    """The low-rank part of an update that is more than that.

    Attributes:
        completed: from this row and the layer that is changed to the whole update.
    """

    completed: Callable[["PartialUpdate", LayerMatrix], LayerMatrix] = field(kw_only=True)


def beside(row: LayerMatrix, base: LayerMatrix) -> Iterator[LayerMatrix]:
    """The rows of an adapter, now that the layer it changes is known."""
    if isinstance(row, NeedsBase):
        yield row.completed(base)
    elif isinstance(row, Unpaired):
        yield row
    elif row.shape != base.shape:
        (out, inn), (rows, columns) = row.shape, base.shape
        yield replace(row, note=f"{row.note}; {out} x {inn}, but the base's layer {base.name} is {rows} x {columns}")
    else:
        yield with_base(row, base)
        if isinstance(row, PartialUpdate):
            yield row.completed(row, base)


def rescaled_update(row: ThinProduct, base: LayerMatrix, *, magnitude: Loader, start: Start) -> LayerMatrix:
    """``diag(m / ||V + BA||) (V + BA) - W``, norms row by row: what DoRA adds to ``W`` in all.

    ``V`` is ``W`` less the part of it that the factors began as.

    References:
        Liu et al. 2024 (DoRA).
    """
    if start.name:
        reason = f"DoRA rescales the weight as {start.name} left it, which neither the adapter nor the base tells"
        loader = Missing(magnitude.tensors, row.shape)
        return Unpaired(_named(row), "difference", row.shape, loader, reason=reason)
    form = partial(_rescaled, dense=_reader(base), start=start.part)
    # the factors are accounted for in their own row, the weight in the base
    loader = Combined(form, (Borrowed(row.loader), magnitude, Borrowed(base.loader)), row.shape)
    less = "" if start.part is None else ", the part of W that the factors began as taken out first"
    return _difference(row, base, loader, f"DoRA's whole update, each output rescaled to its magnitude{less}")


def from_leading_part(row: ThinProduct, base: LayerMatrix, *, start: Start) -> LayerMatrix:
    """``BA`` less the part of ``W`` that the factors began as, which was taken out of ``W`` then."""
    assert start.part is not None
    form = partial(_less_start, dense=_reader(base), start=start.part)
    loader = Combined(form, (Borrowed(row.loader), Borrowed(base.loader)), row.shape)
    return _difference(row, base, loader, "the whole update: the product less the part of W that it began as")


def _named(row: ThinProduct) -> str:
    place, _, which = row.name.rpartition("adapter")
    return f"{place}difference{which}"


def _difference(row: ThinProduct, base: LayerMatrix, loader: Loader, words: str) -> Update:
    note = f"{words}; {row.note.partition('; ')[2]}"
    return Update(_named(row), "difference", row.shape, loader, note=note, base=base)


def _reader(base: LayerMatrix) -> Form:
    return partial(_dense, shape=base.shape, form=base.form, groups=base.groups)


def _dense(stored: Tensor, *, shape: tuple[int, int], form: Form, groups: int) -> Matrix:
    out, inn = shape
    return torch.block_diag(*form(stored).double().reshape(groups, out // groups, inn // groups))


def _rescaled(
    factors: Tensor, magnitude: Tensor, stored: Tensor, *, dense: Form, start: Callable[[Tensor, int], Tensor] | None
) -> Matrix:
    W = dense(stored)
    kept = W if start is None else W - start(W, factors.shape[1])
    moved = kept + factors[: len(W)] @ factors[len(W) :].T
    lengths = torch.linalg.vector_norm(moved, dim=1)
    return (magnitude.double().flatten() / lengths)[:, None] * moved - W


def _less_start(factors: Tensor, stored: Tensor, *, dense: Form, start: Callable[[Tensor, int], Tensor]) -> Matrix:
    W = dense(stored)
    return factors[: len(W)] @ factors[len(W) :].T - start(W, factors.shape[1])
