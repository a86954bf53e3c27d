"""The module tree that a config.json declares, built by transformers on the meta device. Never remote code."""

import importlib.util
import inspect
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

__all__ = ["DeclaredSkeleton", "declared_skeleton"]

_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
)
"""What a config that fits no architecture makes transformers raise; ValueError beside them."""
_COUNT_OF_LAYERS = re.compile(r"(^|_)(n|num)_?.*layers?$|_layers$|_depth$|^depth$|num_.*experts$")
_REMOTE = ("auto_map", "trust_remote_code", "use_pretrained_backbone", "quantization_config", "_attn_implementation")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredSkeleton:
    """The declared architecture, if it is the file's.

    Attributes:
        module: on the meta device, its parameters named as in the file; None if the file's differ.
        tied: parameters that share another one's numbers to the name of that one.
        reason: what was built, or why nothing was.
    """

    module: nn.Module | None
    tied: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def declared_skeleton(config: Mapping[str, Any], names: Shapes) -> DeclaredSkeleton:
    """Build the architecture of ``config`` and keep it if every parameter is in the file, or tied to one that is.

    Args:
        config: the parsed config.json.
        names: of the file's tensors, with their shapes. Names of the file that the architecture lacks are allowed.
    """
    if importlib.util.find_spec("transformers") is None:
        return DeclaredSkeleton(None, reason="config.json needs transformers: pip install 'lmd[hf]'")
    if "model_type" not in config:
        return DeclaredSkeleton(None, reason="config.json names no model_type")
    deepest = [key for key, value in config.items() if _COUNT_OF_LAYERS.search(key) and _exceeds(value, len(names))]
    if deepest:
        return DeclaredSkeleton(None, reason=f"config.json declares {deepest[0]} beyond the tensors of the file")
    try:
        with _silent():
            model = _built(config)
    except (*_FAILURES, ValueError) as error:
        return DeclaredSkeleton(None, reason=f"transformers could not build the architecture of config.json: {error}")
    return _fitting(model, names)


def _exceeds(value: object, count: int) -> bool:
    return isinstance(value, int) and value > count


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

    settings = {key: value for key, value in config.items() if key not in _REMOTE}
    declared = transformers.AutoConfig.for_model(**settings)
    names = config.get("architectures") or []
    model_class: Any = getattr(transformers, names[0], None) if names and isinstance(names[0], str) else None
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        if inspect.isclass(model_class) and issubclass(model_class, transformers.PreTrainedModel):
            return model_class(declared)
        return transformers.AutoModel.from_config(declared, trust_remote_code=False)


def _fitting(model: nn.Module, names: Shapes) -> DeclaredSkeleton:
    """The model, its inner model alone, or the model under the prefix the file has, whichever the file holds."""
    prefix = getattr(model, "base_model_prefix", "")
    candidates: list[nn.Module] = [model]
    if prefix and isinstance(inner := getattr(model, prefix, None), nn.Module):
        candidates.append(inner)
    elif prefix:
        outer = nn.Module()
        outer.add_module(prefix, model)
        candidates.append(outer)
    reasons = []
    for candidate in candidates:
        tied = _tied(candidate, names)
        reason = _misfit(candidate, tied, names)
        if not reason:
            return DeclaredSkeleton(candidate, tied, f"{type(model).__name__} of config.json")
        reasons.append(reason)
    return DeclaredSkeleton(None, reason=f"{type(model).__name__} of config.json is not the file's: {reasons[0]}")


def _tied(module: nn.Module, names: Shapes) -> dict[str, str]:
    """Names that share a parameter; the original is one the file holds, if it holds any."""
    shared: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    tied = {}
    for group in shared.values():
        original = next((name for name in group if name in names), group[0])
        tied.update({name: original for name in group if name != original})
    return tied


def _misfit(module: nn.Module, tied: Mapping[str, str], names: Shapes) -> str:
    for name, parameter in module.named_parameters(remove_duplicate=False):
        shape = names.get(tied.get(name, name))
        if shape is None:
            return f"no tensor {name!r}"
        if shape != tuple(parameter.shape):
            return f"{name!r} is {tuple(parameter.shape)} there and {shape} in the file"
    return ""
