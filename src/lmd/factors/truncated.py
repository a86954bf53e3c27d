"""Factors cut to fewer triples."""

from dataclasses import replace

from lmd.factors.factors import Factors
from lmd.factors.rank import Wish, rank_by_rule

__all__ = ["truncate"]


def truncate(
    factors: Factors, *, rank: int | None = None, energy: float | None = None, error: float | None = None
) -> Factors:
    """Keep the leading triples by exactly one rule.

    The Frobenius error is exactly ``result.errors(result.rank).frobenius``, the root of the squares left out, and no
    matrix of that rank does better (Eckart & Young 1936). The spectrum stays whole; residual and orthogonality defect
    stay as upper bounds.

    Args:
        factors: with at least as many triples as are asked for.
        rank: keep this many.
        energy: keep the fewest that hold this share, in (0, 1], of the squared Frobenius norm.
        error: keep the fewest whose relative Frobenius error is at most this, in [0, 1).

    Raises:
        ValueError: no rule or several, a number out of its range, or more triples than are stored.

    >>> import torch
    >>> from lmd.factors.svd import factors_of
    >>> truncate(factors_of(torch.eye(3)), rank=2).errors(2).frobenius
    1.0
    """
    if factors.spectrum is None:
        return _by_rank_alone(factors, rank, energy, error)
    count = rank_by_rule(factors.spectrum, rank=rank, energy=energy, error=error, layer=factors.layer)
    return _leading(factors, count)


def _by_rank_alone(factors: Factors, rank: int | None, energy: float | None, error: float | None) -> Factors:
    if Wish.of(None, rank=rank, energy=energy, error=error).rule != "rank":
        raise ValueError(
            f"energy={energy}, error={error} came for layer {factors.layer!r}, of which only the leading values are "
            f"known; give rank, or decompose with all values."
        )
    return _leading(factors, rank_by_rule(factors.S, rank=rank, layer=factors.layer))


def _leading(factors: Factors, count: int) -> Factors:
    if count > factors.rank:
        raise ValueError(
            f"{count} triples of layer {factors.layer!r} are needed; {factors.rank} are stored; "
            f"decompose with --vectors all, or with --vectors {count}."
        )
    remainder = None if factors.remainder is None else factors.errors(count).spectral
    return replace(
        factors,
        U=factors.U[:, :count].clone(),
        S=factors.S[:count].clone(),
        Vh=factors.Vh[:count].clone(),
        remainder=remainder,
    )
