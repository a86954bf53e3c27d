"""The reading process: questions come on stdin, a line of JSON each; answers leave on stdout, a line and bytes."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.isolation.limits import Limits

__all__ = ["main"]

Answer = tuple[dict[str, Any], bytes]


def main() -> None:
    """Answer until stdin ends: ``python -m lmd.sources.isolation.child MODULE SECONDS MEMORY ANSWER``."""
    module, seconds, memory, answer = sys.argv[1:]
    replies = _own_stdout()
    reader = import_module(module)
    Limits(float(seconds), int(memory), int(answer)).impose()
    _send(replies, {"ready": True}, b"")
    for line in sys.stdin.buffer:
        question = json.loads(line)
        answer, payload = _answered(getattr(reader, question["function"]), question["arguments"])
        if len(payload) > question["most_bytes"]:
            answer, payload = {"failed": f"{len(payload)} bytes where {question['most_bytes']} were declared"}, b""
        _send(replies, answer, payload)


def _own_stdout() -> BinaryIO:
    """Keep stdout for answers alone: what libraries print goes nowhere."""
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return replies


def _answered(function: Callable[..., Any], arguments: dict[str, Any]) -> Answer:
    try:
        value = function(**arguments)
    except UnsafeModelError as fault:
        return {"unsafe": str(fault)}, b""
    except UnreadableModelError as fault:
        return {"unreadable": str(fault)}, b""
    except (*FOREIGN_FAULTS, RecursionError, EOFError) as fault:
        # a library says in many ways that it does not understand a file
        return {"failed": f"{type(fault).__name__}: {fault}"[:1000]}, b""
    if isinstance(value, bytes):
        return {"value": None}, value
    return {"value": value}, b""


def _send(replies: BinaryIO, answer: dict[str, Any], payload: bytes) -> None:
    replies.write(json.dumps({**answer, "payload": len(payload)}).encode() + b"\n")
    replies.write(payload)
    replies.flush()


if __name__ == "__main__":
    main()
