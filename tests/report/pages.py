"""A page taken apart: its tags, its text, its data."""

import json
import re
from html.parser import HTMLParser
from typing import Any

from plotly.offline import get_plotlyjs

from lmd.report.page import render_page
from tests.report.documents import Made

__all__ = ["Parsed", "own_part", "parsed", "script_data"]

_VOID = {"meta", "input", "br", "wbr"}
_END_IS_OPTIONAL = {"td", "th", "tr", "li", "p", "dt", "dd"}  # HTML 13.1.2.4


class Parsed(HTMLParser):
    """Collects text and attributes, and what is not closed as it was opened."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in _END_IS_OPTIONAL:
            self.open.pop()
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def own_part(made: Made) -> str:
    """The page without plotly's own script."""
    return render_page(*made).replace(get_plotlyjs(), "")


def parsed(made: Made) -> Parsed:
    """The page without plotly's own script, taken apart."""
    return Parsed(own_part(made))


def script_data(page: str) -> dict[str, Any]:
    """What the page's script draws."""
    found = re.search(r'<script type="application/json" id="atlas">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])
