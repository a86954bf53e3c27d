"""How far a layer moved between two networks, and whether its leading directions are still the same ones."""

from dataclasses import dataclass
from functools import cache
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.factors.sides import Sides
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import baseline_spectrum, counted, measured, no_baseline, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.layers.updates.pairs import Pair
from lmd.layers.updates.rounding_noise import rounding_sums
from lmd.linalg.chance.uneven_noise import uneven_noise_edge
from lmd.linalg.subspaces import largest_random_cosine, principal_cosines, random_cosines, subspace_tilt

__all__ = ["Comparison", "comparison", "directions_compared"]

_MOST = 32
"""Leading directions that are compared, at most."""
_ROUNDING_MARGIN = 1.1
"""Above the limit of large matrices where rounding noise ends, as small ones scatter about it."""
_RULE = "a choice, not a measurement: rank_90 of the earlier layer, at most 32 and at most half of the shorter side"
_SAME = "nothing changed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison(Finding):
    """One layer of two networks, the later against the earlier."""

    relative_change: Measured = quantity(
        "‖B−A‖_F/‖A‖_F",
        unit="1",
        meaning="Size of the change beside the earlier layer; 0 where nothing changed",
        source="Golub & Van Loan 2013, 2.3",
    )
    spectral_change: Measured = quantity(
        "‖B−A‖₂/‖A‖₂",
        unit="1",
        meaning="Largest stretching by the change beside the largest by the earlier layer",
        source="Golub & Van Loan 2013, 2.3",
    )
    spectra_distance: Measured = quantity(
        "√Σ(σᵢ(B)−σᵢ(A))²/‖A‖_F",
        unit="1",
        meaning="How far the singular values moved, whatever their directions did; at most the relative change",
        source="Mirsky 1960",
    )
    change_stable_rank: Measured = quantity(
        "‖B−A‖_F²/‖B−A‖₂²",
        unit="directions",
        meaning="How many directions as strong as the strongest would make up the change",
        source="Rudelson & Vershynin 2007",
    )
    change_above_rounding: Measured = quantity(
        "#{σ(B−A) > ‖E‖₂}",
        unit="directions",
        meaning="Rank of the change as far as it is more than rounding of the stored numbers of both would give",
        source="Weyl 1912; Bennett 1948",
    )
    compared_directions: Measured = quantity(
        "k",
        unit="directions",
        meaning="How many leading directions are compared: rank_90 of the earlier layer, at most 32 and at most half "
        "of the shorter side",
        source="Eckart & Young 1936",
    )
    overlap_out: Measured = quantity(
        "‖U_k(A)ᵀU_k(B)‖²_F/k",
        unit="1",
        meaning="Share of the k leading output directions that is still spanned by the later layer's k leading ones",
        source="Björck & Golub 1973",
    )
    overlap_in: Measured = quantity(
        "‖V_k(A)ᵀV_k(B)‖²_F/k",
        unit="1",
        meaning="Share of the k leading input directions that is still spanned by the later layer's k leading ones",
        source="Björck & Golub 1973",
    )
    cosines_out: Measured = quantity(
        "cos θᵢ(U_k(A), U_k(B))",
        unit="1",
        meaning="Cosine of each principal angle between the k leading output directions of both",
        source="Jordan 1875; Björck & Golub 1973",
    )
    cosines_in: Measured = quantity(
        "cos θᵢ(V_k(A), V_k(B))",
        unit="1",
        meaning="Cosine of each principal angle between the k leading input directions of both",
        source="Jordan 1875; Björck & Golub 1973",
    )
    shared_out: Measured = quantity(
        "#{cos θᵢ > q₉₅}",
        unit="directions",
        meaning="Principal output directions closer than the closest of two random subspaces in 95 of 100 draws",
        source="Björck & Golub 1973; Absil, Edelman & Koev 2006",
    )
    shared_in: Measured = quantity(
        "#{cos θᵢ > q₉₅}",
        unit="directions",
        meaning="Principal input directions closer than the closest of two random subspaces in 95 of 100 draws",
        source="Björck & Golub 1973; Absil, Edelman & Koev 2006",
    )
    intruders: Measured = quantity(
        "#{j ≤ 10: maxᵢ |uᵢ(A)ᵀuⱼ(B)| < ½}",
        unit="directions",
        meaning="Among the later layer's ten leading output directions those unlike every one of the earlier layer",
        source="Shuttleworth, Andreas, Torralba & Sharma 2024 (arXiv 2410.21228)",
    )


