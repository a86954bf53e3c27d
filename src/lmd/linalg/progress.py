"""A word now and then from the middle of long work, to whoever listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["listening", "tell"]

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


def tell(text: str) -> None:
    """Say how far the work got; nobody has to listen."""
    listener = _listener.get()
    if listener is not None:
        listener(text)


@contextmanager
def listening(listener: Callable[[str], None] | None) -> Iterator[None]:
    """Hear what work inside the block tells, as long as it is done by this thread.

    >>> heard = []
    >>> with listening(heard.append):
    ...     tell("half of it")
    >>> tell("nobody hears this")
    >>> heard
    ['half of it']
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
