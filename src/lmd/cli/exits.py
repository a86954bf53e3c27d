"""How a command ends: one line on stderr, and the exit code of what went wrong."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from lmd.cli.plain import plain
from lmd.data.errors import UnreadableDataError, UnsafeDataError
from lmd.sources.errors import UnreadableModelError, UnsafeModelError

__all__ = ["OneLine", "exits"]

_UsageError: Any = typer.BadParameter.__base__
"""Unknown options, missing arguments, values of another type: the class typer itself keeps private."""


class OneLine(TyperGroup):
    """Commands whose usage errors take one line, like every other error of ours."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run; leave with the exit code when standalone."""
        try:
            with exits():
                code = super().main(*arguments, standalone_mode=False, **extra)
        except typer.Exit as done:
            code = done.exit_code
        except _UsageError as fault:
            command = fault.ctx.command_path if fault.ctx else "lmd"
            _say(f"{fault.format_message().rstrip('.')}; `{command} --help` says what is allowed.")
            code = fault.exit_code
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def exits(out: Path | None = None) -> Iterator[None]:
    """Turn what went wrong into one line on stderr and the exit code of its kind."""
    try:
        yield
    except KeyboardInterrupt:
        begun = out is not None and (out / "atlas.json").exists()
        kept = f"the layers done so far are in {out}: add --resume to go on" if begun else "nothing was saved"
        _stop(f"interrupted; {kept}.", 130)
    except (UnsafeModelError, UnsafeDataError) as fault:
        _stop(str(fault), 4)
    except (UnreadableModelError, UnreadableDataError) as fault:
        _stop(str(fault), 3)
    except (FileExistsError, ValueError, ImportError) as fault:
        _stop(str(fault), 2)
    except BrokenPipeError as fault:
        # whoever read the output has seen enough
        _give_up_stdout()
        raise typer.Exit(3) from fault
    except OSError as fault:
        _give_up_stdout()
        _stop(f"{fault.strerror or fault}: {fault.filename or 'output'}; check the path, its rights and the disk.", 3)


def _stop(message: str, code: int) -> None:
    _say(message)
    raise typer.Exit(code)


def _say(message: str) -> None:
    # a message that cannot be written must not hide the exit code
    with suppress(OSError):
        typer.echo(f"lmd: {plain(' '.join(message.split()))}", err=True)


def _give_up_stdout() -> None:
    """Where stdout is what cannot be written: keep Python from trying again, and complaining, at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
