"""A law that weights start from."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

__all__ = ["InitialLaw", "normal", "uniform"]


@dataclass(frozen=True, slots=True)
class InitialLaw:
    """Independent weights of mean 0.

    Attributes:
        name: of the law.
        deviation: standard deviation of the weights.
        source: where it is written, or of what it is the default.
    """

    name: Literal["normal", "truncated normal", "uniform"]
    deviation: float
    source: str

    @property
    def excess_kurtosis(self) -> float:
        """Of the weights; a normal law cut off at two standard deviations has -0.63."""
        return {"normal": 0.0, "truncated normal": -0.634, "uniform": -1.2}[self.name]


def normal(deviation: float, source: str) -> InitialLaw:
    """A normal law."""
    return InitialLaw("normal", deviation, source)


def uniform(bound: float, source: str) -> InitialLaw:
    """Uniform between ``-bound`` and ``bound``."""
    return InitialLaw("uniform", bound / sqrt(3), source)
