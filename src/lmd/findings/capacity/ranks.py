"""How many directions a layer uses, by every definition side by side."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import (
    NO_SPECTRUM,
    baseline_spectrum,
    counted,
    counted_each,
    leading_value,
    measured,
    no_baseline,
    spectrum_of,
)
from lmd.findings.quantity import Measured, quantities_of, quantity
from lmd.linalg.chance.hard_threshold import hard_threshold_rank
from lmd.linalg.maps.isometry import numerical_rank

__all__ = ["Ranks", "ranks"]

_SHARES = (0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranks(Finding):
    """Ranks of one linear map. They answer different questions; none is recommended without data."""

    numerical_rank: Measured = quantity(
        "#{σ > ε·max(out, in)·σ₁}",
        unit="directions",
        meaning="Directions that are not exactly redundant (ε = 2⁻⁵², double precision)",
        source="Golub, Klema & Stewart 1976",
    )
    stable_rank: Measured = quantity(
        "‖W‖_F²/σ₁²",
        unit="directions",
        meaning="How many directions as strong as the strongest would give the same Frobenius norm",
        source="Rudelson & Vershynin 2007",
    )
    effective_rank: Measured = quantity(
        "exp(−Σ p log p), p = σ/Σσ",
        unit="directions",
        meaning="Exponential of the entropy of the singular values: how many directions share the action",
        source="Roy & Vetterli 2007",
    )
    participation_ratio: Measured = quantity(
        "(Σσ²)²/Σσ⁴",
        unit="directions",
        meaning="How many directions share the squared Frobenius norm",
        source="Gao & Ganguli 2017",
    )
    rank_90: Measured = quantity(
        "k(90 %)",
        unit="directions",
        meaning="Fewest directions that hold 90 % of the squared Frobenius norm",
        source="Eckart & Young 1936",
    )
    rank_95: Measured = quantity(
        "k(95 %)",
        unit="directions",
        meaning="Fewest directions that hold 95 % of the squared Frobenius norm",
        source="Eckart & Young 1936",
    )
    rank_99: Measured = quantity(
        "k(99 %)",
        unit="directions",
        meaning="Fewest directions that hold 99 % of the squared Frobenius norm",
        source="Eckart & Young 1936",
    )
    rank_99_9: Measured = quantity(
        "k(99.9 %)",
        unit="directions",
        meaning="Fewest directions that hold 99.9 % of the squared Frobenius norm",
        source="Eckart & Young 1936",
    )
    hard_threshold_rank: Measured = quantity(
        "#{σ > ω(β)·median σ}",
        unit="directions",
        meaning="Directions worth keeping if the rest were noise of unknown size: the optimal hard threshold",
        source="Gavish & Donoho 2014",
    )


@analysis
def ranks(factors: Factors) -> Ranks:
    """Ranks of one layer against a random layer of the same shape.

    Where only leading values are known: the stable rank, from above.
    """
    base = baseline_spectrum(factors)
    if factors.spectrum is None:
        return _leading(factors, base)
    _, error = spectrum_of(factors)
    drowned = error[-1].item() if error.numel() else 0.0
    rank_90, rank_95, rank_99, rank_99_9 = counted_each(factors, _energy, base)
    return Ranks(
        layer=factors.layer,
        numerical_rank=counted(factors, partial(numerical_rank, side=max(factors.shape), floor=drowned), base),
        stable_rank=measured(factors, _stable, base),
        effective_rank=measured(factors, _effective, base),
        participation_ratio=measured(factors, _participation, base),
        rank_90=rank_90,
        rank_95=rank_95,
        rank_99=rank_99,
        rank_99_9=rank_99_9,
        hard_threshold_rank=_hard_threshold(factors, base),
    )


def _hard_threshold(factors: Factors, base: Tensor | None) -> Measured:
    if factors.inner or factors.groups > 1:
        return Measured(None, reason="the threshold is for one matrix with noise in every entry")
    return counted(factors, partial(hard_threshold_rank, shape=factors.shape), base)


def _leading(factors: Factors, base: Tensor | None) -> Ranks:
    absent = {q.key: Measured(None, reason=NO_SPECTRUM) for q in quantities_of(Ranks)}
    largest = leading_value(factors)
    if largest == 0:
        return Ranks(layer=factors.layer, **{**absent, "stable_rank": Measured(None, reason="undefined for zero")})
    value = (factors.frobenius_norm / largest) ** 2
    error = 2 * value * factors.residual / largest
    stable = Measured(value, None if base is None else _stable(base).item(), error, "upper", no_baseline(factors))
    return Ranks(layer=factors.layer, **{**absent, "stable_rank": stable})


def _stable(S: Tensor) -> Tensor:
    # squares of the raw values could overflow or vanish
    return (S / S[0]).square().sum()


def _effective(S: Tensor) -> Tensor:
    p = S / S.sum()
    return torch.exp(torch.special.entr(p[p > 0]).sum()) if bool(p.sum() > 0) else S.sum() / S.sum()


def _participation(S: Tensor) -> Tensor:
    # fourth powers of the raw values could overflow
    q = (S / S[0]).square()
    return q.sum().square() / q.square().sum()


def _energy(S: Tensor) -> list[int]:
    """For each share the fewest directions that hold it."""
    energy = (S / S[0] if S.numel() and S[0] > 0 else S).square().cumsum(0)
    if not energy.numel() or energy[-1] == 0:
        return [0] * len(_SHARES)
    # the last partial sum can stay below the total by rounding: search in the sums themselves
    found = torch.searchsorted(energy, torch.tensor(_SHARES, dtype=energy.dtype) * energy[-1])
    return [min(index + 1, S.numel()) for index in found.tolist()]
