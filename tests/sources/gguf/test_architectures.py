import importlib.util

import gguf
import pytest
import torch
from safetensors.torch import save_file

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.gguf.architectures.families import FAMILIES
from lmd.sources.gguf.gguf_file import read
from lmd.sources.inspection import inspect_model
from lmd.sources.open_network import open_network
from tests.shared_models import shared_model
from tests.sources.gguf.converting import ggml_tensors, rotated, write
from tests.sources.gguf.models import MODELS


def built(case):
    torch.manual_seed(0)
    model = case.build().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
            if name.endswith("A_log"):
                parameter.abs_()
    return model


def files(case, folder):
    model = built(case)
    path = write(
        folder / "m.gguf", case.architecture, case.metadata, ggml_tensors(model, case.architecture, 2, case.undo)
    )
    (folder / "hf").mkdir()
    model.save_pretrained(folder / "hf")
    return folder / "hf", path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")  # the libraries', while a model is built and saved
def test_a_file_has_the_rows_of_the_folder_it_was_made_from(name, tmp_path):
    ours, theirs = (open_network(path) for path in files(MODELS[name], tmp_path))
    assert "of the file's metadata" in theirs.facts["architecture"]
    assert "is not the file's" not in theirs.facts["architecture"]
    wanted, found = walk(ours).layers, walk(theirs).layers
    assert [row.name for row in found] == [row.name for row in wanted]
    for mine, other in zip(wanted, found, strict=True):
        told = ("kind", "shape", "view_of", "confidence", "groups")
        assert [getattr(other, word) for word in told] == [getattr(mine, word) for word in told]
        if other.kind == "conv_symbol":
            # the kernel matrix has the same numbers, and takes no time
            continue
        # gains were stored one larger: a rounding of float32
        assert torch.allclose(other.load().double(), mine.load().double(), rtol=1e-6, atol=2e-7), mine.name
        assert torch.equal(torch.cat(list(other.panels()), dim=int(other.shape[0] < other.shape[1])), other.load())


@pytest.mark.filterwarnings("ignore")
def test_everything_is_accounted_for_and_the_header_says_so(tmp_path):
    _, path = files(MODELS["mixtral"], tmp_path)
    coverage = decompose(path, vectors=0).coverage
    assert coverage.accounted == 1.0
    assert coverage.decomposed >= 0.95
    assert inspect_model(str(path))["coverage"]["parameters"] == coverage.parameters


