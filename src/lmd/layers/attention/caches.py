"""Frequencies of rotary positions, read off what a model keeps for each position."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from lmd.layers.registry import join
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["Frequencies", "cached_frequencies"]

Frequencies = tuple[float, ...] | Loader
_COMPLEX = ("freqs_cis", "freqs_complex", "freq_cis", "rope_cache")
_COSINES = ("cos", "cos_cached", "cos_cache", "freqs_cos", "rope_cos", "cached_cos", "_cos", "cos_emb")
_CHILDREN = ("", "rotary_emb", "rotary", "rope", "rotary_embedding", "rotary_pos_emb", "pos_emb")


def cached_frequencies(path: str, width: int, network: Network) -> tuple[Frequencies, bool] | None:
    """The angle of position 1 of each pair, and whether complex numbers tell it, whose parts are neighbours.

    Args:
        path: of the attention module; what stands beside it and further up is looked at too.
        width: of a head.
        network: that holds the tensors.
    """
    parts = path.split(".") if path else []
    for depth in range(len(parts), -1, -1):
        for child in _CHILDREN:
            place = join(".".join(parts[:depth]), child) if child else ".".join(parts[:depth])
            for names, function in _kept():
                found = _read(place, names, function, width, network)
                if found is not None:
                    return found, len(names) == 1
    return None


def _kept() -> Iterator[tuple[tuple[str, ...], Callable[..., Tensor]]]:
    yield from (((name,), _of_complex) for name in _COMPLEX)
    yield from (((name, name.replace("cos", "sin")), _of_cosines) for name in _COSINES)


def _read(
    place: str, names: tuple[str, ...], function: Callable[..., Tensor], width: int, network: Network
) -> Frequencies | None:
    loaders = [network.loaders.get(join(place, name)) for name in names]
    stored = tuple(loader for loader in loaders if loader is not None)
    own = _attributes(place, network)
    plain = [own[name] for name in names if name in own]
    if len(stored) == len(names):
        pairs = _pairs(stored[0].shape, width)
        return Combined(partial(function, pairs=pairs), stored, (pairs,)) if pairs else None
    if len(plain) == len(names):
        pairs = _pairs(tuple(plain[0].shape), width)
        return tuple(function(*plain, pairs=pairs).tolist()) if pairs else None
    return None


def _attributes(place: str, network: Network) -> dict[str, Tensor]:
    """Tensors that a live module keeps as plain attributes, as the first code of Llama does."""
    module: nn.Module | None = network.skeleton
    for name in place.split(".") if place else ():
        module = None if module is None else module._modules.get(name)
    own = {} if module is None else vars(module)
    return {name: value for name, value in own.items() if isinstance(value, Tensor) and not value.is_meta}


def _pairs(shape: tuple[int, ...], width: int) -> int:
    """How many coordinates turn, in pairs; 0 if the shape is not that of something kept for each position."""
    sizes = [size for size in shape if size > 1]
    if len(sizes) == 3 and sizes[2] == 2:
        sizes = sizes[:2]
    if len(sizes) != 2 or sizes[1] > width:
        return 0
    # as many as there are coordinates: each pair has its angle twice
    return sizes[1] if 2 * sizes[1] <= width else sizes[1] // 2


def _of_complex(kept: Tensor, *, pairs: int) -> Tensor:
    whole = kept if kept.is_complex() else torch.view_as_complex(kept.double().contiguous())
    return whole.reshape(-1, whole.shape[-1])[1, :pairs].angle().double()


def _of_cosines(cosines: Tensor, sines: Tensor, *, pairs: int) -> Tensor:
    cosine, sine = (kept.double().reshape(-1, kept.shape[-1])[1] for kept in (cosines, sines))
    angles = torch.atan2(sine, cosine)
    if len(angles) == pairs:
        return angles
    # twice, one behind the other or one beside the other
    beside = torch.equal(angles[0::2], angles[1::2])
    return angles[0::2] if beside else angles[:pairs]
