"""A process that reads files for this one, and whose end is an error message here, not the end."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.isolation.limits import Limits

__all__ = ["ReaderProcess", "ask"]

_START_SECONDS = 60.0
"""A machine may be busy; importing a library takes a fraction of a second on an idle one."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One line and the bytes behind it, or how the process ended."""

    line: dict[str, Any]
    payload: bytes = b""


class ReaderProcess:
    """Functions of one module of ours, called in a process of their own; to be used in a ``with``.

    Args:
        module: such as ``lmd.sources.keras.hdf5``; it imports the library, and may import no torch.
        limits: what one answer may take.
    """

    def __init__(self, module: str, limits: Limits | None = None) -> None:
        """Nothing is started yet."""
        self._module = module
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: Queue[_Answer | None] = Queue()

    def __enter__(self) -> Self:
        """Start with the first question."""
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        """End the process."""
        self._end()

    def ask(self, function: str, *, about: str, most_bytes: int = 0, work: int = 0, **arguments: Any) -> Any:
        """Call ``function(**arguments)`` of the module there.

        Args:
            function: its name.
            about: the file, for messages.
            most_bytes: of the bytes it may return, 0 for a function that returns a JSON value.
            work: bytes it has to go through, which allow it more time.
            **arguments: JSON values.

        Returns:
            What the function returns: a JSON value, or bytes.

        Raises:
            UnreadableModelError: it says so, or it crashed, hung, ran out of memory or answered with too much.
            UnsafeModelError: it says so.
        """
        process = self._running(about)
        assert process.stdin is not None
        try:
            question = {"function": function, "arguments": arguments, "most_bytes": most_bytes}
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            self._give_up(about)
        answer = self._next(about, self._limits.allowed(work))
        line = answer.line
        if "unsafe" in line:
            raise UnsafeModelError(_named(about, line["unsafe"]))
        if "unreadable" in line:
            raise UnreadableModelError(_named(about, line["unreadable"]))
        if "failed" in line:
            raise UnreadableModelError(
                f"{about} cannot be read ({line['failed']}); it is damaged or of another kind. Fetch or save it again."
            )
        return answer.payload if most_bytes else line["value"]

    def _running(self, about: str) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        limits = self._limits
        words = [str(limits.seconds), str(limits.memory), str(limits.answer)]
        self._answers = Queue()
        # S603: this very interpreter, a module of ours, and numbers
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "lmd.sources.isolation.child", self._module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_ONE_THREAD},
        )
        assert self._process.stdout is not None
        listener = threading.Thread(
            target=_listen, args=(self._process.stdout, self._answers, limits.answer), daemon=True
        )
        listener.start()
        # no file has been asked about yet: what an answer may take begins only now
        self._next(about, _START_SECONDS)
        return self._process

    def _next(self, about: str, seconds: float) -> _Answer:
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            self._end(patience=0.0)
            raise UnreadableModelError(
                f"{about} kept its reader busy for more than {seconds:g} s; the file is damaged or forged. "
                f"Fetch or save it again."
            ) from None
        if answer is None:
            self._give_up(about)
        return answer

    def _give_up(self, about: str) -> NoReturn:
        code = self._end()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise UnreadableModelError(
            f"{about} made its reader stop ({how}); the file is damaged or forged, or asks for more than "
            f"{self._limits.memory >> 20} MB. Fetch or save it again."
        )

    def _end(self, patience: float = 1.0) -> int:
        """End the process and return its exit code; kill it if it does not end by itself."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return 0
        # what could not be sent to a process that is gone needs no sending
        with suppress(OSError):
            process.stdin.close()
        try:
            return process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Threads of a linear algebra that is not used would fill the address space."""


def ask(module: str, function: str, *, about: str, limits: Limits | None = None, **arguments: Any) -> Any:
    """One question to a process of its own; see ``ReaderProcess.ask``."""
    with ReaderProcess(module, limits) as process:
        return process.ask(function, about=about, **arguments)


def _named(about: str, words: str) -> str:
    """A refusal with the file's name, which the one who looks into it does not always say."""
    return words if about in words else f"{about}: {words}"


def _listen(stream: BinaryIO, answers: Queue[_Answer | None], most: int) -> None:
    """Put every answer into the queue, then None."""
    # a torn answer is none: the process is as good as gone
    with stream, suppress(ValueError, KeyError, TypeError, OSError):
        while line := stream.readline(most):
            described = json.loads(line)
            answers.put(_Answer(described, stream.read(described["payload"])))
    answers.put(None)
