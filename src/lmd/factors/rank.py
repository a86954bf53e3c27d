"""How many triples a rule keeps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["Wish", "rank_by_rule"]


@dataclass(frozen=True, slots=True)
class Wish:
    """How many triples are wanted: a number, all (None), or what one rule says.

    Attributes:
        vectors: number of triples, at most; None for all; ignored if a rule is given.
        rank, energy, error: the rule (see ``rank_by_rule``); at most one is not None.
    """

    vectors: int | None
    rank: int | None = None
    energy: float | None = None
    error: float | None = None

    @classmethod
    def of(
        cls,
        vectors: int | None,
        *,
        rank: int | None = None,
        energy: float | None = None,
        error: float | None = None,
    ) -> "Wish":
        """Check that the rules exclude each other.

        Raises:
            ValueError: several rules, or a negative number of vectors.
        """
        wish = cls(vectors, rank, energy, error)
        if wish.rule is None and vectors is not None and vectors < 0:
            raise ValueError(f"vectors={vectors} must be at least 0; give None to keep all.")
        return wish

    @property
    def rule(self) -> str | None:
        """The name of the rule, if there is one.

        Raises:
            ValueError: there are several.
        """
        given = {k: v for k in ("rank", "energy", "error") if (v := getattr(self, k)) is not None}
        if len(given) > 1:
            words = " and ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(f"{words} came together; rank, energy and error exclude each other; keep one of them.")
        return next(iter(given), None)

    def count(self, values: Float64[Tensor, " full"], layer: str) -> int:
        """Number of triples to keep of a matrix with these singular values."""
        if self.rule is None:
            return values.numel() if self.vectors is None else min(self.vectors, values.numel())
        return rank_by_rule(values, rank=self.rank, energy=self.energy, error=self.error, layer=layer)


def rank_by_rule(
    values: Float64[Tensor, " full"],
    *,
    rank: int | None = None,
    energy: float | None = None,
    error: float | None = None,
    layer: str = "",
) -> int:
    """Number of triples that a rule keeps.

    Args:
        values: every singular value, descending.
        rank: this many.
        energy: the fewest that hold this share, in (0, 1], of the squared Frobenius norm.
        error: the fewest that leave out at most this share, in [0, 1), of the Frobenius norm.
        layer: name, for messages.

    Returns:
        Between 0 (a zero matrix by energy or error) and the number of values.

    Raises:
        ValueError: no rule or several, or a number out of its range.

    >>> rank_by_rule(torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), energy=0.9)
    2
    """
    if Wish.of(None, rank=rank, energy=energy, error=error).rule is None:
        raise ValueError("no rule came; one of rank, energy or error is needed; give one.")
    if rank is not None:
        return _checked_rank(rank, values.numel(), layer)
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"energy={energy} must be above 0 and at most 1; it is a share of the squared Frobenius norm.")
    if error is not None and not 0 <= error < 1:
        raise ValueError(f"error={error} must be at least 0 and below 1; it is a share of the Frobenius norm.")
    left = _squares_left(values)
    if energy is not None and energy < 1:
        return int((1 - left < energy).sum())
    return int((left > (error or 0.0) ** 2).sum())


def _checked_rank(rank: int, full: int, layer: str) -> int:
    if not 1 <= rank <= full:
        raise ValueError(f"rank={rank} of layer {layer!r} must be between 1 and {full}; leave it out to keep all.")
    return rank


def _squares_left(values: Float64[Tensor, " full"]) -> Float64[Tensor, " full"]:
    """Share of the squares in value i and after, summed from the smallest so that small ones count."""
    largest = values[0] if values.numel() and values[0] > 0 else torch.ones((), dtype=torch.float64)
    squares = (values / largest).square().flip(0).cumsum(0).flip(0)
    return squares / squares[0] if squares.numel() and squares[0] > 0 else squares
