"""Which layer kind takes which module: by torch type, or by structure."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, singledispatch
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import walk_packages
from typing import TypeVar

from torch import nn
from torch.nn.parameter import UninitializedParameter

import lmd.layers
from lmd.layers.layer_matrix import LayerMatrix
from lmd.sources.network import Network

__all__ = [
    "Kind",
    "claims",
    "join",
    "kind_of",
    "load_kinds",
    "matrices_of",
    "own_forward",
    "own_shapes",
    "register",
    "registered",
    "remainder",
    "remaining",
]

Kind = Callable[[nn.Module, str, Network], Iterable[LayerMatrix]]
Predicate = Callable[[nn.Module], bool]
K = TypeVar("K", bound=Callable[..., Iterable[LayerMatrix]])

_claims: list[tuple[Predicate, Kind]] = []
_remainders: list[Kind] = []


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


def remainder(kind: K) -> K:
    """Register a kind for the tensors a module owns and no other kind took; it may give rows of all of them."""
    _remainders.append(kind)
    return kind


def kind_of(module: nn.Module) -> Kind:
    """The function that gives the module's rows; for a module of no kind one that gives none."""
    chosen = (kind for predicate, kind in _claims if predicate(module))
    return next(chosen, _by_type.dispatch(type(module)))


def registered() -> dict[Kind, str]:
    """Every registered function, to what it takes: torch types, the predicate's words, or what others leave."""
    load_kinds()
    taken: dict[Kind, str] = {}
    for of_type, kind in _by_type.registry.items():
        if of_type is not object:
            taken[kind] = of_type.__name__.lstrip("_")
    for predicate, kind in _claims:
        taken[kind] = " ".join((predicate.__doc__ or predicate.__name__.strip("_").replace("_", " ")).split())
    return {**taken, **dict.fromkeys(_remainders, "what no other kind took")}


def remaining(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Rows of a module's own tensors, for those that no kind took."""
    for kind in _remainders:
        yield from kind(module, path, network)


def matrices_of(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The layer matrices of one module, its children left out unless its kind takes them."""
    yield from kind_of(module)(module, path, network)


@cache
def load_kinds() -> None:
    """Import every kind, the product's own and those of installed plug-ins; once, as plug-ins take long to look for."""
    files = (module.name for module in walk_packages(lmd.layers.__path__, "lmd.layers."))
    # claims are asked in the order of registration: that of the files' names, whatever folder they are in
    for name in sorted(files, key=lambda name: name.rpartition(".")[2]):
        import_module(name)
    for plugin in entry_points(group="lmd.layers"):
        plugin.load()


def join(path: str, part: str) -> str:
    """A dotted name; the root module has the empty path."""
    return f"{path}.{part}" if path else part


def own_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter a module owns itself; complex ones and those without a shape yet are left out."""
    own = module.named_parameters(recurse=False)
    return {n: tuple(p.shape) for n, p in own if not isinstance(p, UninitializedParameter) and not p.is_complex()}


def own_forward(module: nn.Module) -> str:
    """What to say of a subclass of one of torch's layers that computes its output in its own way; '' of others."""
    form = next(c for c in type(module).__mro__ if c.__module__.startswith("torch."))
    if "forward" not in vars(module) and type(module).forward is form.forward:
        return ""
    return (
        f"{type(module).__name__} computes its output by itself: this is the weight as torch's {form.__name__} uses it"
    )
