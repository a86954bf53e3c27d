"""The decompositions of one layer before and after."""

from dataclasses import dataclass

from lmd.factors.factors import Factors

__all__ = ["Sides"]


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What the two sides of a difference are made of.

    Attributes:
        earlier: of the layer before.
        later: of the layer after; the same object where nothing changed.
    """

    earlier: Factors
    later: Factors
