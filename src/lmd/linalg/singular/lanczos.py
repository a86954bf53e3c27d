"""Leading singular triples of a map that is known by what it does, not by its entries."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lmd.linalg.singular.thin_svd import thin_svd
from lmd.linalg.singular.triples import Triples, signed_triples

__all__ = ["LinearMap", "lanczos_triples"]

_TOLERANCE = 1e-9
_BASIS_ELEMENTS = 1 << 26
"""Of both bases together: 512 MB as float64."""
_LEAST_BLOCKS, _MOST_COLUMNS = 4, 96
_CHECKED = 2
"""Blocks between two looks at how far it got."""
_NOISE = 0.02
"""Of a first vector that was guessed, as a share of its length."""
_LOST, _MOST_PASSES, _NOTHING = 0.7, 3, 64.0
"""A vector that lost this share of its length is orthogonalised once more (Kahan, Parlett), so many times at most; one
that is shorter than this many units of rounding has no direction of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """A map and its transpose, on several vectors at a time.

    Attributes:
        shape: ``(out, in)``.
        apply: ``(k, in)`` to ``(k, out)``, one vector in each row.
        adjoint: ``(k, out)`` to ``(k, in)``.
        dtype: what both take and give.
    """

    shape: tuple[int, int]
    apply: Callable[[Float[Tensor, "k in"]], Float[Tensor, "k out"]]
    adjoint: Callable[[Float[Tensor, "k out"]], Float[Tensor, "k in"]]
    dtype: torch.dtype = torch.float64


class _Bases:
    """Orthonormal rows ``V`` and ``U`` with ``W V^T = U^T T``, and ``W^T U^T = V^T T^T`` but for the last block.

    What the last block of ``U`` reaches outside ``V`` is ``outside (block, block)``.
    """

    def __init__(self, linear: LinearMap, columns: int) -> None:
        """Room for so many vectors of either side."""
        out, inn = linear.shape
        self._V = torch.empty(columns, inn, dtype=linear.dtype)
        self._U = torch.empty(columns, out, dtype=linear.dtype)
        self.T = torch.zeros(0, 0, dtype=linear.dtype)
        self.outside = self.T
        self._coupling = torch.zeros(0, 0, dtype=linear.dtype)

    @property
    def size(self) -> int:
        """Vectors of either side so far."""
        return self.T.shape[0]

    @property
    def right(self) -> Float[Tensor, "size in"]:
        """Right vectors."""
        return self._V[: self.size]

    @property
    def left(self) -> Float[Tensor, "size out"]:
        """Left vectors."""
        return self._U[: self.size]

    def extend(self, linear: LinearMap, fresh: Float[Tensor, "block in"], generator: Generator) -> Tensor:
        """Take a block of new right vectors in; returns the block that follows."""
        known, block = self.size, fresh.shape[0]
        # what the products have in common with the bases is known but for rounding, which the full pass takes away
        coupling = self._coupling if known else fresh.new_zeros(0, block)
        start = known - min(known, len(coupling))
        u, into, own = _orthonormal(linear.apply(fresh), self.left, (start, coupling), generator)
        T = self.T.new_zeros(known + block, known + block)
        T[:known, :known], T[:known, known:], T[known:, known:] = self.T, into, own
        self._V[known : known + block], self._U[known : known + block] = fresh, u
        self.T = T
        following, _, self.outside = _orthonormal(linear.adjoint(u), self.right, (known, own.T), generator)
        self._coupling = self.outside.T
        return following

    def restart(self, turn_left: Tensor, S: Tensor, turn_right: Tensor) -> None:
        """Keep these combinations, all that is known of the leading triples."""
        V, U = turn_right @ self.right, turn_left.T @ self.left
        self._coupling = turn_left[-len(self.outside) :].T @ self.outside.T
        self.T = torch.diag(S)
        self._V[: self.size], self._U[: self.size] = V, U


