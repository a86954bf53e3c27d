"""Threads that fit the work: small matrices are slower on several threads, many times so on a busy machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg.lapack  # noqa: F401 - its library must be loaded before the controller looks for libraries
from threadpoolctl import ThreadpoolController

__all__ = ["fitting_threads"]

_SMALL_SIDE = 256


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def fitting_threads(shape: tuple[int, int], *, small: int = _SMALL_SIDE) -> Iterator[None]:
    """One BLAS thread while a matrix whose smaller side is below ``small`` is decomposed; else as many as set."""
    if min(shape) >= small:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield
