"""The docs table of what is decomposed says what is registered."""

from lmd.layers.registry import registered
from tests.kinds_table import PAGE, page_with, table


def test_the_table_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(page, table()), "run: python -m tests.kinds_table"


def test_every_registered_kind_of_the_product_is_shown_with_an_example():
    lines = table().splitlines()[2:]
    assert len(lines) == len(registered())
    assert [line for line in lines if line.endswith("|  |  |")] == []
