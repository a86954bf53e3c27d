"""How strongly an adapter acts, as its adapter_config.json says. Needs no torch."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite, sqrt
from typing import Any

from lmd.sources.adapter_names import AdapterTensors, adapters_among
from lmd.sources.archive import Archive
from lmd.sources.json_object import read_json_object
from lmd.sources.reading import TensorRecord

__all__ = ["configured_rank", "is_named", "is_scale_told", "scale_of", "with_adapter_config"]

_FILE = "adapter_config.json"
_WITHIN = "lora_adapter_metadata"
_MOST_BYTES = 4 * 2**20
_WRAPPER = "base_model.model."
"""What peft puts before the names of the model it wraps."""
_WITHOUT_SCALE = frozenset(["ia3", "oft", "boft", "hra", "vblora", "vera", "hira", "rows", "other"])
_ALPHAS = {"lora": "lora_alpha", "randlora": "randlora_alpha"}
_LONGEST_PATTERN, _MOST_REPETITIONS = 200, 2


def with_adapter_config(archive: Archive) -> Archive:
    """An archive with the settings of its adapters, and its tensors named as in the model that they change.

    Archives without adapters stay as they are.

    Raises:
        UnreadableModelError: the adapter_config.json beside the weights is no JSON object.
    """
    config = (_config_beside(archive.files[0]) if archive.files else {}) or _config_within(archive.facts)
    shapes = {r.name: r.shape for r in archive.records if r.role == "parameter"}
    if "peft_type" not in config and not adapters_among(shapes):
        return archive
    facts = {**archive.facts, **({"adapter_config": config} if config else {})}
    # what a method shares between layers lies one level up
    if not all(name.startswith(_WRAPPER.partition(".")[0]) for name in shapes):
        return replace(archive, facts=facts)
    records = tuple(_unwrapped(r) for r in archive.records)
    loaders = {n.removeprefix(_WRAPPER): _renamed(loader) for n, loader in archive.loaders.items()}
    return replace(archive, records=records, loaders=loaders, facts=facts)


def _config_within(facts: Mapping[str, object]) -> dict[str, Any]:
    """The settings that diffusers writes into the header, each key behind the name of the part that is adapted.

    Those of several parts are left out unless they agree.
    """
    metadata = facts.get("metadata")
    text = metadata.get(_WITHIN) if isinstance(metadata, Mapping) else None
    try:
        settings = json.loads(text) if isinstance(text, str) and len(text) <= _MOST_BYTES else {}
    except (ValueError, RecursionError):
        return {}
    by_part: dict[str, dict[str, Any]] = {}
    for key, value in settings.items() if isinstance(settings, dict) else ():
        part, _, name = key.partition(".")
        by_part.setdefault(part, {})[name] = value
    first, *others = by_part.values() or ({},)
    return first if all(other == first for other in others) else {}


def _unwrapped(record: TensorRecord) -> TensorRecord:
    if not record.name.startswith(_WRAPPER):
        return record
    return replace(
        record,
        name=record.name.removeprefix(_WRAPPER),
        tied_to=record.tied_to.removeprefix(_WRAPPER),
        file_name=record.file_name or record.name,
    )


def _renamed(loader: Any) -> Any:
    # the loaders of files are records that bear the name of their tensor
    return replace(loader, name=loader.name.removeprefix(_WRAPPER))


def _config_beside(file: str) -> dict[str, Any]:
    path = os.path.join(os.path.dirname(file), _FILE)
    if not os.path.isfile(path):
        return {}
    needed = "a JSON object with the adapter's settings is needed. Save it again."
    return read_json_object(path, most_bytes=_MOST_BYTES, needed=needed)


def scale_of(adapter: AdapterTensors, config: Mapping[str, Any] | None) -> tuple[float, str]:
    """The factor before the product, and where it comes from, in words.

    ``alpha / r``, or ``alpha / sqrt(r)`` for rank-stabilised LoRA (Kalajdzievski 2023); alpha and r of the module where
    a pattern names it.
    """
    if adapter.method in _WITHOUT_SCALE:
        return 1.0, "scale 1"
    if not config:
        return 1.0, "scale unknown, taken as 1: no adapter_config.json"
    if adapter.method == "fourierft":
        scaling = _number(config.get("scaling"))
        return (scaling, f"scale {scaling:g}") if scaling is not None else (1.0, "scale unknown, taken as 1")
    if "lora_E" in adapter.roles:
        return _of_adaptive(config)
    r = configured_rank(adapter, config)
    alpha, trouble = _matched(config, "alpha_pattern", adapter.target)
    if alpha is None:
        alpha = _number(config.get(_ALPHAS.get(adapter.method, "alpha")))
    if alpha is None or not r:
        return 1.0, "scale unknown, taken as 1: adapter_config.json tells no alpha or no rank"
    root = adapter.method == "lora" and config.get("use_rslora") is True
    scale = alpha / (sqrt(r) if root else r)
    formula = f"alpha/√r = {alpha:g}/√{r}" if root else f"alpha/r = {alpha:g}/{r}"
    return scale, f"scale {formula}{trouble}"


def is_scale_told(adapter: AdapterTensors, config: Mapping[str, Any] | None) -> bool:
    """Whether the settings tell the factor before the product."""
    return "unknown" not in scale_of(adapter, config)[1]


def _of_adaptive(config: Mapping[str, Any]) -> tuple[float, str]:
    """Of AdaLoRA: alpha over the rank that training started with, and peft's 1e-5 against division by zero."""
    alpha, r = _number(config.get("lora_alpha")), _number(config.get("init_r"))
    if alpha is None or not r:
        return 1.0, "scale unknown, taken as 1: adapter_config.json tells no alpha or no initial rank"
    alpha = alpha if alpha > 0 else r
    return alpha / (r + 1e-5), f"scale alpha/(r + 1e-5) = {alpha:g}/{r:g}, r at the start of training"


def configured_rank(adapter: AdapterTensors, config: Mapping[str, Any]) -> int:
    """The rank that the settings give the adapted module, or that its shapes show; 0 if neither tells."""
    pattern, _ = _matched(config, "rank_pattern", adapter.target)
    rank = pattern if pattern is not None else _number(config.get("r"))
    if rank is not None and (adapter.method != "lora" or config.get("target_parameters")):
        return int(rank)
    # of a plain LoRA the shapes are the truth
    return adapter.rank or int(rank or 0)


def is_named(target: str, names: object) -> bool:
    """Whether a list of peft's settings names a module, by the end of its path."""
    listed = names if isinstance(names, list) else []
    return any(target == name or target.endswith(f".{name}") for name in listed)


def _matched(config: Mapping[str, Any], key: str, target: str) -> tuple[float | None, str]:
    patterns = config.get(key)
    trouble = ""
    for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
        if _costly(pattern):
            trouble = f"; a pattern of {key} is too costly to match and was left out: the scale may be wrong"
            continue
        try:
            if re.fullmatch(rf"(.*\.)?({pattern})", target):
                return _number(value), trouble
        except re.error:
            trouble = f"; {key} holds {pattern!r}, which is no pattern: the scale may be wrong"
    return None, trouble


def _costly(pattern: str) -> bool:
    """Whether matching could take more than polynomial time: a file must not be able to stop us."""
    return (
        len(pattern) > _LONGEST_PATTERN
        or sum(pattern.count(sign) for sign in "*+{?") > _MOST_REPETITIONS
        or (re.search(r"\)[*+{]", pattern) is not None)
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
