"""Whole networks: no matrix of theirs is left out, live or from a file without its architecture."""

import pytest
import torch
from safetensors.torch import save_model

from lmd.pipeline.decompose import decompose
from tests.example_networks import EXAMPLE_NETWORKS


def matrices_left_out(coverage):
    return [t.name for t in coverage.tensors if len(t.shape) >= 2 and t.status not in ("decomposed", "tied", "buffer")]


@pytest.mark.parametrize("name", EXAMPLE_NETWORKS)
def test_every_matrix_of_a_network_is_decomposed(name, tmp_path):
    build, inputs = EXAMPLE_NETWORKS[name]
    network = build()
    with torch.no_grad():
        network(*inputs())
    live = decompose(network, vectors=0)
    save_model(network, str(tmp_path / "model.safetensors"))
    file = decompose(tmp_path / "model.safetensors", vectors=0)
    for atlas in (live, file):
        assert atlas.coverage.accounted == 1.0
        assert matrices_left_out(atlas.coverage) == []
        assert not any(record.failed for record in atlas.layers)
    assert live.coverage.parameters == file.coverage.parameters == sum(p.numel() for p in network.parameters())


def test_shared_heads_are_decomposed_once():
    atlas = decompose(EXAMPLE_NETWORKS["detector heads shared by the levels"][0](), vectors=0)
    notes = {r.name: r.entry["note"] for r in atlas.layers if r.entry["view_of"] is None}
    assert "heads.0.predict" in notes
    assert not any(name.startswith("heads.1") for name in notes)
    assert "heads.1.predict.weight (kernel_matrix)" in notes["heads.0.predict"]
