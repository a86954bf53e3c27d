"""Threads that fit the work: small matrices are slower on several threads, many times so on a busy machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg.lapack  # noqa: F401 - its library must be loaded before the controller looks for libraries
import torch
from threadpoolctl import ThreadpoolController

__all__ = ["fitting_threads", "torch_threads"]

_SMALL_SIDE = 256


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def fitting_threads(shape: tuple[int, int]) -> Iterator[None]:
    """One BLAS thread while a matrix whose smaller side is below 256 is decomposed; else as many as set."""
    if min(shape) >= _SMALL_SIDE:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield


@contextmanager
def torch_threads(*, one: bool) -> Iterator[None]:
    """One thread for torch's own loops, if asked for: on a busy machine several wait longer than they work."""
    before = torch.get_num_threads()
    try:
        if one:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)
