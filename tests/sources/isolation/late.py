"""A library that takes its time to load, for the tests of the reading process."""

import time

from tests.sources.isolation.misbehaving import echo

__all__ = ["echo"]

time.sleep(1.5)
