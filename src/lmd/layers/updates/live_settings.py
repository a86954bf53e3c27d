"""What a live adapted layer knows of its adapters, in the words of adapter_config.json."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lmd.sources.adapter_names import AdapterTensors

__all__ = ["live_settings"]

_BY_ADAPTER = {
    "hra_apply_GS": "apply_GS",
    "topk": "topk",
    "token_indices": "token_indices",
    "fourierft_random_loc_seed": "random_loc_seed",
}
"""Dicts by the name of the adapter, and what the settings in a file call them."""
_OF_ROTATION = ("coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms")


def live_settings(module: nn.Module, one: AdapterTensors, root: nn.Module) -> tuple[float, Mapping[str, Any]]:
    """The factor before an adapter's update, and the rest of its settings.

    Args:
        module: the adapted layer.
        one: its adapter.
        root: the whole model, which keeps how each adapter began.
    """
    scale = _of_adapter(module, "fourierft_scaling" if one.method == "fourierft" else "scaling", one.adapter)
    scale = 1.0 if scale is None else float(scale)
    if "lora_E" in one.roles:
        started = _of_adapter(module, "ranknum", one.adapter)
        # peft's own guard against a rank of zero
        scale = scale / (started.item() + 1e-5) if isinstance(started, Tensor) else scale
    return scale, {**dict(_settings(module, one.adapter)), "began_live": _began(root, one.adapter)}


def _began(root: nn.Module, adapter: str) -> str:
    """What peft calls the start of an adapter's factors; '' where no module keeps its settings."""
    holders = (_of_adapter(module, "peft_config", adapter) for module in root.modules())
    return next((str(getattr(held, "init_lora_weights", "")) for held in holders if held is not None), "")


def _settings(module: nn.Module, adapter: str) -> Iterator[tuple[str, Any]]:
    for theirs, ours in _BY_ADAPTER.items():
        if (value := _of_adapter(module, theirs, adapter)) is not None:
            yield ours, value
    rotation = _of_adapter(module, "oft_R", adapter)
    for key in _OF_ROTATION if rotation is not None else ():
        yield key, getattr(rotation, key, None)
    if hasattr(module, "is_feedforward"):
        yield "is_feedforward", module.is_feedforward


def _of_adapter(module: nn.Module, attribute: str, adapter: str) -> Any:
    held: Any = getattr(module, attribute, None)
    return held[adapter] if held is not None and adapter in held else None
