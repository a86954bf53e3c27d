"""Networks that share names but not shapes, prefixes, stored types or vocabularies are compared as far as they go."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lmd.atlas.atlas import Atlas
from lmd.pipeline.decompose import decompose


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(6, width)
        self.last = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def moved(module: nn.Module) -> Any:
    other: Any = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return other


def reasons(atlas: Atlas) -> dict[str, str]:
    return {record.name: record.entry["reason"] for record in atlas.layers}


def spectrum_of_difference(mine: Tensor, base: Tensor) -> Tensor:
    return torch.linalg.svdvals(mine.detach().double() - base.detach().double())


def test_equal_names_without_an_equal_shape_are_rows_with_reasons() -> None:
    atlas = decompose(Net(8), base=Net(9))
    assert reasons(atlas) == {"first": "8 x 6 here and 9 x 6 in the base", "last": "4 x 8 here and 4 x 9 in the base"}
    assert atlas.coverage.accounted == 1.0
    assert atlas.coverage.decomposed == 0.0


def test_strangers_are_refused_with_what_was_compared() -> None:
    with pytest.raises(ValueError, match=r"names like 'first' were compared with names like 'x', and none fits"):
        decompose(Net(), base=nn.ModuleDict({"x": nn.Linear(6, 8)}))


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_have_their_reason_on_either_side(tmp_path: Path) -> None:
    net = Net()
    packed: Any = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, dtype=torch.qint8)
    for mine, base in ((net, packed), (packed, net)):
        atlas = decompose(mine, base=base)
        assert set(reasons(atlas)) == {"first", "last"}
        assert all("packed by torch's quantisation" in reason for reason in reasons(atlas).values())
        assert atlas.coverage.accounted == 1.0
    codes = {"first.weight": torch.ones(8, 6, dtype=torch.int8), "first.weight_scale": torch.ones(8, 1)}
    rest = {"last.weight": net.last.weight.detach(), "last.bias": net.last.bias.detach()}
    save_file({**codes, **rest}, tmp_path / "codes.safetensors")
    for mine, base in ((net, tmp_path / "codes.safetensors"), (tmp_path / "codes.safetensors", net)):
        found = reasons(decompose(mine, base=base))
        assert "quantised: integers with a scale" in found["first"]
        assert found["last"] == ""


@pytest.mark.parametrize("prefix", ["model.", "transformer.", "a.b.c."])
def test_a_prefix_of_the_base_is_taken_off_and_said(prefix: str, tmp_path: Path) -> None:
    net = Net()
    other = moved(net)
    save_file({f"{prefix}{k}": v for k, v in net.state_dict().items()}, tmp_path / "base.safetensors")
    atlas = decompose(other, base=tmp_path / "base.safetensors")
    for record in atlas.layers:
        assert f"the base puts {prefix!r} before its name" in record.entry["note"]
    expected = spectrum_of_difference(other.first.weight, net.first.weight)
    assert atlas.layer("first").arrays()["spectrum"] == pytest.approx(expected, abs=1e-12)
    back = decompose(tmp_path / "base.safetensors", base=other)
    assert f"the base names it without {prefix!r}" in back.layers[0].entry["note"]


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=8, n_embd=12, n_layer=1, n_head=2))


def llama(*, tied: bool) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    small: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 40}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": tied}
    return LlamaForCausalLM(LlamaConfig(**small, **heads, bos_token_id=0, eos_token_id=1, pad_token_id=2))


def test_a_vocabulary_that_grew_is_compared_where_both_have_entries() -> None:
    base = llama(tied=False)
    other = copy.deepcopy(base)
    other.resize_token_embeddings(45)
    other = moved(other)
    atlas = decompose(other, base=base)
    pairs = {"model.embed_tokens": (other.model.embed_tokens, base.model.embed_tokens)}
    pairs["lm_head"] = (other.lm_head, base.lm_head)
    for name, (mine, theirs) in pairs.items():
        expected = spectrum_of_difference(mine.weight[:40], theirs.weight)
        assert atlas.layer(name).arrays()["spectrum"] == pytest.approx(expected, abs=1e-12)
        assert "of the 40 entries that both have; 45 here and 40 in the base" in atlas.layer(name).entry["note"]
        assert atlas.layer(f"{name}.added").entry["reason"] == "the base has 40 entries: these 5 are new"
    assert atlas.coverage.accounted == 1.0
    assert atlas.coverage.decomposed < 1.0
    back = decompose(base, base=other)
    assert "model.embed_tokens.added" not in reasons(back)
    assert back.coverage.decomposed == 1.0


def test_another_number_of_classes_is_no_vocabulary() -> None:
    assert "4 x 8 here and 5 x 8" in reasons(decompose(Net(), base=nn.ModuleDict({"last": nn.Linear(8, 5)})))["last"]


def test_a_tied_head_of_the_base_is_found_under_its_own_name() -> None:
    mine, base = llama(tied=False), llama(tied=True)
    atlas = decompose(mine, base=base)
    expected = spectrum_of_difference(mine.lm_head.weight, base.lm_head.weight)
    assert atlas.layer("lm_head").arrays()["spectrum"] == pytest.approx(expected, abs=1e-12)
    assert atlas.coverage.decomposed == 1.0


def test_a_guess_is_read_the_way_round_that_the_base_declares(tmp_path: Path) -> None:
    base = gpt2()
    other = moved(base)
    # by itself, a square weight without a bias may be either way round, and a table may be a dense layer
    alone = {
        "transformer.wte.weight": other.transformer.wte.weight.detach().clone(),
        "transformer.h.0.attn.c_proj.weight": other.transformer.h[0].attn.c_proj.weight.detach().clone(),
    }
    save_file(alone, tmp_path / "some.safetensors")
    atlas = decompose(tmp_path / "some.safetensors", base=base)
    for name, mine in alone.items():
        row = atlas.layer(name.removesuffix(".weight"))
        theirs = base.state_dict()[name]
        assert row.entry["shape"] == list(mine.T.shape)
        expected = spectrum_of_difference(mine, theirs)
        assert row.arrays()["spectrum"] == pytest.approx(expected, abs=1e-12)


def test_one_set_of_adapters_is_compared_with_another(tmp_path: Path) -> None:
    A, B = torch.eye(2, 6, dtype=torch.float64), torch.eye(5, 2, dtype=torch.float64)
    for name, scale in (("one", 3.0), ("two", 1.0)):
        (tmp_path / name).mkdir()
        tensors = {"base_model.model.fc.lora_A.weight": A, "base_model.model.fc.lora_B.weight": scale * B}
        save_file(tensors, tmp_path / name / "adapter_model.safetensors")
        (tmp_path / name / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    (row,) = decompose(tmp_path / "one", base=tmp_path / "two").layers
    assert row.entry["kind"] == "difference"
    assert row.arrays()["spectrum"][:2] == pytest.approx(torch.tensor([2.0, 2.0], dtype=torch.float64), abs=1e-12)
