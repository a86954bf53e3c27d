"""A network's layers against those of another one of equal structure: what one has and the other has not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix, as_stored, transposed
from lmd.layers.thin_product import ThinProduct
from lmd.layers.updates.against_base import AgainstBase, ThinUpdate, Update, with_base
from lmd.layers.updates.changed_layers import changed_experts
from lmd.layers.updates.grown import entry_axis, first_entries, resized_tables, surplus
from lmd.layers.updates.matching import Aligned, aligned, layers_by_module, plain
from lmd.layers.updates.unpaired import NeedsBase, Unpaired
from lmd.layers.updates.whole_update import beside
from lmd.layers.walk import Walk, walk
from lmd.sources.derived_loaders import Borrowed, Difference, Missing, Transposed
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["Unpaired", "compared"]

Form = Callable[[Tensor], Tensor]


def compared(found: Walk, base: Network, network: Network | None = None) -> Walk:
    """The rows of a network as differences from those of ``base``; adapters stay, with the layer they change beside.

    Rows are matched by name, as their module is called without what peft puts around it. Parts of layers are left out.

    Args:
        found: the network's rows.
        base: what it is compared with.
        network: where the rows came from, which knows why other layers of it are not rows.

    Returns:
        One row for each whole layer of either network; ``Unpaired`` where there is no counterpart of the same shape.

    Raises:
        ValueError: the two have no layer in common, not even by name.
    """
    mine = [row for row in found.layers if row.view_of is None]
    changed = {_target(row) for row in mine if row.kind == "adapter"}
    wanted = {plain(row.name) for row in mine}
    whole = {plain(row.name): row for row in walk(base).layers if row.view_of is None}
    alone = layers_by_module(base)
    theirs, targets = aligned(whole, wanted), aligned(alone, changed | wanted)
    pairing = _Pairing(theirs, targets, base)
    _refuse_strangers(mine, pairing)
    sizes = resized_tables((row, other) for row in mine if (other := pairing.counterpart(row)) is not None)
    rows = [row for own in mine for row in _against(own, pairing, sizes)]
    # of its base, a set of adapters changes a few layers only
    met = {plain(row.name) for row in mine}
    few = changed or (network is not None and "adapter_config" in network.facts)
    missing = [] if few else [_absent(row, name, network) for name, row in theirs.rows.items() if name not in met]
    return Walk((*rows, *missing), found.reasons)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairing:
    """Where the counterpart of a row is: among the rows of the base, or what each module of it is by itself."""

    theirs: Aligned
    targets: Aligned
    base: Network

    def counterpart(self, row: LayerMatrix) -> LayerMatrix | None:
        name = plain(row.name)
        if row.kind == "adapter":
            # of two sets of adapters, one is compared with the other
            return self.theirs.rows.get(name) or self.targets.rows.get(_target(row))
        # a tied layer is no row of the base
        return self.theirs.rows.get(name) or self.targets.rows.get(name)

    def knows(self, row: LayerMatrix) -> bool:
        """Whether the base has anything by the name of a row, even if it cannot be read."""
        return bool(self.counterpart(row) or self.experts(row) or _why(self.base, plain(row.name)))

    def note(self, row: LayerMatrix) -> str:
        return (self.theirs if plain(row.name) in self.theirs.rows else self.targets).note

    def experts(self, row: LayerMatrix) -> list[LayerMatrix]:
        """One expert's matrices of the stacks at the place that an adapter changes."""
        place, _, expert = row.name.rpartition(".adapter.")
        return self.stacks(plain(place), int(expert)) if place and expert.isdecimal() else []

    def stacks(self, place: str, expert: int) -> list[LayerMatrix]:
        for path, module in self.base.skeleton.named_modules():
            name = self.base.names.get(path, path)
            if name == place:
                return list(changed_experts(module, name, self.base, expert))
        return []


def _target(row: LayerMatrix) -> str:
    return plain(row.name).rpartition("adapter")[0].rstrip(".")


def _refuse_strangers(mine: list[LayerMatrix], pairing: _Pairing) -> None:
    if all(isinstance(row, Unpaired) and not isinstance(row, NeedsBase) for row in mine):
        # each of them has its reason already
        return
    if any(pairing.knows(row) for row in mine):
        return
    names = [name for name in (*pairing.theirs.rows, *pairing.targets.rows) if name]
    raise ValueError(
        f"the base has none of the {len(mine)} layers: names like {plain(mine[0].name)!r} were compared with names "
        f"like {next(iter(names), 'nothing')!r}, and none fits, with or without a prefix; give the model that this "
        f"one was trained from."
    )


def _against(row: LayerMatrix, pairing: _Pairing, sizes: frozenset[tuple[int, int]]) -> Iterator[LayerMatrix]:
    if isinstance(row, AgainstBase):
        yield row
        return
    other, words = pairing.counterpart(row), pairing.note(row)
    if row.kind == "adapter" and (other is None or other.kind != "adapter"):
        yield from (_told(one, words) for one in _adapted(row, other, pairing))
    elif other is None:
        yield _unpaired(row, f"the base has no layer of this name{_why(pairing.base, plain(row.name))}")
    elif (axis := entry_axis(row, other, sizes)) is not None:
        yield from (_told(one, words) for one in _of_common_entries(row, other, axis))
    else:
        yield _told(_difference(row, other), words)