def lanczos_triples(  # noqa: PLR0913 - what bounds the work, keyword-only
    linear: LinearMap,
    count: int,
    generator: Generator,
    *,
    block: int = 4,
    tolerance: float = _TOLERANCE,
    most_applications: int = 4000,
    exact: LinearMap | None = None,
    start: Float[Tensor, "guess in"] | None = None,
    told: Callable[[str], None] | None = None,
) -> Triples:
    """Leading triples by Golub-Kahan-Lanczos in blocks, fully reorthogonalised, with thick restarts.

    Values that coincide are found as often as they occur up to ``block`` times, and mostly beyond.

    Args:
        linear: the map; not so small that the triples wanted are more than a few of all (see Raises).
        count: triples wanted.
        generator: of the Gaussian start.
        block: vectors taken through the map together.
        tolerance: residual at which to stop, as a share of the largest value.
        most_applications: or when the map was applied to this many vectors, converged or not.
        exact: the same map in float64, where ``linear`` is in float32, which is several times faster: the vectors are
            then as good as ``tolerance``, and the values, whose error is quadratic in theirs, about its square.
        start: guesses at leading right vectors, up to ``block`` of which are begun with; a little noise is added, so
            that what they have nothing of is found too.
        told: called with how far it got, now and then.

    Returns:
        Triples in float64 with ``W V = U diag(S)``: no value exceeds the true one of its place. How far ``W^T U`` is
        from ``V diag(S)`` is for the caller to measure.

    Raises:
        ValueError: the map has too few rows or columns for the bases; take its matrix instead.

    References:
        Golub, Luk & Overton 1981 (blocks); Baglama & Reichel 2005 (restarts).
    """
    columns = _columns(linear.shape, count, block)
    fresh, applied = _first(linear, block, generator, start), 0
    bases = _Bases(linear, columns)
    while True:
        fresh = bases.extend(linear, fresh, generator)
        applied += 2 * block
        full = bases.size + block > columns
        spent = applied >= most_applications
        if bases.size < count or not (full or spent or bases.size % (_CHECKED * block) == 0):
            continue
        left, S, right = torch.linalg.svd(bases.T)
        residual = torch.linalg.vector_norm(bases.outside @ left[-block:, :count], dim=0)
        if told is not None:
            told(f"{applied} of at most {most_applications} passes, residual {(residual.max() / S[0]).item():.0e}")
        if spent or residual.max() <= tolerance * S[0]:
            return _refined(exact or linear, right[:count] @ bases.right)
        if full:
            kept = max(count, min((count + bases.size) // 2, columns - 2 * block))
            bases.restart(left[:, :kept], S[:kept], right[:kept])


def _first(
    linear: LinearMap, block: int, generator: Generator, start: Float[Tensor, "guess in"] | None
) -> Float[Tensor, "block in"]:
    first = torch.randn(linear.shape[1], block, dtype=linear.dtype, generator=generator)
    if start is not None:
        guesses = start[:block].to(linear.dtype).T
        noise = _NOISE / linear.shape[1] ** 0.5
        first[:, : guesses.shape[1]] *= noise
        first[:, : guesses.shape[1]] += guesses / torch.linalg.vector_norm(guesses, dim=0)
    return torch.linalg.qr(first)[0].T


def _refined(linear: LinearMap, V: Float[Tensor, "count in"]) -> Triples:
    """Rayleigh-Ritz on the right vectors, after a step that takes rounding in narrower types out of them."""
    Q = torch.linalg.qr(V.T.to(linear.dtype))[0]
    for _ in range(1 + (V.dtype != linear.dtype)):
        left = torch.linalg.qr(linear.apply(Q.T.contiguous()).T)[0]
        Q = torch.linalg.qr(linear.adjoint(left.T.contiguous()).T)[0]
    left, R = torch.linalg.qr(linear.apply(Q.T.contiguous()).T)
    turn, S, right = thin_svd(R.contiguous())
    return signed_triples(left @ turn, S, right @ Q.T)


def _columns(shape: tuple[int, int], count: int, block: int) -> int:
    """How many vectors the bases may have before a restart."""
    least = count + _LEAST_BLOCKS * block
    if least > min(shape):
        raise ValueError(f"{count} triples of a map of shape {shape} came; bases of {least} vectors do not fit.")
    affordable = min(max(_MOST_COLUMNS, 3 * count), _BASIS_ELEMENTS // sum(shape))
    return min(max(least, affordable), *shape)


def _orthonormal(
    X: Tensor, basis: Tensor, common: tuple[int, Tensor], generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """``X^T = basis^T C + Q^T R``, rows of ``Q`` orthonormal and orthogonal to the basis, even where ``X`` lies in it.

    Args:
        X: one vector in each row.
        basis: orthonormal rows.
        common: where in ``C`` the rows begin that are known but for rounding, and these rows.
        generator: of vectors for rows of ``Q`` that ``X`` leaves open.
    """
    start, known = common
    size = torch.linalg.vector_norm(X, dim=1)
    into = X.new_zeros(len(basis), len(X))
    into[start : start + len(known)] = known
    X = torch.addmm(X, known.T, basis[start : start + len(known)], alpha=-1)
    for _ in range(_MOST_PASSES):
        before = torch.linalg.vector_norm(X, dim=1)
        again = basis @ X.T
        X, into = torch.addmm(X, again.T, basis, alpha=-1), into + again
        # as long as before: what was taken away was rounding
        if not (torch.linalg.vector_norm(X, dim=1) < _LOST * before).any():
            break
    Q, R = torch.linalg.qr(X.T)
    poor = R.diagonal().abs() <= _NOTHING * torch.finfo(X.dtype).eps * size.max()
    if poor.any():
        # columns without a direction of their own: any that is orthogonal to the rest will do
        Q = torch.where(poor, torch.randn(Q.shape, dtype=Q.dtype, generator=generator), Q)
        for _ in range(2):
            Q = Q - basis.T @ (basis @ Q)
            Q, turned = torch.linalg.qr(Q)
            R = torch.where(poor[:, None], 0.0, turned @ R)
    return Q.T, into, R
