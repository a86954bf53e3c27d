"""How much a reading process may take."""

import sys
from dataclasses import dataclass

if sys.platform != "win32":
    import resource

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reading process may take before it is ended.

    Attributes:
        seconds: for one answer about a small file.
        pace: bytes that an answer goes through in a second at least; a large file may take longer in proportion.
        longest: seconds for an answer about a file of any size.
        memory: bytes of address space beyond what the process had when it was ready, where the system counts them.
        answer: bytes of one answer's description; what it carries beside is bounded by the question.
    """

    seconds: float = 60.0
    memory: int = 1 << 30
    answer: int = 64 << 20
    pace: int = 2 << 20
    longest: float = 60.0

    def allowed(self, work: int) -> float:
        """Seconds for an answer that goes through as many bytes.

        >>> Limits(seconds=4.5).allowed(10 << 20)
        9.5
        """
        return min(self.seconds + work / self.pace, max(self.seconds, self.longest))

    def impose(self) -> None:
        """Bound the memory of this process, where the system can; the time is watched from outside."""
        if sys.platform == "win32":
            return
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        held = _address_space()
        if held:
            resource.setrlimit(resource.RLIMIT_AS, (held + self.memory, held + self.memory))


def _address_space() -> int:
    """Bytes of address space of this process; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
