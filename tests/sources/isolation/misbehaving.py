"""What a library in C may do with a damaged file, for the tests of the reading process."""

import os
import signal
import sys
import time

from lmd.sources.errors import UnreadableModelError, UnsafeModelError


def echo(value):
    """A value, as it came."""
    return value


def crash():
    """End as on a bad pointer."""
    os.kill(os.getpid(), signal.SIGSEGV)


def linger(seconds):
    """Answer late."""
    time.sleep(seconds)
    return seconds


def leave():
    """End as if nothing was wrong."""
    os._exit(0)


def hang():
    """Never answer."""
    while True:
        time.sleep(1)


def swallow(count):
    """Take memory."""
    return len(bytearray(count))


def noise():
    """Print where answers go."""
    sys.stdout.write("a warning of a library")
    sys.stdout.flush()
    os.write(1, b"and one in C\n")
    return 1


def raw(count):
    """Bytes."""
    return b"x" * count


def refuse(unsafe):
    """Say what is wrong with a file."""
    raise (UnsafeModelError if unsafe else UnreadableModelError)("f.h5 is refused: so it is.")


def stumble():
    """Raise what no file should."""
    raise KeyError("shape")


def loaded(name):
    """Whether a library is loaded."""
    return name in sys.modules
