"""A network's layers against those of another one of equal structure: what one has and the other has not."""

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix, as_stored, transposed
from lmd.layers.registry import matrices_of
from lmd.layers.thin_product import ThinProduct
from lmd.layers.updates.against_base import AgainstBase, Update, with_base
from lmd.layers.updates.whole_update import MagnitudeUpdate, rescaled_update
from lmd.layers.walk import Walk, walk
from lmd.sources.derived_loaders import Borrowed, Difference, Missing, Transposed
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["Unpaired", "compared"]

Rows = Mapping[str, LayerMatrix]
Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Unpaired(LayerMatrix):
    """A layer that only one of two networks has, or that has another shape in the other one: nothing to decompose.

    Attributes:
        reason: why there is no difference.
    """

    reason: str = field(kw_only=True)


def compared(found: Walk, base: Network) -> Walk:
    """The rows of a network as differences from those of ``base``; adapters stay, with the layer they change beside.

    Rows are matched by name, as their module is called without what peft puts around it. Parts of layers are left out.

    Returns:
        One row for each whole layer of either network; ``Unpaired`` where there is no counterpart of the same shape.

    Raises:
        ValueError: the two have no layer in common.
    """
    mine = [row for row in found.layers if row.view_of is None]
    changed = {_target(row) for row in mine if row.kind == "adapter"}
    targets = _aligned(_targets(base), changed) if changed else {}
    whole = {_plain(row.name): row for row in walk(base).layers if row.view_of is None}
    theirs = _aligned(whole, {_plain(row.name) for row in mine if row.kind != "adapter"})
    rows = [row for own in mine for row in _against(own, theirs, targets)]
    if mine and all(isinstance(row, Unpaired) for row in rows):
        raise ValueError(
            f"the base has none of the {len(mine)} layers, whose names look like {mine[0].name!r}; its own look like "
            f"{next(iter(theirs), 'nothing')!r}; give the model that this one was trained from."
        )
    # of its base, a set of adapters changes a few layers only
    met = {_plain(row.name) for row in mine}
    missing = [] if changed else [_absent(row) for name, row in theirs.items() if name not in met]
    return Walk((*rows, *missing), found.reasons)


def _target(row: LayerMatrix) -> str:
    return _plain(row.name).rpartition("adapter")[0].rstrip(".")


def _aligned(theirs: Rows, wanted: Set[str]) -> Rows:
    """The same rows, under names with one more or one less prefix where no name fits as it is.

    A model with a head holds its trunk under a prefix that the trunk's own file leaves out.
    """
    if not wanted or wanted & set(theirs):
        return theirs
    prefixes = sorted({f"{name.partition('.')[0]}." for name in (*wanted, *theirs) if "." in name})
    longer = ({prefix + name: row for name, row in theirs.items()} for prefix in prefixes)
    shorter = ({name.removeprefix(prefix): row for name, row in theirs.items()} for prefix in prefixes)
    return max((theirs, *longer, *shorter), key=lambda rows: len(wanted & set(rows)))


def _targets(base: Network) -> Rows:
    """What adapters may change: the first row of each module by itself, whatever a parent makes of its tensors."""
    found: dict[str, LayerMatrix] = {}
    for place, module in base.skeleton.named_modules():
        path = base.names.get(place, place)
        with suppress(KeyError):  # a tensor that the file leaves out
            rows = (row for row in matrices_of(module, path, base) if row.view_of is None)
            found.update({_plain(path): row for row in islice(rows, 1)})
    return found


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _against(row: LayerMatrix, theirs: Rows, targets: Rows) -> Iterator[LayerMatrix]:
    if isinstance(row, AgainstBase):
        yield row
        return
    target = targets.get(_target(row)) if row.kind == "adapter" else None
    if target is not None and target.shape == row.shape:
        yield with_base(row, target)
        if isinstance(row, MagnitudeUpdate):
            yield rescaled_update(row, target)
        return
    other = theirs.get(_plain(row.name))
    if other is not None:
        yield _difference(row, other)
    elif row.kind == "adapter":
        yield replace(row, note=f"{row.note}; the base has no layer of this name and shape")
    else:
        yield _unpaired(row, "the base has no layer of this name")


def _difference(row: LayerMatrix, other: LayerMatrix) -> LayerMatrix:
    if (row.shape, row.groups) != (other.shape, other.groups):
        return _unpaired(row, f"{_words(row)} here and {_words(other)} in the base")
    note = "; ".join(text for text in ("W - W of the base", row.note) if text)
    if isinstance(row, ThinProduct) and isinstance(other, ThinProduct):
        return _thin_difference(row, other, note)
    if not (_is_plain(row) and _is_plain(other)):
        return _unpaired(row, f"maps of the form {type(row).__name__} are not compared")
    loader = Difference(_formed(row), _formed(other))
    return Update(
        row.name,
        "difference",
        row.shape,
        loader,
        groups=row.groups,
        confidence=row.confidence,
        alternatives=row.alternatives,
        note=note,
        base=other,
    )


def _words(row: LayerMatrix) -> str:
    groups = f" in {row.groups} groups" if row.groups > 1 else ""
    return f"{row.shape[0]} x {row.shape[1]}{groups}"


def _is_plain(row: LayerMatrix) -> bool:
    return type(row).load is LayerMatrix.load


def _formed(row: LayerMatrix) -> Loader:
    """What ``form`` makes of the stored tensor, as a loader that still reads parts where it can."""
    if row.form is as_stored:
        return row.loader
    if row.form is transposed:
        return Transposed(row.loader)
    out, inn = row.shape
    size = (out, inn) if row.groups == 1 else (row.groups, out // row.groups, inn // row.groups)
    return Combined(partial(_reshaped, form=row.form, size=size), (row.loader,), size)


def _reshaped(stored: Tensor, *, form: Form, size: tuple[int, ...]) -> Tensor:
    return form(stored).reshape(size)


def _thin_difference(row: ThinProduct, other: ThinProduct, note: str) -> ThinProduct:
    """``L R - L' R'`` as one product of factors as wide as both together."""
    inner = row.inner + other.inner
    form = partial(_joined, forms=(row.form, other.form), out=row.shape[0])
    loader = Combined(form, (row.loader, Borrowed(other.loader)), (sum(row.shape), inner))
    return ThinProduct(
        row.name,
        "difference",
        row.shape,
        loader,
        confidence=row.confidence,
        alternatives=row.alternatives,
        note=note,
        inner=inner,
    )


def _joined(mine: Tensor, theirs: Tensor, *, forms: tuple[Form, Form], out: int) -> Tensor:
    mine, theirs = forms[0](mine).double(), forms[1](theirs).double().clone()
    theirs[:out] *= -1
    return torch.cat([mine, theirs], dim=1)


def _unpaired(row: LayerMatrix, reason: str) -> Unpaired:
    loader = Missing(row.loader.tensors, row.loader.shape)
    return Unpaired(row.name, "difference", row.shape, loader, groups=row.groups, note=row.note, reason=reason)


def _absent(row: LayerMatrix) -> Unpaired:
    loader = Missing((), row.loader.shape)
    return Unpaired(
        row.name, "difference", row.shape, loader, groups=row.groups, reason="only the base has a layer of this name"
    )
