"""Metadata that leave something out, or say what cannot be."""

from dataclasses import replace

import pytest
import torch

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.gguf.gguf_file import read
from lmd.sources.open_network import open_network
from lmd.sources.wishes import Wishes
from tests.sources.gguf.converting import ggml_tensors, rotated, write
from tests.sources.gguf.models import MODELS
from tests.sources.gguf.test_architectures import built

_W = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))


def written(folder, name, **changes):
    case = MODELS[name]
    metadata = case.metadata | {key.replace("__", "."): value for key, value in changes.items()}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    return write(
        folder / f"m{len(metadata)}.gguf",
        case.architecture,
        metadata,
        ggml_tensors(built(case), case.architecture, 2, case.undo),
    )


@pytest.mark.parametrize(
    ("heads", "said"), [(None, "has no llama.attention.head_count"), (0, "head_count is 0"), (7, "head_count is 7")]
)
@pytest.mark.filterwarnings("ignore")
def test_impossible_heads_are_said_and_weights_are_read(heads, said, tmp_path):
    atlas = decompose(
        written(tmp_path, "llama", attention__head_count=heads, attention__head_count_kv=heads), vectors=0
    )
    words = atlas.facts["architecture"]
    assert said in words
    assert "blk.0.attn_q.weight has 32 rows of queries" in words
    assert "--kind GLOB=heads:N" in words
    assert atlas.coverage.decomposed == 1.0
    (query,) = (r.entry for r in atlas.layers if r.name == "model.layers.0.self_attn.q_proj")
    assert "whether they were sorted is not known" in query["note"]
    assert "sorted back" not in atlas.facts


def test_heads_of_keys_that_are_not_as_wide_as_those_of_queries(tmp_path):
    words = open_network(written(tmp_path, "llama", attention__head_count_kv=4)).facts["architecture"]
    assert "head_count_kv is 4 and heads are 8 wide, and blk.0.attn_k.weight has 16 rows of keys" in words


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mixtral", "gpt2", "bert"])
@pytest.mark.filterwarnings("ignore")
def test_sizes_that_the_tensors_show_may_be_missing(name, tmp_path):
    whole = walk(open_network(written(tmp_path, name))).layers
    missing = ("embedding_length", "block_count", "feed_forward_length", "context_length", "expert_count")
    more = ("attention__head_count_kv", "attention__key_length")
    part = walk(open_network(written(tmp_path, name, **dict.fromkeys((*missing, *more))))).layers
    assert [(r.name, r.kind, r.shape) for r in part] == [(r.name, r.kind, r.shape) for r in whole]
    assert all(torch.equal(mine.load(), other.load()) for mine, other in zip(part, whole, strict=True))


@pytest.mark.parametrize("name", ["arctic", "chameleon", "deci", "granitehybrid", "granitemoe", "minicpm"])
def test_rows_are_sorted_back_where_the_converter_sorts_them(name, tmp_path):
    tensors = {"token_embd.weight": _W, "blk.0.attn_q.weight": rotated(_W, 4)}
    archive = read(str(write(tmp_path / "m.gguf", name, {"attention.head_count": 4}, tensors)))
    assert torch.equal(archive.loaders["model.layers.0.self_attn.q_proj.weight"](), _W)


@pytest.mark.parametrize(("name", "known"), [("deepseek2", True), ("llama4", True), ("unheard_of", False)])
def test_rows_of_an_architecture_that_nobody_knows_say_so(name, known, tmp_path):
    tensors = {"token_embd.weight": _W, "blk.0.attn_q.weight": _W}
    archive = read(str(write(tmp_path / "m.gguf", name, {"attention.head_count": 4}, tensors)))
    assert torch.equal(archive.loaders["model.layers.0.self_attn.q_proj.weight"](), _W)
    assert ("order of rows not known" in archive.facts) is not known


@pytest.mark.parametrize("heads", [4, [4, 4]])
@pytest.mark.filterwarnings("ignore")
def test_heads_count_where_no_declaration_is_made(heads, tmp_path):
    tensors = {f"blk.0.attn_{part}.weight": _W for part in ("q", "k", "v", "output")}
    metadata = {"attention.head_count": heads, "attention.head_count_kv": heads}
    path = write(tmp_path / "m.gguf", "minicpm", metadata, {"token_embd.weight": _W, **tensors})
    forms = [r for r in walk(replace(open_network(path), wishes=Wishes(distance=3))).layers if r.kind == "query_key"]
    assert len(forms) == 4
    assert all("whether positions turn is not known" in row.note for row in forms)


def test_each_head_of_latent_attention_has_a_matrix(tmp_path):
    stack = torch.stack([_W[:8], _W[8:16]])
    path = write(tmp_path / "m.gguf", "deepseek2", {}, {"token_embd.weight": _W, "blk.0.attn_k_b.weight": stack})
    rows = {row.name: row for row in walk(open_network(path)).layers}
    assert torch.equal(rows["model.layers.0.self_attn.k_b_proj.1"].load(), _W[8:16])