@pytest.mark.filterwarnings("ignore")
def test_without_transformers_the_rules_read_the_names_of_hugging_face(tmp_path, monkeypatch):
    _, path = files(MODELS["llama"], tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    network = open_network(path)
    assert "needs transformers" in network.facts["architecture"]
    rows = {row.name: row for row in walk(network).layers}
    assert rows["model.layers.0.self_attn.q_proj"].kind in ("query", "dense")
    assert rows["model.layers.1.mlp.down_proj"].shape == (32, 64)


def test_an_architecture_that_is_not_known_is_read_by_rules_in_common_names(tmp_path):
    W = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    tensors = {
        "token_embd.weight": W,
        "blk.0.attn_q.weight": W,
        "blk.0.strange.weight": W,
        "blk.0.attn_norm.weight": W[0],
    }
    atlas = decompose(write(tmp_path / "m.gguf", "unheard_of", {}, tensors), vectors=0)
    assert "'unheard_of'" in atlas.facts["architecture"]
    assert {t.name for t in atlas.coverage.tensors} == {
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "blk.0.strange.weight",
        "model.layers.0.input_layernorm.weight",
    }
    assert atlas.coverage.accounted == 1.0
    assert all(record.entry["confidence"] != "declared" for record in atlas.layers)


def test_frequencies_are_no_parameters(tmp_path):
    tensors = {"token_embd.weight": torch.ones(4, 32), "rope_freqs.weight": torch.ones(16)}
    coverage = decompose(write(tmp_path / "m.gguf", "llama", {}, tensors), vectors=0).coverage
    assert {t.name: t.status for t in coverage.tensors}["rope_freqs.weight"] == "buffer"
    assert coverage.parameters == 128


def test_an_adapter_has_its_names_and_its_scale(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "lora.gguf"), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for part, shape in (("a", (4, 32)), ("b", (24, 4))):
        writer.add_tensor(f"blk.0.attn_v.weight.lora_{part}", torch.ones(shape).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    atlas = decompose(tmp_path / "lora.gguf", vectors=0)
    (row,) = atlas.rows()
    assert row["name"] == "model.layers.0.self_attn.v_proj.adapter"
    assert "alpha/r = 8/4" in atlas.layers[0].entry["note"]
    assert row["spectral_norm"] == pytest.approx(2 * 4 * (24 * 32) ** 0.5)


def test_every_architecture_is_the_packages():
    known = set(gguf.MODEL_ARCH_NAMES.values())
    ours = {name for name in FAMILIES if " " not in name} - {"mixtral", "smollm3", "seed_oss", "mistral3", "llada"}
    assert ours <= known


@pytest.fixture
def stories():
    return shared_model("stories260k")


@pytest.fixture
def halves(tmp_path, stories):
    def copied(name):
        # away from the config.json beside it
        path = tmp_path / name
        path.write_bytes((stories / name).read_bytes())
        return decompose(path, vectors=0)

    return copied


@pytest.mark.parametrize("name", ["stories260K-f16.gguf", "stories260K-q8_0.gguf"])
def test_a_real_model_has_the_rows_of_its_folder_and_lies_within_its_rounding(name, halves, stories):
    whole, part = decompose(stories, vectors=0), halves(name)
    assert [r.name for r in part.layers] == [r.name for r in whole.layers]
    assert [r.entry["kind"] for r in part.layers] == [r.entry["kind"] for r in whole.layers]
    assert part.coverage.accounted == 1.0
    assert part.coverage.decomposed >= 0.95
    compared = 0
    for row in part.rows():
        floor = row.get("floor_spectral_norm")
        ours, theirs = whole.factors(row["name"]).spectrum, part.factors(row["name"]).spectrum
        if floor is not None:
            # Weyl: no singular value moves by more than the largest one of the difference
            assert (ours - theirs).abs().max() <= 1.1 * floor, row["name"]
            compared += 1
        else:
            assert (ours - theirs).abs().max() <= 0.02 * ours[0], row["name"]
    assert compared == 31


def test_a_real_model_is_rounded_as_its_floor_says(stories):
    ours = {row.name: row for row in walk(open_network(stories)).layers}
    atlas = decompose(stories / "stories260K-q8_0.gguf", vectors=0)
    theirs = {row.name: row for row in walk(open_network(stories / "stories260K-q8_0.gguf")).layers}
    for row in atlas.rows():
        if row.get("floor_spectral_norm") is None or row["view_of"] is not None:
            continue
        W, V = ours[row["name"]].load().double(), theirs[row["name"]].load().double()
        made = torch.linalg.matrix_norm(W - V, 2).item()
        assert 0.8 < made / row["floor_spectral_norm"] < 1.1, row["name"]


@pytest.mark.parametrize("left", [True, False])
def test_the_file_that_it_was_made_from_tells_whether_rows_were_sorted(left, tmp_path):
    W = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    name = "model.layers.0.self_attn.q_proj.weight"
    save_file({name: W}, tmp_path / "model.safetensors")
    tensors = {"token_embd.weight": torch.ones(8, 32), "blk.0.attn_q.weight": W if left else rotated(W, 2)}
    path = write(tmp_path / "m.gguf", "llama", {"attention.head_count": 2}, tensors)
    archive = read(str(path))
    assert torch.equal(archive.loaders[name](), W)
    assert ("left as stored" in archive.facts) is left
    assert ("sorted back" in archive.facts) is not left


def test_without_that_file_rows_are_sorted_back_as_the_format_says(tmp_path):
    W = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    tensors = {"token_embd.weight": torch.ones(8, 32), "blk.0.attn_q.weight": rotated(W, 2)}
    (tmp_path / "model.safetensors").write_text("no such file")
    archive = read(str(write(tmp_path / "m.gguf", "llama", {"attention.head_count": 2}, tensors)))
    assert torch.equal(archive.loaders["model.layers.0.self_attn.q_proj.weight"](), W)
