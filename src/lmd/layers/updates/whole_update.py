"""DoRA's whole update: the low-rank part, then each output rescaled to a magnitude of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.layers.updates.against_base import Update
from lmd.sources.derived_loaders import Borrowed
from lmd.sources.loaders import Combined, Loader

__all__ = ["MagnitudeUpdate", "rescaled_update"]


@dataclass(frozen=True, slots=True, eq=False)
class MagnitudeUpdate(ThinProduct):
    """The low-rank part of an update that goes on to rescale the outputs.

    Attributes:
        magnitude: one number for each output, the length its row of weights is given.
    """

    magnitude: Loader = field(kw_only=True)


def rescaled_update(row: MagnitudeUpdate, base: LayerMatrix) -> LayerMatrix:
    """``diag(m / ||W + BA||) (W + BA) - W``, norms row by row: what DoRA adds to ``W`` in all.

    References:
        Liu et al. 2024 (DoRA).
    """
    place, _, which = row.name.rpartition("adapter")
    form = partial(_rescaled, shape=row.shape, form=base.form, groups=base.groups)
    # the factors are accounted for in their own row, the weight in the base
    loader = Combined(form, (Borrowed(row.loader), row.magnitude, Borrowed(base.loader)), row.shape)
    note = f"DoRA's whole update, each output rescaled to its magnitude; {row.note.partition('; ')[2]}"
    name = f"{place}difference{which}"
    return Update(name, "difference", row.shape, loader, note=note, base=base)


def _rescaled(
    factors: Tensor,
    magnitude: Tensor,
    stored: Tensor,
    *,
    shape: tuple[int, int],
    form: Callable[[Tensor], Tensor],
    groups: int,
) -> Float64[Tensor, "out in"]:
    out, inn = shape
    W = torch.block_diag(*form(stored).double().reshape(groups, out // groups, inn // groups))
    moved = W + factors[:out] @ factors[out:].T
    lengths = torch.linalg.vector_norm(moved, dim=1)
    return (magnitude.double().flatten() / lengths)[:, None] * moved - W
