"""A page on disk: whole, or as it was before."""

from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | Path, page: str) -> Path:
    """Write a page; it is replaced, and only by a whole one.

    Returns:
        The path written.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        unfinished.write_bytes(page.encode())
        unfinished.replace(path)
    except OSError as fault:
        with suppress(OSError):
            unfinished.unlink()
        raise OSError(fault.errno, fault.strerror, str(path)) from fault
    return path
