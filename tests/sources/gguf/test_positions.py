"""Rotary positions: circuits at a distance are those of the folder that a file was made from."""

from dataclasses import replace

import pytest
import torch
import transformers as t

from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.wishes import Wishes
from tests.sources.gguf.converting import ggml_tensors, write
from tests.sources.gguf.models import MODELS, NO_GROUPS, NORM, RMS, SIZES, told
from tests.sources.gguf.test_architectures import built

_LINEAR = {"rope_type": "linear", "factor": 4.0}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [1.0, 3.0, 5.0, 9.0]}


def llama(**rope):
    return lambda: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, rope_parameters={"rope_theta": 5000.0, **rope}))


def phi3():
    config = t.Phi3Config(**SIZES, rope_parameters={**_LONG, "rope_theta": 10000.0})
    config.original_max_position_embeddings = config.rope_parameters["original_max_position_embeddings"] = 16
    return t.Phi3ForCausalLM(config)


def neox():
    return t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**NO_GROUPS, rotary_emb_base=500.0))


_BASE = {"rope.freq_base": 5000.0}
_STRETCHED = {"rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
_CASES = {
    "base": ("llama", llama(rope_type="default"), told(RMS, _BASE), {}),
    "linear": ("llama", llama(**_LINEAR), told(RMS, _BASE, _STRETCHED, rope__scaling__type="linear"), {}),
    "linear, old": ("llama", llama(**_LINEAR), told(RMS, _BASE, rope__scale_linear=4.0), {}),
    "yarn": ("llama", llama(**_YARN), told(RMS, _BASE, _STRETCHED, rope__scaling__type="yarn"), {}),
    "llama3": ("llama", llama(**_LLAMA3), told(RMS, _BASE), {"rope_freqs.weight"}),
    "longrope": (
        "phi3",
        phi3,
        told(RMS, rope__scaling__original_context_length=16, rope__scaling__attn_factor=1.5**0.5),
        {"rope_factors_long.weight", "rope_factors_short.weight"},
    ),
    "another word": ("gptneox", neox, told(NORM, rope__dimension_count=2, rope__freq_base=500.0), {}),
    "part of a head": ("stablelm", MODELS["stablelm"].build, MODELS["stablelm"].metadata, {}),
}


def factors(model, name):
    if "rope_factors" in name:
        return torch.tensor(_LONG["long_factor" if "long" in name else "short_factor"])
    plain = 5000.0 ** -(torch.arange(0, 8, 2) / 8)
    return plain / model.model.rotary_emb.inv_freq


def forms(path):
    network = replace(open_network(path), wishes=Wishes(distance=5))
    return {row.name: row for row in walk(network).layers if row.kind == "query_key"}


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.filterwarnings("ignore")
def test_circuits_at_a_distance_are_those_of_the_folder(name, tmp_path):
    architecture, build, metadata, more = _CASES[name]
    case = replace(MODELS[architecture], build=build)
    model = built(case)
    tensors = ggml_tensors(model, architecture, 2, case.undo) | {word: factors(model, word) for word in more}
    path = write(tmp_path / "m.gguf", architecture, metadata, tensors)
    (tmp_path / "hf").mkdir()
    model.save_pretrained(tmp_path / "hf")
    ours, theirs = forms(tmp_path / "hf"), forms(path)
    assert ours
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        other = theirs[key]
        assert torch.allclose(other.load().double(), row.load().double(), rtol=1e-5, atol=1e-7), key
        assert "distance 5" in row.note
        assert other.note.split("; rows within")[0] == row.note


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.filterwarnings("ignore")
def test_factors_that_divide_no_angle_are_said(wrong, tmp_path):
    case = MODELS["llama"]
    tensors = ggml_tensors(built(case), "llama", 2, case.undo) | {"rope_freqs.weight": torch.full((4,), wrong)}
    network = open_network(write(tmp_path / "m.gguf", "llama", case.metadata, tensors))
    assert "factors of rotary positions are not all above 0" in network.facts["architecture"]
    assert len(walk(network).layers) > 15
