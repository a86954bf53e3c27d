"""The only code that is ever run from a file: the user's own function, because it was asked for by name."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["called", "function_of"]


def function_of(word: str, option: str, does: str) -> Callable[..., Any]:
    """The function that ``FILE.py:FUNCTION`` names; the file is run.

    Args:
        word: what the user gave.
        option: the option that it was given as, ``builder``.
        does: what the function is for, ``returns the module``.

    Raises:
        ValueError: there is no such file or function, or the file fails.
    """
    file, _, name = word.rpartition(":")
    if not file or not name.isidentifier():
        raise ValueError(f"{option}={word!r} must be FILE.py:FUNCTION, a function that {does}.")
    function = getattr(_imported(Path(file), option), name, None)
    if not callable(function):
        raise ValueError(f"{file} has no function {name!r}; name the one that {does}.")
    return function


def called(what: str, option: str, run: Callable[[], Any]) -> Any:
    """What the user's code gives.

    Raises:
        ValueError: it raised, whatever that was.
    """
    try:
        return run()
    except (Exception, SystemExit) as fault:  # waiver: the user's own code may raise anything
        raise ValueError(f"{what} raised {type(fault).__name__}: {fault}; mend the {option}.") from fault


def _imported(file: Path, option: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lmd_{option}_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"{option} file {file} does not exist or is no Python file; give FILE.py:FUNCTION.")
    module, execute = importlib.util.module_from_spec(spec), spec.loader.exec_module
    called(str(file), option, lambda: execute(module))
    return module
