"""Adapters that peft itself wrote have the spectrum of peft's own update; live ones the same."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lmd.pipeline.decompose import decompose

_SINGLE = 2.0**-24
"""peft merges in float32."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(20, 12)
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(12, 10)
        self.block = nn.ModuleDict({"fc": nn.Linear(10, 16)})

    def forward(self, x: Tensor) -> Tensor:
        return self.block["fc"](self.fc(self.emb(x)))


def randomised(module: nn.Module) -> nn.Module:
    """Adapters begin as zero: give them numbers."""
    for name, parameter in module.named_parameters():
        if any(word in name for word in ("lora_", "lokr_", "hada_")):
            noise = torch.rand_like(parameter) - 0.5
            parameter.data = parameter * (1 + noise) if "magnitude" in name else noise
    return module


def adapted(net: nn.Module, config: Any) -> Any:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft corrects fan_in_fan_out, and says so
        torch.manual_seed(11)
        return randomised(get_peft_model(net, config))


def saved(model: Any, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that embeddings are saved
        model.save_pretrained(folder)
    return folder


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=8, n_embd=12, n_layer=1, n_head=2))


ALL = ["emb", "conv", "fc"]
LORA: dict[str, Any] = {"r": 3, "lora_alpha": 5, "target_modules": ALL}
PATTERNS: dict[str, Any] = {"rank_pattern": {"block.fc": 2}, "alpha_pattern": {r"block\..*fc": 7, "emb": 9}}
CASES: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "LoRA": (Net, LoraConfig(**LORA)),
    "rank-stabilised, patterns": (Net, LoraConfig(**LORA, **PATTERNS, use_rslora=True)),
    "DoRA": (Net, LoraConfig(**LORA, use_dora=True)),
    "LoKr": (Net, LoKrConfig(r=2, alpha=5, target_modules=["conv", "fc"], decompose_both=True)),
    "LoKr, whole factors": (
        Net,
        LoKrConfig(r=8, alpha=5, target_modules=["fc"], rank_pattern={"block.fc": 9}, alpha_pattern={"block.fc": 2}),
    ),
    "LoKr, a core": (Net, LoKrConfig(r=1, alpha=5, target_modules=["conv"], use_effective_conv2d=True)),
    "LoHa": (Net, LoHaConfig(r=2, alpha=5, target_modules=["conv", "fc"], use_effective_conv2d=True)),
    "GPT-2, stored (in, out)": (gpt2, LoraConfig(r=2, lora_alpha=3, target_modules=["c_attn", "c_proj"])),
    "GPT-2, DoRA": (gpt2, LoraConfig(r=2, lora_alpha=3, target_modules=["c_attn"], use_dora=True)),
}


def padded(values: Tensor, length: int) -> Tensor:
    return torch.cat([values, values.new_zeros(length - values.numel())])


def own_update(model: Any, target: str) -> Tensor:
    """peft's own update before merging, its factors taken in double precision first."""
    exact = copy.deepcopy(model.get_submodule(f"base_model.model.{target}")).double()
    return torch.linalg.svdvals(exact.get_delta_weight("default").detach().flatten(1))


def merged_update(model: Any, base: nn.Module, target: str) -> tuple[Tensor, float]:
    """What merging changes, and the rounding of that change."""
    merged = copy.deepcopy(model).merge_and_unload().get_submodule(target).weight.detach().double()
    before = base.get_submodule(target).weight.detach().double()
    return torch.linalg.svdvals((merged - before).flatten(1)), 8 * _SINGLE * merged.norm().item()


@pytest.mark.parametrize("case", CASES)
def test_what_peft_wrote_has_the_spectrum_of_its_own_update(case: str, tmp_path: Path) -> None:
    build, config = CASES[case]
    base = build()
    model = adapted(copy.deepcopy(base), copy.deepcopy(config))
    stored, live = decompose(saved(model, tmp_path), base=base), decompose(model)
    assert stored.coverage.accounted == stored.coverage.decomposed == live.coverage.accounted == 1.0
    names = {record.name for record in stored.layers}
    assert {f"{n}.adapter" for n, m in base.named_modules() if n and f"{n}.adapter" in names}
    for record in stored.layers:
        found = record.arrays()["spectrum"]
        target, _, part = record.name.rpartition(".")
        assert record.entry["confidence"] == "declared"
        merged, rounding = merged_update(model, base, target)
        if part == "difference" or "DoRA" not in record.entry["note"]:
            assert (padded(found, merged.numel()) - merged).abs().max() < rounding
        if part == "adapter":
            own = own_update(model, target)
            # 1e-13: float64, n <= 48
            assert (padded(found, own.numel()) - own).abs().max() < 1e-13 * own[0]
        assert torch.equal(live.layer(f"base_model.model.{record.name}").arrays()["spectrum"], found)


def test_without_its_base_dora_is_its_low_rank_part_and_says_why(tmp_path: Path) -> None:
    model = adapted(Net(), LoraConfig(**LORA, use_dora=True))
    atlas = decompose(saved(model, tmp_path))
    assert {record.name.rpartition(".")[2] for record in atlas.layers} == {"adapter"}
    assert atlas.coverage.accounted == 1.0
    left = {t.name: (t.status, t.reason) for t in atlas.coverage.tensors if t.status != "decomposed"}
    assert set(left) == {f"{name}.lora_magnitude_vector" for name in (*ALL, "block.fc")}
    assert all(status == "vector" and "needs the base" in reason for status, reason in left.values())


