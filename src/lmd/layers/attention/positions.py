"""Rotary positions of an attention layer: which coordinates turn, how fast, and in which pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from lmd.layers.attention.caches import cached_frequencies
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.families import (
    HALVES,
    NEIGHBOURS,
    NEIGHBOURS_BY_STEM,
    NO_TURN_WITHOUT_WINDOW,
    TURNS_BACKWARDS,
    TURNS_INPUTS,
    is_among,
    sounds_like,
)
from lmd.layers.attention.settings import Settings
from lmd.layers.registry import join
from lmd.linalg.rotary import attention_factor, rotary_frequencies
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["Rotary", "rotary_of", "said_of_layer"]

_PICTURES = ("image", "pixtral", "vision", "vit")
"""Families whose positions lie in a plane."""
_ALWAYS_ROTARY = {"codegen": 10000.0, "gptj": 10000.0, "roformer": 10000.0}
"""Families that have rotary positions and no word of it in their configuration."""
_NOT_FOUND = "no frequencies are found, and whether positions turn is not known"
_CROSS = ("cross", "encoder_attn", "encdecattention")


@dataclass(frozen=True, slots=True, eq=False)
class Rotary:
    """How query and key turn with the position.

    Attributes:
        frequencies: angle per position of each pair, or the loader of a buffer that holds them; () if not known.
        interleaved: whether neighbours make a pair.
        factor: what the turned coordinates of query and of key are multiplied by.
        backwards: whether the angles grow the other way round.
        reason: why the frequencies are not known.
        known: whether the family is, and with it the order of turning and normalising.
        notes: what is taken for granted.
        turns: whether positions turn at all, as far as that is known.
    """

    frequencies: tuple[float, ...] | Loader
    interleaved: bool = False
    factor: float = 1.0
    backwards: bool = False
    reason: str = ""
    known: bool = True
    notes: tuple[str, ...] = ()
    turns: bool = True


def rotary_of(module: nn.Module, path: str, settings: Settings, heads: Heads, network: Network) -> Rotary | None:
    """The rotary positions of a layer, None if it has none as far as anybody says."""
    if not _applies(settings):
        return None
    parameters = _parameters(settings)
    base = _base(settings, parameters)
    if base is None:
        return _kept(module, path, settings, heads, network)
    if any(name in _family(settings) for name in _PICTURES):
        return Rotary((), reason="in a picture a distance is no single number")
    if is_among(settings, TURNS_INPUTS):
        return Rotary((), reason="they turn what comes into the projections, across all heads")
    try:
        width = _turning(settings, parameters, heads.width)
        frequencies, factor = rotary_frequencies(width, base, parameters), attention_factor(parameters)
    except (KeyError, ValueError, TypeError) as fault:
        return Rotary((), reason=f"what the configuration says of them cannot be followed ({fault})")
    notes = _of_short_sequences(parameters)
    return _paired(Rotary(frequencies, factor=factor, notes=notes), settings, module)


def _kept(module: nn.Module, path: str, settings: Settings, heads: Heads, network: Network) -> Rotary | None:
    """By the frequencies, or what is made of them for each position, that the model holds."""
    if (buffer := _buffer(module, path, network)) is not None:
        return _paired(Rotary(buffer), settings, module)
    if (cached := cached_frequencies(path, heads.width, network)) is not None:
        return _paired(Rotary(cached[0]), settings, module, complex_numbers=cached[1])
    # a bare file's attention is a module of no class of its own
    told = settings.is_known or (settings.library in ("torch", "diffusers") and type(module) is not nn.Module)
    return None if told else Rotary((), reason=_NOT_FOUND, turns=False)


def _base(settings: Settings, parameters: Mapping[str, Any]) -> float | None:
    said = parameters.get("rope_theta") or settings.value(
        "rope_theta", "rotary_emb_base", "rope_base", "rotary_base", "rotary_embedding_base"
    )
    if said is None:
        said = next((base for family, base in _ALWAYS_ROTARY.items() if family in _family(settings)), None)
    return None if said is None else float(said)


def _applies(settings: Settings) -> bool:
    # some families keep a 0 there instead of False
    switched_off = settings.own.get("use_rope", True) in (False, 0) or settings.value("alibi") is True
    kind = settings.value("position_embedding_type", "position_embeddings_type")
    other = isinstance(kind, str) and kind not in ("rotary", "rope")
    return (
        not switched_off
        and not other
        and all(said_of_layer(settings, name) is not False for name in ("no_rope_layers", "layer_rope_theta"))
        and not _sees_everything_unturned(settings)
        and not any(word in settings.path.lower() for word in _CROSS)
    )


def _sees_everything_unturned(settings: Settings) -> bool:
    """Some families turn in the layers that look at a window only, if there are any."""
    if not is_among(settings, NO_TURN_WITHOUT_WINDOW) or settings.value("force_rope") is True:
        return False
    if kind := _layer_type(settings):
        return kind == "full_attention" and settings.value("sliding_window") is not None
    return bool(settings.own) and "sliding_window" not in settings.own


def _family(settings: Settings) -> str:
    return f"{settings.value('model_type') or ''} {settings.classes[0]}".lower()


def _paired(rotary: Rotary, settings: Settings, module: nn.Module, *, complex_numbers: bool = False) -> Rotary:
    """The same with what makes a pair, and a note where nothing tells."""
    interleaved, known = _pairs(settings, module)
    if not known:
        interleaved = interleaved or complex_numbers
        pairs = "neighbours" if interleaved else "the two halves"
        rotary = replace(
            rotary, notes=(*rotary.notes, f"nothing tells which coordinates turn together: {pairs} assumed")
        )
    family = is_among(settings, HALVES | NEIGHBOURS)
    return replace(rotary, interleaved=interleaved, backwards=is_among(settings, TURNS_BACKWARDS), known=family)


def _pairs(settings: Settings, module: nn.Module) -> tuple[bool, bool]:
    """Whether neighbours make a pair, and whether that is known."""
    said = settings.value("rope_interleave", "rope_interleaved", "rotary_interleaved", "interleaved")
    if isinstance(said, bool):
        return said, True
    if is_among(settings, NEIGHBOURS):
        return True, True
    if is_among(settings, HALVES):
        return False, True
    # as in the first code of Llama: neighbours as the two parts of a complex number
    from_meta = {"wq", "wk"} <= set(module._modules)
    return from_meta or sounds_like(settings, NEIGHBOURS_BY_STEM), False


def _of_short_sequences(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """What to say of frequencies that grow with the length of the sequence."""
    kind = parameters.get("rope_type", parameters.get("type"))
    if kind not in ("dynamic", "longrope", "su"):
        return ()
    if kind != "dynamic" and parameters.get("short_factor") == parameters.get("long_factor"):
        return ()
    trained = parameters.get(f"{'' if kind == 'dynamic' else 'original_'}max_position_embeddings")
    length = f"up to length {trained}" if trained else "no longer than in training"
    return (f"frequencies of sequences {length}, longer ones have others (rotary type {kind})",)


def _parameters(settings: Settings) -> Mapping[str, Any]:
    """``rope_parameters`` or ``rope_scaling``, those of the layer's own type where types differ."""
    found: dict[str, Any] = {}
    for name in ("rope_parameters", "rope_scaling"):
        said = settings.value(name)
        if isinstance(said, Mapping):
            inner = said.get(_layer_type(settings))
            found = {**said, **inner} if isinstance(inner, Mapping) else dict(said)
            break
    longest = settings.count("max_position_embeddings")
    trained = settings.count("original_max_position_embeddings") or longest
    for name, length in (("max_position_embeddings", longest), ("original_max_position_embeddings", trained)):
        if found.get(name) is None and length is not None:
            found[name] = length
    return found


