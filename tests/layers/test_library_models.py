"""Models of transformers, from small configurations: every matrix decomposed, live and from the folder alike."""

import pytest
import torch

from lmd.pipeline.decompose import decompose

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
MODELS = {
    "Mixtral": {**SMALL, **HEADS, "intermediate_size": 24, "num_local_experts": 3},
    "Mamba": {**SMALL, "state_size": 4},
    "Mamba2": {**SMALL, "state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1},
    "Qwen2Moe": {
        **SMALL,
        **HEADS,
        "intermediate_size": 24,
        "moe_intermediate_size": 20,
        "shared_expert_intermediate_size": 24,
        "num_experts": 3,
    },
    "GptOss": {**SMALL, **HEADS, "intermediate_size": 24, "head_dim": 4, "num_local_experts": 3},
    "Phi3": {**SMALL, **HEADS, "intermediate_size": 24, "pad_token_id": 0},
}


def spectra(atlas):
    return sorted(tuple(record.arrays()["spectrum"].tolist()) for record in atlas.layers)


@pytest.mark.parametrize("name", MODELS)
def test_every_matrix_is_decomposed_from_the_module_and_from_its_folder(name, tmp_path):
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**MODELS[name])
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    model.save_pretrained(tmp_path)
    live, folder = decompose(model, vectors=0), decompose(tmp_path, vectors=0)
    for atlas in (live, folder):
        left = [
            t for t in atlas.coverage.tensors if len(t.shape) > 1 and t.status not in ("decomposed", "tied", "buffer")
        ]
        assert left == []
        assert atlas.coverage.accounted == 1.0
        # what is left are biases, which weigh more in so small a model
        assert atlas.coverage.decomposed > 0.97
    # a folder may name experts differently from the module that wrote it
    assert spectra(live) == spectra(folder)


def test_a_tied_head_is_named_with_its_kind_live_and_from_a_folder(tmp_path):
    model = transformers.MambaForCausalLM(transformers.MambaConfig(**MODELS["Mamba"]))
    model.save_pretrained(tmp_path)
    for source in (model, tmp_path):
        embedding = decompose(source, vectors=0, layers="backbone.embeddings").layers[0]
        assert "tied: serves as lm_head.weight (dense) too" in embedding.entry["note"]
        assert embedding.entry["kind"] == "embedding"


def test_a_tied_head_is_named_from_a_checkpoint(tmp_path):
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(7, 4), "head": torch.nn.Linear(4, 7)})
    model["head"].weight = model["embed"].weight
    torch.save(model.state_dict(), tmp_path / "m.pt")
    rows = decompose(tmp_path / "m.pt", vectors=0).layers
    assert "tied: serves as head.weight (dense) too" in rows[0].entry["note"]
