"""Attention of transformers models against their own attention weights and outputs, and from their folders."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes

transformers = pytest.importorskip("transformers")

ROUNDING = 2e-4
"""Logarithms of float32 probabilities."""
EAGER = {"attn_implementation": "eager"}
BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    **EAGER,
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
LEVIT = {
    "image_size": 16,
    "hidden_sizes": [16, 24, 32],
    "num_attention_heads": [2, 2, 2],
    "depths": [1, 1, 1],
    "key_dim": [4, 4, 4],
}
MODELS: dict[str, dict[str, Any]] = {
    "Deberta": {**BERT, "relative_attention": False},
    "ConvBert": {**BERT, "embedding_size": 16, "head_ratio": 2, "conv_kernel_size": 3},
    "Longformer": {**BERT, "attention_window": [8]},
    "SqueezeBert": {
        **BERT,
        "embedding_size": 16,
        "q_groups": 2,
        "k_groups": 2,
        "v_groups": 2,
        "post_attention_groups": 1,
    },
    "XLNet": {"vocab_size": 50, "d_model": 16, "n_layer": 1, "n_head": 4, "d_inner": 24},
    "Funnel": {"vocab_size": 50, **FUNNEL},
    "Reformer": REFORMER,
    "Swinv2": SWIN,
    "DeepseekV3": LATENT,
    "Levit": LEVIT,
    "T5": {"vocab_size": 50, "d_model": 16, "d_kv": 3, "num_heads": 4, "num_layers": 2, "d_ff": 24, **EAGER},
}


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
    "Funnel": ("encoder.blocks.0.0.attention", "encoder.blocks.0.0.attention.post_proj"),
    "Reformer": ("encoder.layers.0.attention", "encoder.layers.0.attention.output.dense"),
}
INSIDE = {
    "SqueezeBert": "encoder.layers.0.attention",
    "Deberta": "encoder.layer.0.attention.self",
    "Reformer": "encoder.layers.0.attention.self_attention",
}
"""Where the input of the projections arrives."""
SCALES = {"SqueezeBert": 0.5, "Deberta": 0.5, "ConvBert": 0.5, "T5": 1.0, "Funnel": 3**-0.5, "Reformer": 3**-0.5}
BY_POSITION = ("relative_attention_bias", "r_w_bias", "r_r_bias", "r_s_bias", "r_kernel", "seg_embed")
"""What is left out of a circuit, and set to zero here."""


def without_positions(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if any(word in name for word in BY_POSITION):
            nn.init.zeros_(parameter)


@pytest.mark.parametrize("name", PATHS)
def test_circuits_are_what_the_models_own_weights_and_outputs_say(name: str) -> None:
    """Weights of one query compare as the logits do; the output's input, mapped, is the sum of what heads write."""
    model = build(name)
    without_positions(model)
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


def test_raw_weights_of_xlnet_compare_and_write_as_the_model_does() -> None:
    model = build("XLNet")
    nn.init.zeros_(model.layer[0].rel_attn.r)
    network = replace(from_module(model), wishes=Wishes(fold_bias=True))
    rows = {row.name: row for row in walk(network).layers}
    answer = None

    def call() -> None:
        nonlocal answer
        answer = model(input_ids=torch.arange(5)[None] + 3, output_attentions=True)

    path = "layer.0.rel_attn"
    x = heard(model, path, call=call)[:, 0].double()
    weights = answer.attentions[0][0].double()
    # the bias of the queries is that of the comparison of contents
    query, key = torch.cat([x, torch.ones(5, 1)], dim=1), x
    compared = torch.einsum("im,hmn,jn->hij", query, circuits(rows, "query_key", path), key) / 2.0
    torch.testing.assert_close(torch.softmax(compared, dim=-1), weights, rtol=ROUNDING, atol=ROUNDING)
    layer = model.layer[0].rel_attn
    values = torch.einsum("hij,jm,mhd->ihd", weights, x, layer.v.detach().double())
    own = torch.einsum("ihd,mhd->im", values, layer.o.detach().double())
    written = torch.einsum("hij,jn,hmn->im", weights, x, circuits(rows, "value_output", path))
    torch.testing.assert_close(written, own, rtol=ROUNDING, atol=ROUNDING)


def test_the_two_comparisons_of_a_latent_add_up_to_the_models_weights() -> None:
    model, path, n = build("DeepseekV3"), "layers.0.self_attn", 4
    answer = None

    def call() -> None:
        nonlocal answer
        answer = model(input_ids=torch.arange(n)[None] + 3, output_attentions=True)

    x, mixed = heard(model, path, call=call)[0].double(), heard(model, f"{path}.o_proj", call=call)[0].double()
    layer = model.layers[0].self_attn
    sizes = [
        (x @ W.detach().double().T).square().mean(-1).add(1e-6).sqrt()
        for W in (layer.q_a_proj.weight, layer.kv_a_proj_with_mqa.weight[:6])
    ]
    logits = torch.full((4, n, n), -torch.inf, dtype=torch.float64)
    for distance in range(n):
        rows = {r.name: r for r in walk(replace(from_module(model), wishes=Wishes(distance=distance))).layers}
        plain, rotary = (circuits(rows, "query_key", place) for place in (path, f"{path}.rotary"))
        for i in range(distance, n):
            j = i - distance
            parts = torch.einsum("m,hmn,n->h", x[i], plain, x[j]) / sizes[1][j] + torch.einsum(
                "m,hmn,n->h", x[i], rotary, x[j]
            )
            logits[:, i, j] = parts / sizes[0][i] / 3.0
    weights = answer.attentions[0][0].double()
    torch.testing.assert_close(torch.softmax(logits, dim=-1), weights, rtol=ROUNDING, atol=ROUNDING)
    written = torch.einsum("hij,jn,hmn->im", weights / sizes[1], x, circuits(rows, "value_output", path))
    own = mixed @ layer.o_proj.weight.detach().double().T
    torch.testing.assert_close(written, own, rtol=ROUNDING, atol=ROUNDING)


def test_the_second_projections_of_longformer_have_circuits_of_their_own() -> None:
    model, path = build("Longformer"), "encoder.layer.0.attention"
    rows, layer = rows_of(model), model.encoder.layer[0].attention.self
    x = torch.randn(4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q, k = (
        (x @ part.weight.detach().double().T).unflatten(1, (4, 4)).transpose(0, 1)
        for part in (layer.query_global, layer.key_global)
    )
    compared = torch.einsum("im,hmn,jn->hij", x, circuits(rows, "query_key", f"{path}.global"), x)
    torch.testing.assert_close(compared, q @ k.transpose(1, 2))
    assert rows[f"{path}.global.query_key.0"].view_of == f"{path}.self.query_global"


def test_what_a_comparison_leaves_out_is_said() -> None:
    assert "r_kernel" in rows_of(build("Funnel"))["encoder.blocks.0.0.attention.query_key.0"].note
    rows = rows_of(build("T5"))
    for block, words in enumerate(
        ("relative_attention_bias of the layer left out", "added by position, from the table")
    ):
        assert words in rows[f"encoder.block.{block}.layer.0.SelfAttention.query_key.0"].note
    swin = rows_of(build("Swinv2"))["encoder.layers.1.blocks.0.attention.query_key.3"]
    assert "the lengths by which it divides each query and key" in swin.note
