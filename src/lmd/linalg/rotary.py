"""Rotary positions: pairs of coordinates turned by an angle that grows with the position."""

from collections.abc import Mapping
from math import ceil, floor, log, pi, sqrt
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["attention_factor", "rotary_frequencies", "rotated"]


def rotary_frequencies(width: int, base: float, scaling: Mapping[str, Any] | None = None) -> tuple[float, ...]:
    """Angle per position of each of the ``width / 2`` pairs: ``base^(-2 i / width)``, stretched as ``scaling`` says.

    Args:
        width: number of coordinates that turn.
        base: the longest wavelength over 2 pi.
        scaling: ``rope_type`` (default, linear, dynamic, llama3, yarn, longrope, proportional) and its numbers, as
            config.json has them; for sequences within the length the model was trained on.

    Raises:
        KeyError: a number that the type needs is missing.
        ValueError: an unknown type.

    References:
        Su et al. 2021; Peng et al. 2023 (yarn).

    >>> rotary_frequencies(4, 10000.0)
    (1.0, 0.01)
    """
    scaling = scaling or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    plain = [base ** (-2 * i / width) for i in range(width // 2)]
    # what pictures and films add to a position is 0 for text
    if kind in ("default", "dynamic", "mrope", None):
        return tuple(plain)
    if kind == "linear":
        return tuple(f / scaling["factor"] for f in plain)
    if kind == "llama3":
        return tuple(_llama3(f, scaling) for f in plain)
    if kind == "yarn":
        return tuple(_yarn(i, f, width, base, scaling) for i, f in enumerate(plain))
    if kind in ("longrope", "su"):
        return tuple(f / factor for f, factor in zip(plain, scaling["short_factor"], strict=True))
    if kind == "proportional":
        turning = int(scaling.get("partial_rotary_factor", 1.0) * width // 2)
        return tuple(f / scaling.get("factor", 1.0) if i < turning else 0.0 for i, f in enumerate(plain))
    raise ValueError(f"rotary positions of type {kind!r} are not known")


def attention_factor(scaling: Mapping[str, Any]) -> float:
    """What the turned coordinates of queries and keys are multiplied by: 1 but for yarn and longrope.

    Raises:
        KeyError: a number that the type needs is missing.

    References:
        Peng et al. 2023, 3.4 (yarn); Ding et al. 2024 (longrope).

    >>> round(attention_factor({"rope_type": "yarn", "factor": 32.0}), 4)
    1.3466
    """
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("yarn", "longrope", "su"):
        return 1.0
    if (said := scaling.get("attention_factor")) is not None:
        return float(said)
    stretch = _stretch(scaling)
    if kind == "yarn":
        part, whole = scaling.get("mscale"), scaling.get("mscale_all_dim")
        return _temper(stretch, part) / _temper(stretch, whole) if part and whole else _temper(stretch)
    return sqrt(1 + log(stretch) / log(scaling["original_max_position_embeddings"])) if stretch > 1 else 1.0


def _stretch(scaling: Mapping[str, Any]) -> float:
    """How many times longer than in training sequences may become."""
    if scaling.get("factor") is not None:
        return float(scaling["factor"])
    return float(scaling["max_position_embeddings"] / scaling["original_max_position_embeddings"])


def _temper(stretch: float, strength: float = 1.0) -> float:
    return 0.1 * strength * log(stretch) + 1.0 if stretch > 1 else 1.0


def _llama3(frequency: float, scaling: Mapping[str, Any]) -> float:
    """Long waves stretched by ``factor``, short ones left, a ramp between."""
    waves = scaling["original_max_position_embeddings"] * frequency / (2 * pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    share = min(max((waves - low) / (high - low), 0.0), 1.0)
    return frequency * (share + (1 - share) / scaling["factor"])


def _yarn(index: int, frequency: float, width: int, base: float, scaling: Mapping[str, Any]) -> float:
    """The same by the index of the pair."""
    trained = scaling["original_max_position_embeddings"]
    low, high = (
        width * log(trained / (turns * 2 * pi)) / (2 * log(base))
        for turns in (scaling.get("beta_fast") or 32, scaling.get("beta_slow") or 1)
    )
    if scaling.get("truncate", True):
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    share = min(max((index - low) / ((high - low) or 0.001), 0.0), 1.0)
    return frequency * (1 - share + share / _stretch(scaling))


def rotated(
    rows: Float64[Tensor, "width n"], angles: Float64[Tensor, " pairs"], *, interleaved: bool
) -> Float64[Tensor, "width n"]:
    """Turn pairs among the first ``2 pairs`` coordinates of every column, the others stay.

    Args:
        rows: one coordinate in each row.
        angles: of each pair, in radians.
        interleaved: pairs are neighbours ``(2 i, 2 i + 1)``; otherwise ``(i, i + pairs)``.

    >>> quarter = torch.tensor([pi / 2], dtype=torch.float64)
    >>> rotated(torch.eye(2, dtype=torch.float64), quarter, interleaved=True).round()
    tensor([[ 0., -1.],
            [ 1.,  0.]], dtype=torch.float64)
    """
    pairs = len(angles)
    turning = rows[: 2 * pairs]
    if interleaved:
        first, second = turning[0::2], turning[1::2]
    else:
        first, second = turning[:pairs], turning[pairs:]
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    turned = first * cos - second * sin, second * cos + first * sin
    both = torch.stack(turned, dim=1).flatten(0, 1) if interleaved else torch.cat(turned)
    return torch.cat([both, rows[2 * pairs :]])
