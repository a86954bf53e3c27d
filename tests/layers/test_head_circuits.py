"""Query-key forms against the queries and keys that attention layers of transformers really compare."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes

transformers: Any = pytest.importorskip("transformers")

EXACT = 2e-4
"""Modules compute in float32, with frequencies and angles in float32 too."""
SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LOCAL_FIRST = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
THETA = {"rope_theta": 100.0}
TRAINED = {"original_max_position_embeddings": 32}
TYPES = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "llama3": {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **TRAINED},
    "yarn": {"factor": 2.0, **TRAINED},
    "longrope": {"factor": 2.0, "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0] * 4, **TRAINED},
}
TEMPERED = {"factor": 2.0, "mscale": 0.7, "mscale_all_dim": 1.4, **TRAINED}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: ("Llama", {"rope_parameters": {"rope_type": kind, **THETA, **more}}) for kind, more in TYPES.items()},
    "yarn with mscale": ("Llama", {"rope_parameters": {"rope_type": "yarn", **THETA, **TEMPERED}}),
    "yarn, half a head": (
        "Phi",
        {"rope_parameters": {"rope_type": "yarn", "partial_rotary_factor": 0.5, **THETA, **TEMPERED}},
    ),
    "sinks": ("GptOss", {"num_local_experts": 4}),
    "neighbours": ("Glm", {}),
    "a window, then none": ("Cohere2", LOCAL_FIRST),
    "no positions": ("SmolLM3", {"no_rope_layers": [1, 0]}),
}
NORMED: dict[str, tuple[str, dict[str, Any]]] = {
    "before the turn": ("Qwen3", {}),
    "one more than stored": ("Gemma3", {}),
    "over all heads": ("Olmo2", {}),
    "each head its own": ("StableLm", {"qk_layernorm": True, "use_qkv_bias": True}),
    "in neighbours": ("Cohere", {"use_qk_norm": True}),
    "behind the turn": ("HunYuanDenseV1", {}),
    "behind the turn, without gains": ("Llama4", {"num_local_experts": 2, "no_rope_layers": [1, 1]}),
    "turned backwards": ("NanoChat", {}),
    "a window, then no turn": ("Exaone4", LOCAL_FIRST),
    "a part turns": ("Gemma4", {**LOCAL_FIRST, "global_head_dim": 16, "hidden_size_per_layer_input": 4}),
}
DISTANCES = (-2, 0, 3)

Seen = dict[str, tuple[Tensor, Tensor, Tensor]]


def built(family: str, more: dict[str, Any]) -> nn.Module:
    config_type = getattr(transformers, f"{family}TextConfig", None) or getattr(transformers, f"{family}Config")
    known = SMALL.keys() & config_type.__dataclass_fields__.keys()
    config = config_type(**{name: SMALL[name] for name in known}, **more)
    model = getattr(transformers, f"{family}ForCausalLM")._from_config(config, attn_implementation="seen_by_a_test")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = "norm" in name and not name.endswith("bias")
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5 if gain else parameter)
            if name.endswith("proj.bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model.float().eval()


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Path of each attention layer to what came in and to its queries and keys, filled when a model runs."""
    found: Seen = {}

    def look(module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        found[module.path_in_test] = (module.input_in_test, query.double(), key.double())
        return value.repeat_interleave(query.shape[1] // value.shape[1], 1).transpose(1, 2), None

    transformers.AttentionInterface.register("seen_by_a_test", look)
    yield found
    del transformers.AttentionInterface._global_mapping["seen_by_a_test"]


def run(model: nn.Module) -> None:
    """A batch of four sequences through the model, with each attention layer's input kept on it."""

    def keep(module: Any, _: Any, given: dict[str, Any]) -> None:
        module.input_in_test = given["hidden_states"].double()

    for path, module in model.named_modules():
        if path.endswith("self_attn"):
            vars(module)["path_in_test"] = path
            module.register_forward_pre_hook(keep, with_kwargs=True)
    tokens = torch.randint(3, 40, (4, 5), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        model(input_ids=tokens)


def forms(model: nn.Module, distance: int) -> dict[str, LayerMatrix]:
    network = replace(from_module(model), wishes=Wishes(distance=distance, fold_bias=True))
    return {row.name: row for row in walk(network).layers if row.kind == "query_key"}


def compared(seen: Seen, model: nn.Module) -> Iterator[tuple[LayerMatrix, Tensor, Tensor]]:
    """Each form, the logits it gives for the queries and keys of all pairs of sequences, and the layer's own."""
    for distance in DISTANCES:
        rows = forms(model, distance)
        place, other = max(distance, 0), max(-distance, 0)
        assert {name.rpartition(".query_key")[0] for name in rows} == set(seen)
        for path, (x, query, key) in seen.items():
            for head in range(query.shape[1]):
                row = rows[f"{path}.query_key.{head}"]
                W, shared = row.load(), query.shape[1] // key.shape[1]
                one = torch.ones(len(x), W.shape[0] - x.shape[2], dtype=torch.float64)
                a, b = (torch.cat([x[:, position], one], dim=1) for position in (place, other))
                yield row, a @ W @ b.T, query[:, head, place] @ key[:, head // shared, other].T


@pytest.mark.parametrize("name", PLAIN)
def test_forms_are_the_logits(name: str, seen: Seen) -> None:
    model = built(*PLAIN[name])
    run(model)
    for row, ours, theirs in compared(seen, model):
        torch.testing.assert_close(
            ours, theirs, rtol=EXACT, atol=EXACT, msg=lambda text, row=row: f"{row.name}: {text}"
        )
        assert "assumed" not in row.note


@pytest.mark.parametrize("name", NORMED)
def test_with_norms_forms_are_the_logits_but_for_a_number_for_each_query_and_each_key(name: str, seen: Seen) -> None:
    model = built(*NORMED[name])
    run(model)
    for row, ours, theirs in compared(seen, model):
        scale = theirs / ours
        assert (scale > 0).all()
        S = torch.linalg.svdvals(scale)
        # the quotients are a column times a row; logits near 0 make them inexact
        assert S[1] < 5e-3 * S[0], row.name
        assert "what the norms divide by" in row.note
        assert ("at position 0" in row.note) == (name == "behind the turn")


def test_frequencies_that_depend_on_the_length_are_said(seen: Seen) -> None:
    for kind, length in (("dynamic", 64), ("longrope", 32)):
        note = next(iter(forms(built(*PLAIN[kind]), 1).values())).note
        assert f"up to length {length}" in note
    assert "times 1.06931" in next(iter(forms(built(*PLAIN["yarn"]), 0).values())).note


def test_a_norm_of_values_is_said(seen: Seen) -> None:
    rows = walk(from_module(built(*NORMED["a part turns"]))).layers
    notes = [row.note for row in rows if row.kind == "value_output"]
    assert notes
    assert all("what the norms divide by" in note for note in notes)
