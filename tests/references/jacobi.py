"""Singular values in extended precision, by one-sided Jacobi rotations: slow, and nothing in it to get wrong."""

import numpy

__all__ = ["jacobi_values", "mpmath_values"]


def jacobi_values(W: numpy.ndarray) -> numpy.ndarray:
    """Descending, in the platform's long double; columns are rotated in pairs until all are orthogonal."""
    A = numpy.array(W, dtype=numpy.longdouble)
    A = A.T.copy() if A.shape[0] < A.shape[1] else A.copy()
    largest = numpy.abs(A).max(initial=0)
    if largest == 0:
        return numpy.zeros(A.shape[1], dtype=numpy.longdouble)
    A /= largest
    for _ in range(60):
        turned = [_rotate(A, p, q) for p in range(A.shape[1]) for q in range(p + 1, A.shape[1])]
        if not any(turned):
            break
    return numpy.sort(numpy.sqrt((A * A).sum(0)))[::-1] * largest


def _rotate(A: numpy.ndarray, p: int, q: int) -> bool:
    a, b, c = A[:, p] @ A[:, p], A[:, q] @ A[:, q], A[:, p] @ A[:, q]
    if abs(c) <= numpy.finfo(numpy.longdouble).eps * max(numpy.sqrt(a * b), 1e-40):
        return False
    zeta = (b - a) / (2 * c)
    t = (1 if zeta >= 0 else -1) / (abs(zeta) + numpy.sqrt(1 + zeta * zeta))
    cosine = 1 / numpy.sqrt(1 + t * t)
    A[:, p], A[:, q] = cosine * (A[:, p] - t * A[:, q]), cosine * (A[:, q] + t * A[:, p])
    return True


def mpmath_values(W: numpy.ndarray, digits: int = 40) -> numpy.ndarray:
    """Descending, by mpmath with this many digits, rounded to double."""
    import mpmath

    with mpmath.workdps(digits):
        values = mpmath.svd_r(mpmath.matrix(W.tolist()), compute_uv=False)
        return numpy.array([float(value) for value in values])
