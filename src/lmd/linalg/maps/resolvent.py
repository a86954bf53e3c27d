"""How large the resolvent ``(z I - W)^-1`` is: pseudospectra, and the growth they prove."""

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy
import scipy.linalg
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from lmd.linalg.threads import fitting_threads

__all__ = ["Kreiss", "kreiss_constant", "numerical_abscissa", "pseudospectrum", "resolvent_norms"]

_STEPS, _TOLERANCE = 60, 1e-6
_ANGLES, _RADII = 24, (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)
_REFINED, _ITERATIONS = 3, 60
_WIDE = 1.2
_SMALL_SIDE = 2048

Complex = NDArray[numpy.complex128]


@dataclass(frozen=True, slots=True)
class Kreiss:
    """A lower bound of the Kreiss constant, and the point that proves it.

    Attributes:
        value: ``(|z| - 1) ||(z I - W)^-1||`` at the witness: some power of ``W`` has at least this norm.
        witness: ``z``, outside the unit circle; 1 + 0i stands for the point at infinity, where the value is 1.
    """

    value: float
    witness: complex


def numerical_abscissa(W: Float64[Tensor, "n n"]) -> float:
    """``lambda_max((W + W^T) / 2)``: how fast ``exp(t W)`` can grow at once.

    References:
        Trefethen & Embree 2005, chapter 17.

    >>> numerical_abscissa(torch.tensor([[0.0, 2.0], [0.0, 0.0]], dtype=torch.float64))
    1.0
    """
    return torch.linalg.eigvalsh((W + W.T) / 2)[-1].item()


def resolvent_norms(W: Float64[Tensor, "n n"], points: Complex) -> NDArray[numpy.float64]:
    """``||(z I - W)^-1||`` at each point, from below: power iteration on the triangular Schur form.

    Never above the truth but for rounding; within about 1e-6 of it where the largest value stands apart.

    References:
        Lui 1997; Trefethen & Embree 2005, chapter 39.
    """
    with fitting_threads((len(W), len(W)), small=_SMALL_SIDE):
        T = _schur(W)
        return numpy.array([_norm(T, complex(z)) for z in points.ravel()]).reshape(points.shape)


def kreiss_constant(W: Float64[Tensor, "n n"]) -> Kreiss:
    """``sup over |z| > 1 of (|z| - 1) ||(z I - W)^-1||``, from below: a grid outside the unit circle, then refined.

    ``sup_k ||W^k||`` lies between it and ``e n`` times it. Of a real matrix the upper half plane is enough.

    Raises:
        ValueError: the spectral radius is above 1, so that powers grow without bound.

    References:
        Kreiss 1962; Spijker 1991.
    """
    with fitting_threads((len(W), len(W)), small=_SMALL_SIDE):
        T = _schur(W)
        if float(numpy.abs(numpy.diag(T)).max(initial=0.0)) > 1.0:
            raise ValueError("powers of a matrix with a spectral radius above 1 grow without bound.")

        def height(at: Any) -> float:
            excess = float(numpy.exp(at[0]))
            return excess * _norm(T, (1 + excess) * numpy.exp(1j * at[1]))

        starts = [(float(numpy.log(r)), pi * k / (_ANGLES - 1)) for r in _RADII for k in range(_ANGLES)]
        best = sorted(starts, key=height, reverse=True)[:_REFINED]
        found = [_climbed(height, start) for start in best]
    value, at = max(found, key=lambda one: one[0])
    if value <= 1.0:
        return Kreiss(1.0, 1 + 0j)
    z = (1 + numpy.exp(at[0])) * numpy.exp(1j * at[1])
    return Kreiss(value, complex(z.real, abs(z.imag)))


def _climbed(height: Any, start: tuple[float, float]) -> tuple[float, tuple[float, float]]:
    options = {"maxiter": _ITERATIONS, "xatol": 1e-4, "fatol": 1e-6}
    result: Any = minimize(lambda at: -height(at), start, method="Nelder-Mead", options=options)
    return (-float(result.fun), tuple(result.x)) if -result.fun > height(start) else (height(start), start)


def pseudospectrum(W: Float64[Tensor, "n n"], side: int) -> tuple[Float64[Tensor, "im re"], float]:
    """``log10`` of the smallest singular value of ``z I - W`` on a grid of the upper half plane, and its half width.

    Columns run from ``-reach`` to ``reach`` along the real axis, ``side`` of them; rows from 0 to ``reach`` along the
    imaginary one, half as many, rounded up. The lower half plane is the mirror image.
    """
    with fitting_threads((len(W), len(W)), small=_SMALL_SIDE):
        T = _schur(W)
    reach = _WIDE * max(1.0, float(numpy.abs(numpy.diag(T)).max(initial=0.0)))
    real, imaginary = numpy.linspace(-reach, reach, side), numpy.linspace(0.0, reach, (side + 1) // 2)
    points = real[None, :] + 1j * imaginary[:, None]
    return torch.from_numpy(-numpy.log10(resolvent_norms(W, points))), reach


def _schur(W: Tensor) -> Complex:
    found: Any = scipy.linalg.schur(W.numpy(), output="complex")
    return found[0]


def _norm(T: Complex, z: complex) -> float:
    shifted = z * numpy.eye(len(T)) - T
    generator = numpy.random.default_rng(0)
    v = generator.standard_normal(len(T)) + 1j * generator.standard_normal(len(T))
    v, last = v / numpy.linalg.norm(v), 0.0
    if float(numpy.abs(numpy.diag(shifted)).min()) == 0.0:
        return numpy.finfo(numpy.float64).max
    for _ in range(_STEPS):
        w: Any = scipy.linalg.solve_triangular(shifted, v, check_finite=False)
        size = float(numpy.linalg.norm(w))
        if not numpy.isfinite(size):
            return numpy.finfo(numpy.float64).max
        # ||A^-1 v|| of a unit vector: never above the norm
        if size <= last * (1 + _TOLERANCE):
            return max(size, last)
        last = size
        # 2 solves with the conjugate transpose
        v = scipy.linalg.solve_triangular(shifted, w / size, trans=2, check_finite=False)
        v = v / numpy.linalg.norm(v)
    return last
