"""Which layer kind takes which module: by torch type, or by structure."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, singledispatch
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import TypeVar

from torch import nn

import lmd.layers
from lmd.layers.layer_matrix import LayerMatrix
from lmd.sources.network import Network

__all__ = ["Kind", "claims", "join", "load_kinds", "matrices_of", "register"]

Kind = Callable[[nn.Module, str, Network], Iterable[LayerMatrix]]
Predicate = Callable[[nn.Module], bool]
K = TypeVar("K", bound=Callable[..., Iterable[LayerMatrix]])

_claims: list[tuple[Predicate, Kind]] = []


@singledispatch
def _by_type(module: nn.Module, path: str, network: Network) -> Iterable[LayerMatrix]:
    """No kind is registered for the type."""
    return ()


def register(kind: K) -> K:
    """Register a kind for the torch type its first parameter is annotated with, and its subclasses."""
    _by_type.register(kind)
    return kind


def claims(predicate: Predicate) -> Callable[[K], K]:
    """Register a kind for every module whose structure satisfies ``predicate``; it goes before the types."""

    def add(kind: K) -> K:
        _claims.append((predicate, kind))
        return kind

    return add


def matrices_of(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The layer matrices of one module, its children left out unless its kind takes them."""
    for predicate, kind in _claims:
        if predicate(module):
            yield from kind(module, path, network)
            return
    yield from _by_type(module, path, network)


@cache
def load_kinds() -> None:
    """Import every kind, the product's own and those of installed plug-ins; once, as plug-ins take long to look for."""
    for module in iter_modules(lmd.layers.__path__, "lmd.layers."):
        import_module(module.name)
    for plugin in entry_points(group="lmd.layers"):
        plugin.load()


def join(path: str, part: str) -> str:
    """A dotted name; the root module has the empty path."""
    return f"{path}.{part}" if path else part
