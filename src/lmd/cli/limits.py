"""How many threads the linear algebra may use."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["limited"]


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Use this many threads in every linear algebra library."""
    if threads is None:
        yield
        return
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