def test_without_settings_the_scale_is_one_and_a_guess(tmp_path: Path) -> None:
    folder = saved(adapted(Net(), LoraConfig(**LORA)), tmp_path)
    told = decompose(folder).layer("fc.adapter")
    (folder / "adapter_config.json").unlink()
    untold = decompose(folder).layer("fc.adapter")
    assert untold.entry["confidence"] == "guess"
    assert "scale unknown" in untold.entry["note"]
    ratio = told.arrays()["spectrum"] / untold.arrays()["spectrum"]
    assert ratio == pytest.approx(torch.full((3,), 5 / 3, dtype=torch.float64), rel=1e-12)


def test_a_state_dict_of_the_whole_live_model_gives_base_and_adapters(tmp_path: Path) -> None:
    model = adapted(Net(), LoraConfig(r=3, lora_alpha=3, target_modules=["fc"]))
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    atlas = decompose(tmp_path / "whole.pt")
    assert {record.name for record in atlas.layers if "fc" in record.name} == {
        *("fc.adapter", "fc.base_layer", "block.fc.adapter", "block.fc.base_layer")
    }
    live = decompose(model).layer("base_model.model.fc.adapter").arrays()["spectrum"]
    assert torch.equal(atlas.layer("fc.adapter").arrays()["spectrum"], live)
    assert atlas.coverage.accounted == 1.0


def test_two_adapters_of_one_model_are_two_rows_and_the_model_stays(tmp_path: Path) -> None:
    model = adapted(Net(), LoraConfig(r=2, target_modules=["fc"]))
    model.add_adapter("second", LoraConfig(r=3, target_modules=["fc"]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    atlas = decompose(randomised(model))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    atlas = decompose(model)
    assert [r.name for r in atlas.layers if ".fc.adapter" in r.name and "block" not in r.name] == [
        *("base_model.model.fc.adapter.default", "base_model.model.fc.adapter.second")
    ]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_modules_saved_whole_are_rows_and_differences(tmp_path: Path) -> None:
    base = Net()
    model = adapted(copy.deepcopy(base), LoraConfig(r=2, target_modules=["conv"], modules_to_save=["emb"]))
    with torch.no_grad():
        for parameter in model.base_model.model.emb.parameters():
            parameter.add_(1.0)
    atlas = decompose(saved(model, tmp_path), base=base)
    assert {r.name: r.entry["kind"] for r in atlas.layers} == {"conv.adapter": "adapter", "emb": "difference"}
    # a matrix of ones
    assert atlas.factors("emb").S[0].item() == pytest.approx(240**0.5, rel=1e-6)


def test_experts_whose_factors_are_stacked_are_rows_of_their_own(tmp_path: Path) -> None:
    """Against peft's sum over (o r e, e r i)."""
    experts, rank, out, inn = 3, 2, 5, 4
    A = torch.randn(experts * rank, inn, dtype=torch.float64)
    B = torch.randn(out, rank * experts, dtype=torch.float64)
    save_file({"mlp.experts.lora_A.weight": A, "mlp.experts.lora_B.weight": B}, tmp_path / "adapter_model.safetensors")
    settings = '{"r": 2, "lora_alpha": 6, "target_parameters": ["mlp.experts.gate_up_proj"]}'
    (tmp_path / "adapter_config.json").write_text(settings)
    atlas = decompose(tmp_path)
    updates = 3.0 * torch.einsum("ore,eri->eoi", B.reshape(out, rank, experts), A.reshape(experts, rank, inn))
    assert [record.name for record in atlas.layers] == [f"mlp.experts.adapter.{e}" for e in range(experts)]
    for record, update in zip(atlas.layers, updates, strict=True):
        found = record.arrays()["spectrum"]
        assert padded(found, 4) == pytest.approx(torch.linalg.svdvals(update), abs=1e-12)
    assert atlas.coverage.decomposed == 1.0


def test_a_grouped_convolution_is_adapted_by_a_block_diagonal_factor() -> None:
    layer = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False))
    model = adapted(layer, LoraConfig(r=2, lora_alpha=2, target_modules=["0"]))
    wrapped = model.base_model.model.get_submodule("0")
    atlas = decompose(model)
    W = (atlas.factors("base_model.model.0.adapter").U * atlas.factors("base_model.model.0.adapter").S) @ atlas.factors(
        "base_model.model.0.adapter"
    ).Vh
    x = torch.randn(1, 4, 3, 3)
    with torch.no_grad():
        added = wrapped.lora_B["default"](wrapped.lora_A["default"](x)).flatten()
    assert W @ x.flatten().double() == pytest.approx(added.double(), abs=1e-5)


def test_what_is_no_adapter_that_we_know_is_accounted_for(tmp_path: Path) -> None:
    tensors = load_file(saved(adapted(Net(), LoraConfig(**LORA)), tmp_path) / "adapter_model.safetensors")
    tensors["base_model.model.fc.dora_scale"] = torch.ones(10, 1)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    atlas = decompose(tmp_path)
    assert "dora_scale" in atlas.layer("fc.adapter").entry["reason"]
    assert atlas.coverage.accounted == 1.0


def test_folders_of_base_and_adapter_agree_with_modules(tmp_path: Path) -> None:
    """The trunk's own file leaves out the prefix that the adapter's names have."""
    base = gpt2()
    model = adapted(copy.deepcopy(base), LoraConfig(r=2, lora_alpha=3, target_modules=["c_attn"], use_dora=True))
    folder = saved(model, tmp_path / "adapter")
    base.save_pretrained(tmp_path / "base")
    base.transformer.save_pretrained(tmp_path / "trunk")
    ours = decompose(folder, base=base)
    for other in ("base", "trunk"):
        read = decompose(folder, base=tmp_path / other)
        assert [r.name for r in read.layers] == [
            "transformer.h.0.attn.c_attn.adapter",
            "transformer.h.0.attn.c_attn.difference",
        ]
        for mine, theirs in zip(ours.layers, read.layers, strict=True):
            assert mine.entry["findings"] == theirs.entry["findings"]