@analysis
def comparison(factors: Factors, layer: Pair, sides: Sides) -> Comparison:
    """One layer before and after: sizes, spectra, and leading subspaces beside those of chance.

    Args:
        factors: of the difference.
        layer: the difference, with the layers themselves.
        sides: of the layer before and of the layer after.
    """
    before, after = sides.earlier, sides.later
    if before.frobenius_norm == 0:
        raise InapplicableError("the earlier layer is zero")
    k = directions_compared(before, after)
    out, inn = layer.shape
    tilts = [_tilt(one, k) for one in (before, after)] if before is not after else [0.0]
    U = principal_cosines(before.U[:, :k], after.U[:, :k]) if k else torch.zeros(0, dtype=torch.float64)
    V = principal_cosines(before.Vh[:k].T, after.Vh[:k].T) if k else torch.zeros(0, dtype=torch.float64)
    if before is after:
        U, V = torch.ones_like(U), torch.ones_like(V)
    return Comparison(
        layer=factors.layer,
        relative_change=_relative_change(factors, before, after),
        spectral_change=_spectral_change(factors, before),
        spectra_distance=_spectra_distance(factors, before, after),
        change_stable_rank=_stable_rank(factors),
        change_above_rounding=_above_rounding(factors, layer),
        compared_directions=Measured(k, None, 0.0, reason=_RULE),
        overlap_out=_overlap(U, out, sum(tilts)),
        overlap_in=_overlap(V, inn, sum(tilts)),
        cosines_out=_cosines(U, out, sum(tilts)),
        cosines_in=_cosines(V, inn, sum(tilts)),
        shared_out=_shared(U, out, sum(tilts)),
        shared_in=_shared(V, inn, sum(tilts)),
        intruders=_intruders(before, after),
    )


