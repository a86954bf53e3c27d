"""A share of ``make fuzz`` in every run of the tests."""

import pytest

from tests.fuzz.fuzz import fuzz
from tests.fuzz.targets import TARGETS

SHARE = 60.0
"""Seconds, for all targets together."""


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_give_a_clear_error_or_a_correct_result(name, tmp_path):
    found = fuzz(TARGETS[name], tmp_path, files=TARGETS[name].files, seconds=SHARE / len(TARGETS))
    assert not found.wrong
    assert found.counts["unreadable"] > 0
