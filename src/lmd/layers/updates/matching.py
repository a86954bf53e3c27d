"""Which layers of two networks are the same, by their names."""

from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.changed_layers import changed_layer
from lmd.sources.network import Network

__all__ = ["Aligned", "aligned", "layers_by_module", "plain"]

Rows = Mapping[str, LayerMatrix]
_DEEPEST_PREFIX = 3


@dataclass(frozen=True, slots=True)
class Aligned:
    """The layers of a base under the names that the network has for them.

    Attributes:
        rows: name in the network to layer of the base.
        note: how the names differ, in words; empty if they do not.
    """

    rows: Rows
    note: str = ""


def plain(name: str) -> str:
    """A name without what peft puts around the module it changes."""
    name = name.removeprefix("base_model.model.")
    for part in (".base_layer", ".ln_tuning_layers", ".token_adapter"):
        name = name.replace(part, "")
    return name


def aligned(theirs: Rows, wanted: Set[str]) -> Aligned:
    """The same rows, under names with a longer or shorter beginning where that makes more of them fit.

    A model with a head holds its trunk under a prefix that the trunk's own file leaves out; a wrapper adds one.
    """
    best, most = Aligned(theirs), len(wanted & set(theirs))
    if most == len(wanted):
        return best
    for prefix in sorted({p for name in (*wanted, *theirs) for p in _beginnings(name)}):
        for rows, words in (
            ({prefix + name: row for name, row in theirs.items()}, f"the base names it without {prefix!r}"),
            (_shortened(theirs, prefix), f"the base puts {prefix!r} before its name"),
        ):
            fitting = len(wanted & set(rows))
            if fitting > most:
                best, most = Aligned(rows, words), fitting
    return best


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:depth]) + "." for depth in range(1, min(len(parts), _DEEPEST_PREFIX + 1)))


def _shortened(rows: Rows, prefix: str) -> Rows:
    """Without the prefix where it is; a name that is taken already stays with its owner."""
    return {**{name.removeprefix(prefix): row for name, row in rows.items()}, **_without(rows, prefix)}


def _without(rows: Rows, prefix: str) -> Rows:
    return {name: row for name, row in rows.items() if not name.startswith(prefix)}


def layers_by_module(network: Network) -> Rows:
    """The first map of each module by itself, whatever a parent makes of its tensors, and under each of its names."""
    found: dict[str, LayerMatrix] = {}
    for place, module in network.skeleton.named_modules(remove_duplicate=False):
        path = network.names.get(place, place)
        with suppress(KeyError):  # a tensor that the file leaves out
            row = changed_layer(module, path, network)
            if row is not None:
                found[plain(path)] = row
    return found
