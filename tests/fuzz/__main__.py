"""``python -m tests.fuzz [TARGET ...] [--files N] [--seconds S] [--first N]``: the long run of ``make fuzz``."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.fuzz import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz the targets one after the other, print what was counted, and fail if anything harmed."""
    parser = argparse.ArgumentParser(description="Read damaged files; exit code 1 if one of them does harm.")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="all of them by default")
    parser.add_argument("--files", type=int, help="for each target; its own goal by default")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each target")
    parser.add_argument("--first", type=int, default=0, help="number of the first file: to look at one again")
    chosen = parser.parse_args()
    harm = []
    for name in chosen.targets or TARGETS:
        target = TARGETS[name]
        with tempfile.TemporaryDirectory() as folder:
            files = target.files if chosen.files is None else chosen.files
            found = fuzz(target, Path(folder), files=files, seconds=chosen.seconds, first=chosen.first)
        counts = ", ".join(f"{number} {word}" for word, number in sorted(found.counts.items()))
        sys.stdout.write(
            f"{name}: {found.files} damaged files: {counts}; slowest {found.slowest:.2f} s, "
            f"grew by {found.growth >> 20} MB\n"
        )
        sys.stdout.flush()
        harm += found.wrong
    sys.stdout.write("".join(f"{line}\n" for line in harm))
    return 1 if harm else 0


if __name__ == "__main__":
    sys.exit(main())
