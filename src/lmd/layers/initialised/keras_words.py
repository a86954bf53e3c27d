"""Initialisers of Keras, by the names and settings of its configurations."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from lmd.layers.initialised.law import InitialLaw, normal, uniform

__all__ = ["law_of_keras"]

_SCALED = {
    "glorot_uniform": (1.0, "fan_avg", "uniform"),
    "glorot_normal": (1.0, "fan_avg", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
}
"""Variance times the fan, which fan, and the law, of ``VarianceScaling`` under its short names."""
_CUT = 0.87962566103423978
"""Standard deviation of a normal law of variance 1 that is cut off at two standard deviations."""


def law_of_keras(word: str, settings: Mapping[str, Any], fans: tuple[int, int]) -> InitialLaw | str:
    """The law of one initialiser, or why there is none.

    Args:
        word: class or function, ``GlorotUniform`` or ``glorot_uniform``.
        settings: its configuration.
        fans: how many weights lead into a unit, and out of one.
    """
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in word).lstrip("_")
    source = f"initialiser {word} of the file's Keras configuration"
    if name in _SCALED:
        return _scaled(*_SCALED[name], fans, source)
    if name == "variance_scaling":
        told = (settings.get("scale", 1.0), settings.get("mode", "fan_in"))
        law = str(settings.get("distribution", "truncated_normal"))
        return _scaled(float(told[0]), str(told[1]), law, fans, source)
    if name in ("random_uniform", "uniform"):
        low, high = (float(settings.get(key, default)) for key, default in (("minval", -0.05), ("maxval", 0.05)))
        return uniform(high, source) if low == -high < 0 else f"{word} from {low} to {high} has a mean"
    if name in ("random_normal", "normal", "truncated_normal"):
        if settings.get("mean"):
            return f"{word} with a mean of {settings['mean']}"
        deviation = float(settings.get("stddev", 0.05))
        cut = name == "truncated_normal"
        return InitialLaw("truncated normal", deviation * _CUT, source) if cut else normal(deviation, source)
    return f"weights of {word} do not start as independent random numbers"


def _scaled(scale: float, mode: str, law: str, fans: tuple[int, int], source: str) -> InitialLaw | str:
    fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}.get(mode)
    if not fan or scale <= 0:
        return f"a variance of {scale}/{mode} is none"
    deviation = sqrt(scale / fan)
    if law == "uniform":
        return uniform(deviation * sqrt(3), source)
    # both names of a truncated law keep the variance; untruncated ones say so
    return (
        normal(deviation, source) if law == "untruncated_normal" else InitialLaw("truncated normal", deviation, source)
    )
