"""The module tree that a config.json declares, built by transformers on the meta device. Never remote code."""

import importlib.util
import inspect
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.library_names import recipes_of
from lmd.sources.recipes import Recipe, renamed

__all__ = ["DeclaredSkeleton", "declared_skeleton"]

_FAILURES = FOREIGN_FAULTS
"""What a config that fits no architecture makes transformers raise."""
_COUNT_OF_MODULES = re.compile(r"^(n|num)_.*(layers?|experts|blocks)$|^n_layers?$|_layers$|(^|_)depth$")
_ALWAYS_ALLOWED = 1024
_LONGEST = 300
"""Characters of another library's message."""
_REMOTE = ("auto_map", "trust_remote_code", "use_pretrained_backbone", "quantization_config", "_attn_implementation")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredSkeleton:
    """The declared architecture, if it is the file's.

    Attributes:
        module: on the meta device; None if its parameters are not the file's.
        tied: parameters that share another one's numbers to the name of that one.
        reason: what was built, or why nothing was.
        recipes: how tensors of the module are made of the file's, for those that the file names or stores otherwise.
    """

    module: nn.Module | None
    tied: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)


def declared_skeleton(config: Mapping[str, Any], names: Shapes, *, origin: str = "config.json") -> DeclaredSkeleton:
    """Build the architecture of ``config`` and keep it if every parameter is in the file, or tied to one that is.

    Args:
        config: the parsed config.json.
        names: of the file's tensors, with their shapes. Names of the file that the architecture lacks are allowed.
        origin: what ``config`` comes from, in words.
    """
    if importlib.util.find_spec("transformers") is None:
        return DeclaredSkeleton(None, reason=f"{origin} needs transformers: pip install 'lmd[hf]'")
    if "model_type" not in config:
        return DeclaredSkeleton(None, reason=f"{origin} names no model_type")
    if endless := _endless(config, max(len(names), _ALWAYS_ALLOWED)):
        return DeclaredSkeleton(None, reason=f"{origin} declares {endless}, beyond the tensors of the file")
    from huggingface_hub.errors import StrictDataclassError

    try:
        with _silent():
            return _fitting(_built(config), names, origin)
    except (*_FAILURES, StrictDataclassError) as error:
        words = " ".join(str(error).split())[:_LONGEST]
        return DeclaredSkeleton(None, reason=f"transformers could not build the architecture of {origin}: {words}")


def _endless(config: Mapping[str, Any], most: int) -> str:
    """The entry that would build modules without end, each of which would need tensors."""
    for key, value in config.items():
        if isinstance(value, Mapping) and (inner := _endless(value, most)):
            return inner
        if isinstance(value, int) and value > most and _COUNT_OF_MODULES.search(key):
            return f"{key}={value}"
    return ""


@contextmanager
def _silent() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _built(config: Mapping[str, Any]) -> nn.Module:
    import transformers

    settings = {key: _with_numbers(value) for key, value in config.items() if key not in _REMOTE}
    declared = transformers.AutoConfig.for_model(**settings)
    names = config.get("architectures") or []
    model_class: Any = getattr(transformers, names[0], None) if names and isinstance(names[0], str) else None
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        if inspect.isclass(model_class) and issubclass(model_class, transformers.PreTrainedModel):
            return model_class(declared)
        return transformers.AutoModel.from_config(declared, trust_remote_code=False)


def _with_numbers(value: Any) -> Any:
    """JSON has no infinity: transformers writes ``{"__float__": "Infinity"}``."""
    if isinstance(value, Mapping):
        return (
            float(value["__float__"])
            if set(value) == {"__float__"}
            else {k: _with_numbers(v) for k, v in value.items()}
        )
    return [_with_numbers(entry) for entry in value] if isinstance(value, list) else value


def _fitting(model: nn.Module, names: Shapes, origin: str) -> DeclaredSkeleton:
    """The model, its inner model alone, or the model under the prefix the file has, whichever the file holds.

    Where the names of the file fit none, the library may know them under others.
    """
    what = f"{type(model).__name__} of {origin}"
    # the whole model before a part of it, whose names may be those of the file before renaming
    for candidate in _candidates(model):
        for shapes, recipes in _namings(model, names):
            if not _misfit(candidate, shapes):
                return DeclaredSkeleton(candidate, *_under_first_names(candidate, shapes, recipes, what))
    return DeclaredSkeleton(None, reason=f"{what} is not the file's: {_misfit(model, names)}")


def _under_first_names(
    module: nn.Module, names: Shapes, recipes: Mapping[str, Recipe], what: str
) -> tuple[Mapping[str, str], str, Mapping[str, Recipe]]:
    """Shared parameters under the first name that the module has for them, whichever one the file holds."""
    changed, tied = dict(recipes), {}
    for first, *others in _shared(module):
        held = next((name for name in (first, *others) if name in names), first)
        if held != first:
            changed[first] = changed.pop(held, Recipe(((held,),)))
        tied.update(dict.fromkeys(others, first))
    return tied, what, changed


def _namings(model: nn.Module, names: Shapes) -> Iterator[tuple[Shapes, Mapping[str, Recipe]]]:
    yield names, {}
    recipes = recipes_of(model, names)
    if recipes:
        yield renamed(recipes, names), recipes


def _candidates(model: nn.Module) -> Iterator[nn.Module]:
    yield model
    if isinstance(getattr(model, "pooler", None), nn.Module):
        # many files of encoders leave it out, since few of their users need it
        without = copy(model)
        without._modules = {**model._modules, "pooler": None}
        yield without
    prefix = getattr(model, "base_model_prefix", "")
    if prefix and isinstance(inner := getattr(model, prefix, None), nn.Module):
        yield inner
    elif prefix:
        outer = nn.Module()
        outer.add_module(prefix, model)
        yield outer


def _shared(module: nn.Module) -> list[list[str]]:
    """Every name of each parameter, in the order of the module."""
    shared: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    return list(shared.values())


def _misfit(module: nn.Module, names: Shapes) -> str:
    held = {name: other for group in _shared(module) for name in group for other in group if other in names}
    # what the library computes anew is in no file
    computed = getattr(module, "_keys_to_ignore_on_save", None) or ()
    for name, parameter in module.named_parameters(remove_duplicate=False):
        shape = names.get(held.get(name, name))
        if shape is None and name in computed:
            continue
        if shape is None:
            return f"no tensor {name!r}"
        if shape != tuple(parameter.shape):
            return f"{name!r} is {tuple(parameter.shape)} there and {shape} in the file"
    return ""
