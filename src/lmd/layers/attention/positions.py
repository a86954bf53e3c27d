"""Rotary positions of an attention layer: which coordinates turn, how fast, and in which pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from lmd.layers.attention.counts import Heads
from lmd.layers.attention.settings import Settings
from lmd.layers.registry import join
from lmd.linalg.rotary import rotary_frequencies
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["Rotary", "rotary_of"]

_NEIGHBOURS = (
    "chatglm", "codegen", "cohere", "ernie4_5", "glm", "gptj", "gpt-j", "helium", "llama4", "moonshine", "roformer",
)  # fmt: skip
"""Families that turn neighbouring coordinates, in their names for a model; the others turn the two halves of a head."""
_NOT_AMONG_THEM = ("glm4_moe", "glm4moe", "glm4v_moe", "glm4vmoe")
_PICTURES = ("image", "pixtral", "vision", "vit")
"""Families whose positions lie in a plane."""
_ALWAYS_ROTARY = {"codegen": 10000.0, "gptj": 10000.0, "roformer": 10000.0}
"""Families that have rotary positions and no word of it in their configuration."""
_CROSS = ("cross", "encoder_attn", "encdecattention")


@dataclass(frozen=True, slots=True, eq=False)
class Rotary:
    """How query and key turn with the position.

    Attributes:
        frequencies: angle per position of each pair, or the loader of a buffer that holds them; () if not known.
        interleaved: whether neighbours make a pair.
        reason: why the frequencies are not known.
    """

    frequencies: tuple[float, ...] | Loader
    interleaved: bool
    reason: str = ""


def rotary_of(module: nn.Module, path: str, settings: Settings, heads: Heads, network: Network) -> Rotary | None:
    """The rotary positions of a layer, None if it has none as far as anybody says."""
    if not _applies(settings):
        return None
    interleaved = _interleaved(settings, module)
    parameters = _parameters(settings)
    base = parameters.get("rope_theta") or settings.value("rope_theta", "rotary_emb_base", "rope_base", "rotary_base")
    if base is None:
        base = next((base for family, base in _ALWAYS_ROTARY.items() if family in _family(settings)), None)
    if base is None:
        buffer = _buffer(module, path, network)
        return Rotary(buffer, interleaved) if buffer is not None else None
    if any(name in _family(settings) for name in _PICTURES):
        return Rotary((), interleaved, "in a picture a distance is no single number")
    width = _turning(settings, parameters, heads.width)
    try:
        return Rotary(rotary_frequencies(width, float(base), parameters), interleaved)
    except (KeyError, ValueError, TypeError) as fault:
        return Rotary((), interleaved, str(fault))


_WINDOWED = ("cohere2", "exaone4")


def _applies(settings: Settings) -> bool:
    # some families keep a 0 there instead of False
    switched_off = settings.own.get("use_rope", True) in (False, 0) or settings.value("alibi") is True
    # these rotate in the layers that look at a window only, and keep None in the others
    whole = (
        any(name in _family(settings) for name in _WINDOWED) and settings.own and "sliding_window" not in settings.own
    )
    return not switched_off and not whole and not any(word in settings.path.lower() for word in _CROSS)


def _family(settings: Settings) -> str:
    return f"{settings.value('model_type') or ''} {settings.classes[0]}".lower()


def _interleaved(settings: Settings, module: nn.Module) -> bool:
    said = settings.value("rope_interleave", "rope_interleaved", "rotary_interleaved", "interleaved")
    if isinstance(said, bool):
        return said
    if {"wq", "wk"} <= set(module._modules):
        # as in the first code of Llama: neighbours as the two parts of a complex number
        return True
    family = _family(settings)
    return any(name in family for name in _NEIGHBOURS) and not any(name in family for name in _NOT_AMONG_THEM)


def _parameters(settings: Settings) -> Mapping[str, Any]:
    """``rope_parameters`` or ``rope_scaling``, those of the layer's own type where types differ."""
    for name in ("rope_parameters", "rope_scaling"):
        found = settings.value(name)
        if isinstance(found, Mapping):
            inner = found.get(_layer_type(settings))
            return {**found, **inner} if isinstance(inner, Mapping) else found
    return {}


def _layer_type(settings: Settings) -> str:
    if isinstance(own := settings.own.get("layer_type"), str):
        return own
    types, index = settings.value("layer_types"), settings.own.get("layer_idx")
    if index is None:
        index = next((int(part) for part in reversed(settings.path.split(".")) if part.isdigit()), None)
    if isinstance(types, list | tuple) and isinstance(index, int) and index < len(types):
        return str(types[index])
    return ""


def _turning(settings: Settings, parameters: Mapping[str, Any], width: int) -> int:
    said = settings.count("rotary_ndims", "rotary_dim", "rotary_emb_dim", "rope_dim")
    if said is None:
        share = parameters.get("partial_rotary_factor") or settings.value("partial_rotary_factor", "rotary_pct")
        said = int(width * float(share or 1.0))
    return min(said, width) // 2 * 2


def _buffer(module: nn.Module, path: str, network: Network) -> Loader | None:
    """The frequencies that a child of the module, or one beside it on the way up, keeps in ``inv_freq``."""
    for name, _ in module.named_buffers():
        if name.rpartition(".")[2] == "inv_freq":
            return network.loaders.get(join(path, name))
    parts = path.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        around = ".".join(parts[:depth])
        for name in ("rotary_emb", "rotary", "rope", "rotary_embedding"):
            loader = network.loaders.get(join(around, f"{name}.inv_freq"))
            if loader is not None:
                return loader
    return None