def _told(row: LayerMatrix, words: str) -> LayerMatrix:
    return replace(row, note="; ".join(text for text in (row.note, words) if text))


def _adapted(row: LayerMatrix, base: LayerMatrix | None, pairing: _Pairing) -> Iterator[LayerMatrix]:
    fitting = [one for one in pairing.experts(row) if one.shape == row.shape]
    if len(fitting) == 1:
        yield _told(with_base(row, fitting[0]), f"changes {fitting[0].name}")
    elif fitting:
        names = " or ".join(one.name for one in fitting)
        yield _told(row, f"which stack of the base it changes is not told: {names}")
    elif base is not None:
        yield from beside(row, base)
    elif isinstance(row, Unpaired) and not isinstance(row, NeedsBase):
        yield row
    elif isinstance(row, NeedsBase):
        yield replace(row, reason=f"{row.reason}; the base has no layer of this name")
    else:
        yield _told(row, f"the base has no layer of this name{_why(pairing.base, _target(row))}")


def _why(network: Network | None, name: str) -> str:
    """What a network says of the tensors of a layer that is none of its rows."""
    records = network.records if network is not None else ()
    said = (r.reason for r in records if r.role == "parameter" and r.reason and _belongs(r.name, name))
    return next((f" that was read: {reason}" for reason in said), "")


def _belongs(tensor: str, layer: str) -> bool:
    return tensor == layer or tensor.startswith(f"{layer}.")


def _of_common_entries(row: LayerMatrix, other: LayerMatrix, axis: int) -> Iterator[LayerMatrix]:
    count = min(row.shape[axis], other.shape[axis])
    mine, theirs = (first_entries(one, _formed(one), axis, count) for one in (row, other))
    words = f"of the {count} entries that both have; {row.shape[axis]} here and {other.shape[axis]} in the base"
    yield _told(_difference(mine, theirs), words)
    if row.shape[axis] > count:
        yield surplus(row, axis, count)


_SURENESS = ("declared", "shape", "siblings", "guess")


def _agreed(row: LayerMatrix, other: LayerMatrix) -> tuple[LayerMatrix, LayerMatrix]:
    """Both the way round that the surer of them has, where the same tensor is read either way."""
    doubts = [_SURENESS.index(one.confidence) for one in (row, other)]
    either = {row.form, other.form} == {as_stored, transposed} and row.loader.shape == other.loader.shape
    if not either or doubts[0] == doubts[1]:
        return row, other
    sure, guess = (other, row) if doubts[0] > doubts[1] else (row, other)
    turned = replace(guess, form=sure.form, shape=sure.shape, confidence=sure.confidence, alternatives=())
    return (turned, other) if guess is row else (row, turned)


def _difference(row: LayerMatrix, other: LayerMatrix) -> LayerMatrix:
    row, other = _agreed(row, other)
    if (row.shape, row.groups) != (other.shape, other.groups):
        return _unpaired(row, f"{_words(row)} here and {_words(other)} in the base")
    # a difference has no parts, so that it does not matter which of them are missing
    said = [part for part in row.note.split("; ") if not part.startswith("no operator")]
    kinds = "" if row.kind == other.kind else f"{row.kind} here, {other.kind} in the base"
    note = "; ".join(text for text in ("W - W of the base", kinds, *said) if text)
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


def _thin_difference(row: ThinProduct, other: ThinProduct, note: str) -> ThinUpdate:
    """``L R - L' R'`` as one product of factors as wide as both together."""
    inner = row.inner + other.inner
    form = partial(_joined, forms=(row.form, other.form), out=row.shape[0])
    loader = Combined(form, (row.loader, Borrowed(other.loader)), (sum(row.shape), inner))
    return ThinUpdate(
        row.name,
        "difference",
        row.shape,
        loader,
        confidence=row.confidence,
        alternatives=row.alternatives,
        note=note,
        inner=inner,
        base=other,
    )


def _joined(mine: Tensor, theirs: Tensor, *, forms: tuple[Form, Form], out: int) -> Tensor:
    mine, theirs = forms[0](mine).double(), forms[1](theirs).double().clone()
    theirs[:out] *= -1
    return torch.cat([mine, theirs], dim=1)


def _unpaired(row: LayerMatrix, reason: str) -> Unpaired:
    loader = Missing(row.loader.tensors, row.loader.shape)
    return Unpaired(row.name, "difference", row.shape, loader, groups=row.groups, note=row.note, reason=reason)


def _absent(row: LayerMatrix, name: str, network: Network | None) -> Unpaired:
    loader, why = Missing((), row.loader.shape), _why(network, name)
    reason = f"there is no layer of this name here{why}" if why else "only the base has a layer of this name"
    return Unpaired(row.name, "difference", row.shape, loader, groups=row.groups, reason=reason)
