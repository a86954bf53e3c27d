"""Attention of transformers models against their own attention weights and outputs, and from their folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module

transformers = pytest.importorskip("transformers")

ROUNDING = 2e-4
"""Logarithms of float32 probabilities."""
BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "attn_implementation": "eager",
}
SWIN = {"image_size": 16, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 4], "window_size": 2}
FUNNEL = {"block_sizes": [1], "num_decoder_layers": 1, "d_model": 16, "n_head": 4, "d_head": 3, "d_inner": 24}
REFORMER = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "attention_head_size": 3,
    "feed_forward_size": 24,
    "axial_pos_embds": False,
    "attn_layers": ["local"],
    "is_decoder": False,
    "local_attn_chunk_length": 8,
}
LATENT = {
    **BERT,
    "q_lora_rank": 8,
    "kv_lora_rank": 6,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 5,
    "v_head_dim": 3,
    "n_routed_experts": 4,
    "moe_intermediate_size": 8,
    "num_key_value_heads": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
}
LEVIT = {"image_size": 16, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1], "key_dim": [4, 4, 4]}
MODELS: dict[str, dict[str, Any]] = {
    "Deberta": {**BERT, "relative_attention": False},
    "ConvBert": {**BERT, "embedding_size": 16, "head_ratio": 2, "conv_kernel_size": 3},
    "Longformer": {**BERT, "attention_window": [8]},
    "SqueezeBert": {**BERT, "embedding_size": 16, "q_groups": 2, "k_groups": 2, "v_groups": 2, "post_attention_groups": 1},
    "XLNet": {"vocab_size": 50, "d_model": 16, "n_layer": 1, "n_head": 4, "d_inner": 24},
    "Funnel": {"vocab_size": 50, **FUNNEL},
    "Reformer": REFORMER,
    "Swinv2": SWIN,
    "DeepseekV3": LATENT,
    "Levit": LEVIT,
    "T5": {"vocab_size": 50, "d_model": 16, "d_kv": 3, "num_heads": 4, "num_layers": 2, "d_ff": 24},
}
IN_BLOCKS = ("Levit", "Swinv2")
"""Models of pictures."""


def build(name: str) -> nn.Module:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**MODELS[name])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.4)
    return model


def rows_of(model: nn.Module) -> dict[str, LayerMatrix]:
    return {row.name: row for row in walk(from_module(model)).layers}


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_gives_the_attention_of_its_module(name: str, tmp_path: Path) -> None:
    model = build(name)
    model.save_pretrained(tmp_path)
    live = rows_of(model)
    folder = {row.name: row for row in walk(open_network(tmp_path)).layers}
    found = [row for row in live.values() if row.kind == "query_key"]
    assert found
    for row_name, row in live.items():
        other = folder[row_name]
        assert (other.kind, other.note, other.confidence) == (row.kind, row.note, row.confidence)
        assert torch.equal(other.load(), row.load()), row_name


Compared = Callable[[nn.Module, Tensor], Tensor]


def circuits(rows: dict[str, LayerMatrix], kind: str, path: str) -> Tensor:
    place = f"{path}.{kind}."
    found = [row for name, row in rows.items() if name.startswith(place)]
    return torch.stack([row.load() for row in found])


def heard(model: nn.Module, path: str, *, call: Callable[[], Any]) -> Any:
    """What comes into a module: its first argument, by position or name."""
    seen: list[Any] = []

    def keep(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(given[0] if given else next(iter(named.values())))

    hook = model.get_submodule(path).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            call()
    finally:
        hook.remove()
    return seen[0]


PATHS = {
    "Deberta": ("encoder.layer.0.attention", "encoder.layer.0.attention.output.dense"),
    "ConvBert": ("encoder.layer.0.attention", "encoder.layer.0.attention.output.dense"),
    "SqueezeBert": ("encoder.layers.0", "encoder.layers.0.post_attention.conv1d"),
    "T5": ("encoder.block.0.layer.0.SelfAttention", "encoder.block.0.layer.0.SelfAttention.o"),
}
INSIDE = {"SqueezeBert": "encoder.layers.0.attention", "Deberta": "encoder.layer.0.attention.self"}
SCALES = {"SqueezeBert": 0.5, "Deberta": 0.5, "ConvBert": 0.5, "T5": 1.0}


@pytest.mark.parametrize("name", PATHS)
def test_circuits_are_what_the_models_own_weights_and_outputs_say(name: str) -> None:
    """Weights of one query compare as the logits do; the output's input, mapped, is the sum of what heads write."""
    model = build(name)
    if name == "T5":
        nn.init.zeros_(model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    rows = rows_of(model)
    part = model.encoder if name == "T5" else model
    path, output = PATHS[name]
    tokens = torch.arange(5)[None] + 3
    answer = None

    def call() -> None:
        nonlocal answer
        answer = part(input_ids=tokens, output_attentions=True)

    x = heard(model, INSIDE.get(name, path), call=call)
    mixed = heard(model, output, call=call)
    x, mixed = (v[0].T.double() if name == "SqueezeBert" else v[0].double() for v in (x, mixed))
    weights = answer.attentions[0][0].double()
    if name == "SqueezeBert":
        weights = torch.softmax(weights, dim=-1)
    compared = torch.einsum("im,hmn,jn->hij", x, circuits(rows, "query_key", path), x) * SCALES[name]
    torch.testing.assert_close(torch.softmax(compared, dim=-1), weights, rtol=ROUNDING, atol=ROUNDING)
    written = torch.einsum("hij,jn,hmn->im", weights, x, circuits(rows, "value_output", path))
    W = rows[output].load().double()
    width = 8 if name == "ConvBert" else W.shape[1]
    torch.testing.assert_close(written, mixed[:, :width] @ W[:, :width].T, rtol=ROUNDING, atol=ROUNDING)
