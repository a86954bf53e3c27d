"""Bare files of real architectures: what the rules are sure of is right, and they are sure of most."""

import warnings

import pytest
import torch
from safetensors.torch import save_file

from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXT = {**SMALL, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
ARCHITECTURES = {
    "BertModel": ("BertConfig", TEXT),
    "GPT2LMHeadModel": (
        "GPT2Config",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "LlamaForCausalLM": ("LlamaConfig", {**TEXT, "num_key_value_heads": 2}),
    "T5Model": ("T5Config", {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100}),
    "ViTModel": ("ViTConfig", {**SMALL, "image_size": 32, "patch_size": 8}),
    "ResNetModel": (
        "ResNetConfig",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "layer_type": "basic"},
    ),
    "ConvNextModel": ("ConvNextConfig", {"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2}),
    "MobileNetV2Model": ("MobileNetV2Config", {"depth_multiplier": 0.25}),
    "EfficientNetModel": ("EfficientNetConfig", {"width_coefficient": 0.25, "depth_coefficient": 0.2}),
    "RegNetModel": (
        "RegNetConfig",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "groups_width": 8},
    ),
    "MambaModel": (
        "MambaConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2},
    ),
}


def built(name: str) -> torch.nn.Module:
    config, options = ARCHITECTURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(transformers, name)(getattr(transformers, config)(**options)).eval()


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_the_rules_are_sure_of_is_right(name, ending, tmp_path):
    model = built(name)
    state = {key: tensor.clone().contiguous() for key, tensor in model.state_dict().items()}
    path = tmp_path / f"m.{ending}"
    if ending == "pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    # how many heads there are is not in a bare file
    live = {row.name: row for row in walk(from_module(model)).layers if row.view_of is None}
    bare = {row.name: row for row in walk(open_network(path)).layers}
    assert set(live) <= set(bare)
    wrong = [n for n, row in live.items() if (bare[n].kind, bare[n].shape) != (row.kind, row.shape)]
    assert [n for n in wrong if bare[n].confidence != "guess"] == []
    assert len(wrong) <= 0.1 * len(live)
    # a wrong guess names the right word among its alternatives, so that --kind can mend it
    assert all(any(a.endswith("kernel_matrix") for a in bare[n].alternatives) for n in wrong)
