"""The documentation's examples run, and every analysis and quantity has its place in it."""

import doctest
import re
from pathlib import Path

import pytest

from lmd.findings.analysis import analyses
from lmd.findings.quantity import quantities_of

_ROOT = Path(__file__).resolve().parents[1]
_DOCS = _ROOT / "docs"
_PAGES = sorted(_DOCS.rglob("*.md"))
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _own_analyses():
    # plug-ins document themselves
    return [chosen for chosen in analyses().values() if chosen.function.__module__.startswith("lmd.findings.")]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_DOCS).as_posix())
def test_examples_give_what_they_say(page):
    text = page.read_text(encoding="utf-8")
    source = "\n".join(_BLOCK.findall(text))
    example = doctest.DocTestParser().get_doctest(source, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example).failed == 0


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_DOCS).as_posix())
def test_links_lead_somewhere(page):
    broken = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("chosen", _own_analyses(), ids=lambda chosen: chosen.name)
def test_every_analysis_has_a_page_that_names_its_quantities(chosen):
    page = _DOCS / "findings" / f"{chosen.name}.md"
    text = page.read_text(encoding="utf-8")
    assert "```python\n>>>" in text
    missing = [q.key for q in quantities_of(chosen.finds) if f"`{q.key}`" not in text]
    assert missing == []


def test_index_names_every_quantity_and_every_page():
    text = (_DOCS / "index.md").read_text(encoding="utf-8")
    keys = [q.key for chosen in _own_analyses() for q in quantities_of(chosen.finds)]
    assert [key for key in keys if f"`{key}`" not in text] == []
    pages = [page.relative_to(_DOCS).as_posix() for page in _PAGES if page.name != "index.md"]
    assert [page for page in pages if f"({page})" not in text] == []


def test_no_page_without_an_analysis():
    pages = {page.stem for page in (_DOCS / "findings").glob("*.md")}
    assert pages == {chosen.name for chosen in _own_analyses()}
