"""An atlas's document to one offline HTML page."""

import re
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from lmd.report.headlines import headlines, lead
from lmd.report.on_data import on_data_html
from lmd.report.payload import as_script, payload
from lmd.report.tables import coverage_html, glossary_html, overview_html, provenance_html, provenance_line
from lmd.report.whole_file import write_whole

__all__ = ["render_page", "write_page"]

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_SCRIPTS = ("page.js", "charts.js", "clouds.js", "heads.js", "planes.js", "waves.js", "cards.js", "start.js")


def write_page(
    document: Mapping[str, Any], arrays: Callable[[str], Mapping[str, NDArray[Any]]], path: str | Path
) -> Path:
    """Write the page of an atlas.

    Args:
        document: what ``--json`` prints, and the glossary.
        arrays: layer name to its arrays; any may be missing.
        path: the file; it is replaced, and only by a whole page.

    Returns:
        The path written.

    Raises:
        OSError: the file cannot be written.
    """
    return write_whole(path, render_page(document, arrays))


def render_page(document: Mapping[str, Any], arrays: Callable[[str], Mapping[str, NDArray[Any]]]) -> str:
    """The page as text: one file, no request, the same bytes for the same document."""
    data = payload(document, arrays)
    layers = document.get("layers", ())
    name = str(document.get("network", {}).get("name") or "unnamed network")
    parts = {
        "title": escape(name),
        "source": escape(str(document.get("network", {}).get("source") or "")),
        "css": _browser_file("page.css"),
        "banner": _banner(document),
        "lead": escape(lead(document)),
        "headlines": "".join(_headline(*headline) for headline in headlines(document)),
        "coverage": coverage_html(document.get("coverage", {})),
        "provenance_line": provenance_line(document),
        "provenance": provenance_html(document),
        "overview": overview_html(document) if layers else "<p>No layer was found.</p>",
        "on_data": on_data_html(document),
        "glossary": glossary_html(data["keys"], document.get("glossary", {})),
        "data": as_script(data),
        "plotly": get_plotlyjs(),
        "script": "\n".join(map(_browser_file, _SCRIPTS)),
    }
    return _PLACE.sub(lambda place: parts[place[1]], _browser_file("page.html"))


def _browser_file(name: str) -> str:
    return (files("lmd.report") / "browser" / name).read_text(encoding="utf-8")


def _headline(number: str, label: str, compared: str) -> str:
    return f"<li><b>{escape(number)}</b><span>{escape(label)}</span><small>{escape(compared)}</small></li>"


def _banner(document: Mapping[str, Any]) -> str:
    if document.get("complete", True):
        return ""
    return (
        "<p class=banner role=alert><b>This atlas is not complete.</b> The run was stopped before its last layer; what "
        "is here is right, but layers are missing. Continue it with <code>--resume</code>.</p>"
    )
