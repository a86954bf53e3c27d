"""Findings, and how an analysis says what it needs and what it finds."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pkgutil import walk_packages
from typing import Any, get_args, get_type_hints

import lmd.findings
from lmd.activations.observing.whole import WholeNetwork
from lmd.layers.layer_matrix import LayerMatrix

__all__ = [
    "Analysis",
    "Asked",
    "Finding",
    "InapplicableError",
    "NotApplicable",
    "analyses",
    "analyses_of",
    "analyses_of_network",
    "analysis",
    "run",
]


class InapplicableError(ValueError):
    """Raised by an analysis whose question has no answer for what it got; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """What one analysis found about one layer; ``layer`` is '' for the whole network."""

    layer: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NotApplicable(Finding):
    """An analysis that could not be made, and why. This is a result.

    ``failed`` tells a fault (an exception) from a question that has no answer here.
    """

    analysis: str
    reason: str
    failed: bool = False


class Asked:
    """Base of options without which an analysis is left out, and not reported as not applicable."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Analysis:
    """A registered analysis: its name, function, the types it needs and the type it finds."""

    name: str
    function: Callable[..., Finding]
    needs: tuple[tuple[str, type], ...]
    finds: type[Finding]


_registry: dict[str, Analysis] = {}


def analysis(function: Callable[..., Finding]) -> Callable[..., Finding]:
    """Register a function: its parameter types are what it needs, its return type is what it finds."""
    hints = get_type_hints(function)
    found = hints.pop("return")
    finds = next(t for t in (*get_args(found), found) if isinstance(t, type) and t is not NotApplicable)
    needs = tuple((name, hints[name]) for name in signature(function).parameters)
    _registry[function.__name__] = Analysis(function.__name__, function, needs, finds)
    return function


def analyses() -> Mapping[str, Analysis]:
    """Every registered analysis, by name: the product's own and those of installed plug-ins."""
    _load_analyses()
    return dict(sorted(_registry.items()))


def analyses_of(layer: LayerMatrix, asked: Collection[type] = ()) -> tuple[Analysis, ...]:
    """Those that are about maps of the layer's form; a question about one form is no question about the others.

    Args:
        layer: the map.
        asked: kinds of ``Asked`` that there are.
    """
    chosen = (one for _, one in sorted(analyses().items()))
    return tuple(
        one
        for one in chosen
        if all(not issubclass(t, LayerMatrix) or isinstance(layer, t) for _, t in one.needs)
        and all(not issubclass(t, Asked) or t in asked for _, t in one.needs)
        and not _is_about_network(one)
    )


def analyses_of_network() -> tuple[Analysis, ...]:
    """Those that are about the network as a whole; what they find has the layer ''."""
    return tuple(one for one in analyses().values() if _is_about_network(one))


def _is_about_network(chosen: Analysis) -> bool:
    return any(needed is WholeNetwork for _, needed in chosen.needs)


@cache
def _load_analyses() -> None:
    # once: looking for plug-ins reads the metadata of every installed package, and each layer asks
    for module in _own_modules():
        import_module(module)
    for plugin in entry_points(group="lmd.findings"):
        plugin.load()


def _own_modules() -> Iterator[str]:
    found = walk_packages(lmd.findings.__path__, "lmd.findings.")
    yield from (module.name for module in found if not module.ispkg)


def run(
    chosen: Analysis,
    layer: str,
    given: Mapping[type, Any],
    *,
    why: Mapping[type, str] | None = None,
    strict: bool = False,
) -> Finding:
    """Run one analysis on what is there.

    Args:
        chosen: the analysis.
        layer: name for the result when it cannot be made.
        given: type to object, for all that is at hand.
        why: type to the reason why there is no such object, where there is more to say than that.
        strict: let exceptions through, for tests.

    Returns:
        What the analysis found, or ``NotApplicable`` with the reason.
    """
    missing = [needed.__name__ for _, needed in chosen.needs if needed not in given]
    if missing:
        said = [why[needed] for _, needed in chosen.needs if why and needed not in given and needed in why]
        reason = f"needs {' and '.join(missing)}{': ' * bool(said)}{'; '.join(said)}"
        return NotApplicable(layer=layer, analysis=chosen.name, reason=reason)
    try:
        return chosen.function(**{name: given[needed] for name, needed in chosen.needs})
    except InapplicableError as fault:
        return NotApplicable(layer=layer, analysis=chosen.name, reason=str(fault))
    except Exception as fault:  # waiver: one faulty analysis costs one finding, never the run
        if strict:
            raise
        reason = f"{type(fault).__name__}: {fault}"
        return NotApplicable(layer=layer, analysis=chosen.name, reason=reason, failed=True)
