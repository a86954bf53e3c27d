"""Every format gives what the module gave that was saved in it."""

import pytest

from lmd.pipeline.decompose import decompose
from lmd.sources.inspection import inspect_model
from lmd.testing import check_source
from tests.examples import FORMATS, NETWORKS


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("kind", FORMATS, ids=str)
def test_a_file_gives_what_its_module_gives(network, kind, tmp_path):
    check_source(FORMATS[kind], NETWORKS[network], tmp_path)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_header_tells_the_coverage_of_the_whole(network, tmp_path):
    path = FORMATS["safetensors"](NETWORKS[network], tmp_path)
    told, found = inspect_model(str(path))["coverage"], decompose(path, vectors=0).coverage
    assert told["parameters"] == found.parameters
    assert told["decomposed"] == pytest.approx(found.decomposed, abs=1e-12)
    statuses = {t["name"]: t["status"] for t in told["tensors"]}
    assert statuses == {t.name: t.status for t in found.tensors}
