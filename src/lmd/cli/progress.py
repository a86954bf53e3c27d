"""A bar with the time left, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["layer_progress"]


_WIDTH = 60


def _short(text: str) -> str:
    """The name of a layer, its end if it is long, and how far it got."""
    name, colon, far = text.partition(": ")
    return f"{name[-max(_WIDTH - len(far), 20) :]}{colon}{far}"


@contextmanager
def layer_progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """Give a function to call after each layer and from the middle of long ones, or None where nobody would see it."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening", total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=_short(name))

        yield show
