"""``lmd demo``: model, atlas and page, from nothing."""

from pathlib import Path

import pytest
import torch

from lmd.atlas.atlas import Atlas
from lmd.cli.demonstration import run_demo
from lmd.findings.manifold.projection import Projection
from lmd.pipeline.decompose import decompose
from tests.cli.conftest import Lmd
from tests.cli.documents import check_document, strict_json


@pytest.fixture(name="shown", scope="module")
def _shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "here" / "demo"
    run_demo(folder, 0, quiet=True)
    return folder


def test_the_demo_leaves_model_atlas_and_page(shown: Path) -> None:
    assert {path.name for path in shown.iterdir()} == {"digits.pt", "atlas", "report.html"}
    atlas = Atlas.load(shown / "atlas")
    assert atlas.complete
    document = atlas.document()
    check_document(document)
    assert document["training"]["accuracy_test"] > 0.95
    assert [record.entry["shape"] for record in atlas.layers] == [[128, 64], [64, 128], [10, 64]]
    assert document["coverage"]["accounted"] == 1.0
    projections = [finding for finding in atlas.findings() if isinstance(finding, Projection)]
    assert [tuple(p.coordinates.shape) for p in projections] == [(1437, 3)] * 3
    assert all(set(p.labels.tolist()) == set(range(10)) for p in projections)


def test_the_page_is_whole_and_small(shown: Path) -> None:
    page = (shown / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    # plotly's own script is 4.8 MB; the issue allows 3 MB beside it
    assert len(page) < 8_000_000


def test_the_model_on_disk_is_the_model_of_the_atlas(shown: Path) -> None:
    atlas = Atlas.load(shown / "atlas")
    read = decompose(shown / "digits.pt", vectors=None)
    for live, bare in zip(atlas.layers, read.layers, strict=True):
        assert live.name == bare.name
        assert torch.equal(live.arrays()["spectrum"], bare.arrays()["spectrum"])


def test_the_demo_replaces_itself_and_nothing_else(lmd: Lmd, shown: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (shown / "atlas").glob("*.safetensors")}
    result = lmd("demo", "--out", shown, "--seed", "0", "--json", "--quiet", "--threads", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    check_document(strict_json(result.stdout))
    assert {path.name: path.read_bytes() for path in (shown / "atlas").glob("*.safetensors")} == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    refused = lmd("demo", "--out", mine)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "choose another folder" in refused.stderr
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
