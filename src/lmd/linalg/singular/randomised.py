"""Randomised SVD of a matrix read in panels, with a bound on what it misses."""

from math import exp, log, pi, sqrt

import torch
from jaxtyping import Float64
from torch import Generator, Tensor

from lmd.linalg.panels import Operator
from lmd.linalg.singular.spectrum import UNIT_ROUNDOFF
from lmd.linalg.singular.thin_svd import thin_svd
from lmd.linalg.singular.triples import Triples, signed_triples

__all__ = ["randomised_triples", "remainder_bound", "remainder_from_spectrum"]

_OVERSAMPLING = 10
_STAGNATION = 1e-12
_MOST_ITERATIONS = 12
_PROBES = 10
_POWERS = 2
_ALLOWANCE = 16.0


def randomised_triples(operator: Operator, rank: int, generator: Generator) -> Triples:
    """Leading triples by subspace iteration from a Gaussian start, re-orthogonalised after each product.

    Iterates until the leading values move by less than 1e-12 of the largest, at most 12 times. ``U^T W = diag(S) Vh``
    holds to rounding, so that the Frobenius error is exactly the root of ``||W||_F^2 - sum S^2``.

    Args:
        operator: the matrix; read twice per iteration.
        rank: between 1 and ``min(out, in)``.
        generator: the only randomness.

    References:
        Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithms 4.4 and 5.1.
    """
    width = min(rank + _OVERSAMPLING, *operator.shape)
    start = torch.randn(operator.shape[1], width, dtype=torch.float64, generator=generator)
    Q, last = torch.linalg.qr(operator.apply(start))[0], torch.zeros(rank, dtype=torch.float64)
    for _ in range(_MOST_ITERATIONS):
        Z, R = torch.linalg.qr(operator.adjoint(Q))
        left, S, right = thin_svd(R.T.contiguous())
        if (S[:rank] - last).abs().max() <= _STAGNATION * S[0]:
            break
        last = S[:rank]
        Q = torch.linalg.qr(operator.apply(Z))[0]
    else:
        Z, R = torch.linalg.qr(operator.adjoint(Q))
        left, S, right = thin_svd(R.T.contiguous())
    return signed_triples((Q @ left)[:, :rank], S[:rank], (right @ Z.T)[:rank])


def remainder_bound(
    operator: Operator, U: Float64[Tensor, "out rank"], captured: float, squares: float, generator: Generator
) -> float:
    """Upper bound of ``||W - U U^T W||`` in the spectral norm, the smaller of two.

    One is the Frobenius norm, exact up to rounding, which is allowed for. The other takes 10 fresh Gaussian vectors
    ``w_i`` and ``B = (A A^T)^2 A`` with ``A = W - U U^T W``: as ``||B|| <= 10 sqrt(2/pi) max_i ||B w_i||`` but for a
    probability of 10^-10, ``||A||`` is at most the fifth root of the right side.

    Args:
        operator: the matrix; read five times.
        U: orthonormal columns, independent of ``generator``.
        captured: ``||U^T W||_F^2``.
        squares: ``||W||_F^2``.
        generator: source of the probes.

    References:
        Halko, Martinsson & Tropp 2011, lemma 4.1 and equation (4.3); the power is that of their section 4.5.
    """
    unit = _ALLOWANCE * UNIT_ROUNDOFF * sqrt(max(operator.shape))
    frobenius = sqrt(max(squares - captured, 0.0) + unit * squares)
    return min(frobenius, 1.01 * _probed(operator, U, generator) + unit * sqrt(squares))


def _probed(operator: Operator, U: Float64[Tensor, "out rank"], generator: Generator) -> float:
    X = torch.randn(operator.shape[1], _PROBES, dtype=torch.float64, generator=generator)
    X, logarithm = _outside(U, operator.apply(X)), 0.0
    for _ in range(_POWERS):
        size = X.abs().max().item()
        if size == 0.0:
            return 0.0
        logarithm += log(size)
        X = _outside(U, operator.apply(operator.adjoint(X / size)))
    size = torch.linalg.vector_norm(X, dim=0).max().item()
    if size == 0.0:
        return 0.0
    return exp((log(10 * sqrt(2 / pi)) + log(size) + logarithm) / (2 * _POWERS + 1))


def _outside(U: Float64[Tensor, "out rank"], X: Float64[Tensor, "out k"]) -> Float64[Tensor, "out k"]:
    # twice is enough (Kahan, Parlett): the first projection leaves rounding errors of the size of X in range(U)
    X = X - U @ (U.T @ X)
    return X - U @ (U.T @ X)


def remainder_from_spectrum(
    values: Float64[Tensor, " full"], error: Float64[Tensor, " full"], S: Float64[Tensor, " rank"]
) -> float:
    """Upper bound of ``||W - U U^T W||`` when every singular value ``s_i`` of ``W`` is known, and ``S = s(U^T W)``.

    ``A = W - U U^T W`` differs from ``W`` by rank k, so its value i is at least ``s_(i+k)``; what its squares sum to
    beyond that is ``sum_(i<=k) s_i^2 - S_i^2``, hence ``||A||^2 <= s_(k+1)^2 + sum_(i<=k) (s_i^2 - S_i^2)``, always.

    Args:
        values: every singular value.
        error: of each.
        S: the values captured.
    """
    k = S.numel()
    lost = (values[:k].square() - S.square()).clamp_min(0.0) + 2 * values[:k] * error[:k]
    following = (values[k] + error[k]).square() if k < values.numel() else torch.zeros(())
    return (following + lost.sum()).sqrt().item()
