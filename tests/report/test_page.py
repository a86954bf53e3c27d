"""What must hold of every page: one file, no request, whole, small, escaped, the same each time."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.report.page import render_page, write_page
from tests.report.documents import Made, digits, empty, large, many, no_arrays, odd
from tests.report.pages import own_part, parsed, script_data

_MOST_BYTES = 3_000_000
_MADE = {"digits": digits(), "large": large(blocks=6, width=24), "odd": odd(), "empty": empty()}
_CHROMIUM = shutil.which("chromium")
each = pytest.mark.parametrize("made", _MADE.values(), ids=_MADE)


@each
def test_every_tag_is_closed(made: Made):
    page = parsed(made)
    assert page.faults == []
    assert page.open == []


@each
def test_nothing_is_asked_from_the_network(made: Made):
    page = own_part(made)
    assert "default-src 'none'" in page
    assert not [(tag, name) for tag, name, _ in parsed(made).attributes if name in ("src", "srcset", "action", "data")]
    links = [value or "" for _, name, value in parsed(made).attributes if name == "href"]
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|\bimport\(|https?:", page)


@each
def test_same_document_same_bytes(made: Made):
    assert render_page(*made) == render_page(*made)


@each
def test_no_place_is_left_unfilled(made: Made):
    assert not re.search(r"\{\{(?!css\}\})\w+\}\}", own_part(made))


def test_a_large_page_is_small():
    assert len(own_part(large()).encode()) < _MOST_BYTES


def test_thousands_of_layers_stay_below_the_limit():
    assert len(own_part(many(3000)).encode()) < _MOST_BYTES


@each
def test_every_layer_and_finding_is_there(made: Made):
    document, _ = made
    page = own_part(made)
    data = script_data(page)
    text = " ".join("".join(parsed(made).text).split())
    assert [layer["name"] for layer in data["layers"]] == [layer["name"] for layer in document["layers"]]
    for drawn, layer in zip(data["layers"], document["layers"], strict=True):
        made_here = {key for key, row in zip(data["keys"], drawn["findings"], strict=True) if row != 0}
        assert made_here == set(layer["findings"])
        assert " ".join(layer["name"].split()) in text
        assert drawn.get("failed", "") == layer.get("reason", "")
    assert all(key in text for key in data["keys"])


@each
def test_every_tensor_without_a_matrix_has_its_reason(made: Made):
    text = " ".join("".join(parsed(made).text).split())
    for tensor in made[0]["coverage"]["tensors"]:
        if tensor["status"] != "decomposed":
            assert " ".join(tensor["name"].split()) in text
            assert " ".join(tensor["reason"].split()) in text


def test_the_first_line_is_coverage():
    text = "".join(parsed(digits()).text)
    assert text.index("17,226 parameters lie inside a decomposed matrix") < text.index("matrices decomposed")


def test_an_atlas_that_is_not_complete_says_so():
    assert "not complete" in "".join(parsed(odd()).text)
    assert "not complete" not in "".join(parsed(digits()).text)


def test_missing_arrays_cost_figures_only():
    document, _ = digits()
    data = script_data(own_part((document, no_arrays)))
    assert data["clouds"] == []
    assert data["pictures"] is None
    assert all("spectrum" in layer["curves"] for layer in data["layers"])


@settings(max_examples=25)  # each writes five megabytes
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_name_comes_back_as_it_was(name: str):
    document, _ = empty()
    layer = {"name": name, "kind": name, "shape": [1, 1], "singular_values": [1.0], "findings": {}}
    document = document | {"network": {"name": name}, "layers": [layer]}
    page = own_part((document, no_arrays))
    assert script_data(page)["layers"][0]["name"] == name
    title = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert title is not None
    assert unescape(title[1]) == name
    assert parsed((document, no_arrays)).faults == []


def test_the_page_is_written_where_asked(tmp_path: Path):
    path = write_page(*digits(), tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == render_page(*digits())


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        write_page(*empty(), tmp_path / "absent" / "page.html")


@pytest.mark.skipif(_CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("name", ["digits", "odd"])
def test_a_browser_draws_every_finding_without_a_fault(name: str, tmp_path: Path):
    path = write_page(*_MADE[name], tmp_path / "page.html")
    options = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --enable-logging=stderr"
    )
    told = subprocess.run(
        [str(_CHROMIUM), *options.split(), f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
         "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    document = _MADE[name][0]
    assert "CONSOLE" not in told.stderr
    for layer in document["layers"]:
        for key in layer["findings"]:
            assert key.replace("_", " ") in told.stdout
    assert told.stdout.count('class="js-plotly-plot') + told.stdout.count("plot js-plotly-plot") >= 3
