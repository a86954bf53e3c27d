"""Child processes on one thread, and what they used. The parent imports no torch: a child inherits its peak memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["ENVIRONMENT", "Worker", "lines", "once", "used_by"]

HERE = Path(__file__).resolve().parent

ENVIRONMENT = {
    **os.environ,
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}


class Worker:
    """One task on one loaded model in one process, run each time it is asked."""

    def __init__(self, python: str, task: str, folder: str) -> None:
        self.task = task
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py"), "time", task, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=ENVIRONMENT,
            text=True,
        )
        self._answer()

    def run(self) -> dict[str, Any]:
        """CPU and wall seconds of one repeat."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._complaints.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._complaints.seek(0)
            raise RuntimeError(f"{self.task} ended early:\n{self._complaints.read().decode(errors='replace')[-2000:]}")
        return json.loads(line)


def lines(script: str, *arguments: str, python: str = sys.executable) -> Iterator[dict[str, Any]]:
    """The JSON lines that a script of this folder prints."""
    command = [python, str(HERE / script), *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments[:2])} failed:\n{done.stderr[-2000:]}")
    yield from (json.loads(line) for line in done.stdout.splitlines())


def once(script: str, *arguments: str, python: str = sys.executable) -> dict[str, Any]:
    """The one JSON line that a script of this folder prints."""
    return next(lines(script, *arguments, python=python))


def used_by(command: Sequence[str]) -> dict[str, Any]:
    """CPU and wall seconds and peak memory of a command, its output thrown away."""
    clock = time.perf_counter()
    nowhere = [(os.POSIX_SPAWN_OPEN, place, os.devnull, os.O_WRONLY, 0) for place in (1, 2)]
    process = os.posix_spawn(command[0], list(command), ENVIRONMENT, file_actions=nowhere)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - clock
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(map(str, command[1:3]))} ended with {os.waitstatus_to_exitcode(status)}")
    # Linux counts kilobytes
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "bytes": usage.ru_maxrss * 1024}
