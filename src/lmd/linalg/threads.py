"""Threads that fit the work: small matrices are slower on several threads, many times so on a busy machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock

import scipy.linalg.lapack  # noqa: F401 - its library must be loaded before the controller looks for libraries
import torch
from threadpoolctl import ThreadpoolController

__all__ = ["fitting_threads", "torch_threads"]

_SMALL_SIDE = 256
_ALONE = RLock()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def fitting_threads(shape: tuple[int, int], small: int = _SMALL_SIDE) -> Iterator[None]:
    """One BLAS thread while a matrix whose smaller side is below ``small`` is worked on; else as many as set.

    The number is the process's, not the thread's, and the last bits depend on it: one thread at a time is let in.
    """
    with _ALONE:
        if min(shape) >= small:
            yield
            return
        with _controller().limit(limits=1, user_api="blas"):
            yield


@contextmanager
def torch_threads(*, one: bool) -> Iterator[None]:
    """One thread for torch's own loops, if asked for: on a busy machine several wait longer than they work."""
    with _ALONE:
        before = torch.get_num_threads()
        try:
            if one:
                torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(before)