def directions_compared(before: Factors, after: Factors) -> int:
    """``rank_90`` of the earlier layer, at most 32 and half of the shorter side; fewer where either has fewer."""
    S, _ = spectrum_of(before)
    energy = S.square().cumsum(0)
    rank_90 = int((energy < 0.9 * energy[-1]).sum()) + 1
    known = []
    for one in (before, after):
        values, errors = spectrum_of(one)
        known.append(int((errors[: one.rank] < values[: one.rank]).sum()))
    return min(rank_90, _MOST, max(1, min(before.shape) // 2), *known)


def _relative_change(change: Factors, before: Factors, after: Factors) -> Measured:
    _, error = spectrum_of(change)
    _, error_before = spectrum_of(before)
    value = change.frobenius_norm / before.frobenius_norm
    inherited = (error.norm().item() + value * error_before.norm().item()) / before.frobenius_norm
    # two independent matrices of these norms are orthogonal to each other
    unrelated = sqrt(1 + (after.frobenius_norm / before.frobenius_norm) ** 2)
    return Measured(value, unrelated, inherited)


def _spectral_change(change: Factors, before: Factors) -> Measured:
    S, error = spectrum_of(change)
    largest, error_before = spectrum_of(before)
    value = (S[0] / largest[0]).item()
    inherited = ((error[0] + value * error_before[0]) / largest[0]).item()
    random = baseline_spectrum(change)
    if random is None:
        return Measured(value, None, inherited, reason=no_baseline(change))
    return Measured(value, random[0].item() / largest[0].item(), inherited)


def _spectra_distance(change: Factors, before: Factors, after: Factors) -> Measured:
    S, error = spectrum_of(before)
    T, error_after = spectrum_of(after)
    distance = (S - T).norm().item() if before is not after else 0.0
    inherited = (error.norm() + error_after.norm()).item() if before is not after else 0.0
    whole = before.frobenius_norm
    # to first order a random change moves value i by u_i' D v_i, of variance ||D||_F^2 / (out in)
    chance = change.frobenius_norm / sqrt(max(change.shape)) / whole
    return Measured(distance / whole, chance, inherited / whole)


def _stable_rank(change: Factors) -> Measured:
    if change.frobenius_norm == 0:
        return Measured(None, reason=_SAME)
    return measured(change, lambda S: (S / S[0]).square().sum(), baseline_spectrum(change))


def _above_rounding(change: Factors, layer: Pair) -> Measured:
    sums = [rounding_sums(one) for one in (layer.earlier, layer.later)]
    rows, columns = (sum(parts) for parts in zip(*sums, strict=True))
    assert isinstance(rows, Tensor)
    assert isinstance(columns, Tensor)
    if change.groups > 1:
        # Bandeira & van Handel 2016, without the logarithm, as rounding errors are bounded
        widest = _ROUNDING_MARGIN * (rows.max().sqrt() + columns.max().sqrt()).item()
        return counted(change, lambda S: int((widest < S).sum()), baseline_spectrum(change))
    edge = _ROUNDING_MARGIN * uneven_noise_edge(rows.numpy(), columns.numpy())
    return counted(change, lambda S: int((edge < S).sum()), baseline_spectrum(change))


def _overlap(cosines: Float64[Tensor, " k"], side: int, error: float) -> Measured:
    k = cosines.numel()
    if k == 0:
        return _nothing()
    return Measured(min(1.0, cosines.square().sum().item() / k), min(1.0, k / side), min(1.0, error))


def _nothing() -> Measured:
    return Measured(None, reason="no direction to compare: a side is zero")


def _cosines(cosines: Float64[Tensor, " k"], side: int, error: float) -> Measured:
    k = cosines.numel()
    if k == 0:
        return _nothing()
    return Measured(tuple(cosines.tolist()), tuple(random_cosines(side, k).tolist()), min(1.0, error))


def _shared(cosines: Float64[Tensor, " k"], side: int, error: float) -> Measured:
    k = cosines.numel()
    if k == 0:
        return _nothing()
    threshold = largest_random_cosine(side, k)
    if threshold >= 1 - 1e-12:
        return Measured(None, reason=f"any two subspaces of {k} of {side} dimensions have a direction in common")
    found = int((cosines > threshold).sum())
    moved = [int((cosines + sign * error > threshold).sum()) for sign in (-1, 1)]
    return Measured(found, 0, float(max(abs(one - found) for one in moved)))


def _tilt(factors: Factors, k: int) -> float:
    S, error = spectrum_of(factors)
    if k == 0 or k >= S.numel():
        return 0.0
    noise = error[0].item() + factors.residual + factors.orthogonality_defect * S[0].item()
    return subspace_tilt(S, k, noise)


_LEADING, _UNLIKE = 10, 0.5


def _intruders(before: Factors, after: Factors) -> Measured:
    S, error = spectrum_of(after)
    count = min(_LEADING, int((error[: after.rank] < S[: after.rank]).sum()))
    if count == 0:
        return _nothing()
    if before is after:
        return Measured(0, float(count) * _chance_of_unlike(before.shape[0]), 0.0)
    alike = (before.U.T @ after.U[:, :count]).abs()
    unlike = alike.amax(dim=0) < _UNLIKE
    unseen = (1 - alike.square().sum(dim=0)).clamp(min=0).sqrt()
    if before.rank >= min(before.shape):
        unseen = torch.zeros_like(unseen)
    # a direction that was not kept can still be the like of one of these
    open_ones = int((unlike & (unseen >= _UNLIKE)).sum())
    direction = "upper" if open_ones else "exact"
    baseline = count * _chance_of_unlike(before.shape[0])
    return Measured(int(unlike.sum()), baseline, float(open_ones), direction)


@cache
def _chance_of_unlike(side: int) -> float:
    """The chance that no entry of a random direction reaches one half, from 2000 seeded draws."""
    if side > _WIDE:
        return 1.0
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2000, side, generator=generator, dtype=torch.float64)
    return (drawn.abs().amax(dim=1) < _UNLIKE * drawn.norm(dim=1)).double().mean().item()


_WIDE = 512
"""Beyond it a random direction has an entry of one half with a chance below 1e-28."""