def _layer_type(settings: Settings) -> str:
    if isinstance(own := settings.own.get("layer_type"), str):
        return own
    index, types = _index(settings), settings.value("layer_types")
    if isinstance(types, list | tuple) and index is not None and index < len(types):
        return str(types[index])
    return ""


def said_of_layer(settings: Settings, name: str) -> bool | None:
    """Whether a list with something for each layer has a number other than 0 for this one."""
    index, numbers = _index(settings), settings.value(name)
    if isinstance(numbers, list | tuple) and index is not None and index < len(numbers):
        return bool(numbers[index])
    return None


def _index(settings: Settings) -> int | None:
    own = settings.own.get("layer_idx")
    if isinstance(own, int):
        return own
    return next((int(part) for part in reversed(settings.path.split(".")) if part.isdigit()), None)


def _turning(settings: Settings, parameters: Mapping[str, Any], width: int) -> int:
    if parameters.get("rope_type") == "proportional":
        return width // 2 * 2
    share = parameters.get("partial_rotary_factor")
    said = None
    # where a configuration has all of it in one place, what it says beside is not listened to
    if share is None and settings.value("rope_parameters") is None:
        said = settings.count("rotary_ndims", "rotary_dim", "rotary_emb_dim", "rope_dim")
    if said is None:
        said = int(width * float(share or settings.value("partial_rotary_factor", "rotary_pct") or 1.0))
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
