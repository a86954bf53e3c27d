"""peft's further methods: the update is what merging changes, from the file with its base and from the live model."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lmd.layers.updates.unpaired import NeedsBase
from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.open_network import open_network
from tests.layers.test_adapters import padded, saved

_SINGLE = 3e-6
"""Relative: parts of peft's own computation are in float32."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(20, 16)
        self.conv = nn.Conv2d(4, 8, 3)
        self.fc = nn.Linear(16, 16)
        self.wide = nn.Linear(16, 24)
        self.heads = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.fc(self.emb(x)))


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=8, n_embd=12, n_layer=1, n_head=2))


DENSE = ["fc", "wide"]
IA3: dict[str, Any] = {"target_modules": ["conv", *DENSE], "feedforward_modules": ["wide"]}
OFT: dict[str, Any] = {"r": 0, "oft_block_size": 4, "target_modules": DENSE}
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "AdaLoRA": (
        Net,
        lambda: peft.AdaLoraConfig(init_r=4, target_r=2, lora_alpha=5, target_modules=DENSE, total_step=9),
    ),
    "VeRA": (Net, lambda: peft.VeraConfig(r=4, target_modules=DENSE)),
    "IA3": (Net, lambda: peft.IA3Config(**IA3)),
    "IA3, stored (in, out)": (
        gpt2,
        lambda: peft.IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]),
    ),
    "OFT": (Net, lambda: peft.OFTConfig(**{**OFT, "target_modules": ["conv", *DENSE]})),
    "OFT, one block for all": (Net, lambda: peft.OFTConfig(**OFT, block_share=True)),
    "OFT, in a ball": (Net, lambda: peft.OFTConfig(**OFT, coft=True, eps=0.5)),
    "OFT, exactly orthogonal": (Net, lambda: peft.OFTConfig(**OFT, use_cayley_neumann=False)),
    "OFT, three terms": (Net, lambda: peft.OFTConfig(**OFT, num_cayley_neumann_terms=3)),
    "BOFT": (Net, lambda: peft.BOFTConfig(boft_block_size=4, target_modules=DENSE)),
    "HRA": (Net, lambda: peft.HRAConfig(r=4, target_modules=["conv", *DENSE])),
    "HRA, orthogonal": (Net, lambda: peft.HRAConfig(r=4, target_modules=DENSE, apply_GS=True)),
    "HiRA": (Net, lambda: peft.HiraConfig(r=3, target_modules=DENSE)),
    "FourierFT": (Net, lambda: peft.FourierFTConfig(n_frequency=20, target_modules=DENSE)),
    "VB-LoRA": (
        Net,
        lambda: peft.VBLoRAConfig(r=2, num_vectors=6, vector_length=4, topk=2, target_modules=DENSE),
    ),
    "RandLoRA": (Net, lambda: peft.RandLoraConfig(r=4, target_modules=DENSE)),
    "PiSSA": (Net, lambda: peft.LoraConfig(r=3, lora_alpha=5, target_modules=DENSE, init_lora_weights="pissa")),
    "OLoRA": (Net, lambda: peft.LoraConfig(r=3, lora_alpha=5, target_modules=DENSE, init_lora_weights="olora")),
    "trained rows": (Net, lambda: peft.TrainableTokensConfig(target_modules=["emb"], token_indices=[1, 5, 7])),
}


def adapted(net: nn.Module, config: Any) -> Any:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BOFT says that it has no compiler
        torch.manual_seed(11)
        model: Any = peft.get_peft_model(net, config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def changed(model: Any, base: nn.Module) -> dict[str, Tensor]:
    """What merging changes in each weight, singular values."""
    merged = dict(copy.deepcopy(model).double().merge_and_unload().named_parameters())
    spectra = {}
    for name, before in base.named_parameters():
        moved = (merged[name].detach() - before.detach().double()).flatten(1) if before.ndim > 1 else None
        if moved is not None and moved.abs().max() > 0:
            spectra[name.removesuffix(".weight")] = torch.linalg.svdvals(moved)
    return spectra


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_the_update_is_what_merging_changes(case: str, tmp_path: Path) -> None:
    build, config = CASES[case]
    base = build().eval()
    model = adapted(copy.deepcopy(base), config())
    expected = changed(model, base)
    stored = decompose(saved(model, tmp_path), base=base)
    live = {record.name: record for record in decompose(model, parts=False).layers}
    assert stored.coverage.accounted == 1.0
    part = "difference" if case in ("PiSSA", "OLoRA") else "adapter"
    found = {record.name.removesuffix(f".{part}"): record for record in stored.layers if record.name.endswith(part)}
    # RandLoRA saves what layers share under a name of its own too
    shared = found.pop("base_model", None)
    assert shared is None or "shared by the layers" in shared.entry["reason"]
    assert set(found) == set(expected)
    for name, record in found.items():
        spectrum = padded(record.arrays()["spectrum"], expected[name].numel())
        assert (spectrum - expected[name]).abs().max() < _SINGLE * expected[name][0], name
        assert record.entry["findings"]["update_ratio"]["value"] > 0
        assert record.entry["confidence"] == "declared"
        if part == "adapter":
            twin = live[f"base_model.model.{record.name}"].arrays()["spectrum"]
            assert (padded(twin, spectrum.numel()) - spectrum).abs().max() <= 1e-9 * spectrum[0]


WITH_BASE = [case for case in CASES if case not in ("AdaLoRA", "VB-LoRA", "PiSSA", "OLoRA")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", WITH_BASE)
def test_without_the_base_an_update_that_needs_it_is_a_row_with_the_reason(case: str, tmp_path: Path) -> None:
    build, config = CASES[case]
    folder = saved(adapted(build(), config()), tmp_path)
    atlas = decompose(folder)
    assert atlas.coverage.accounted == 1.0
    assert {record.entry["kind"] for record in atlas.layers} == {"adapter"}
    assert all("give --base" in r.entry["reason"] or "shared by" in r.entry["reason"] for r in atlas.layers)
    (row, *_) = (row for row in walk(open_network(folder)).layers if isinstance(row, NeedsBase))
    assert isinstance(pickle.loads(pickle.dumps(row)), NeedsBase)


REASONS: dict[str, tuple[Callable[[], Any], str]] = {
    "VeRA without its projections": (
        lambda: peft.VeraConfig(r=4, target_modules=DENSE, save_projection=False),
        "the file lacks vera_A, vera_B",
    ),
    "VB-LoRA, leading vectors only": (
        lambda: peft.VBLoRAConfig(
            r=2, num_vectors=6, vector_length=4, target_modules=DENSE, save_only_topk_weights=True
        ),
        "save_only_topk_weights",
    ),
    "MiSS": (lambda: peft.MissConfig(r=4, target_modules=DENSE), "not computed by lmd"),
    "C3A": (lambda: peft.C3AConfig(block_size=4, target_modules=["fc"]), "not computed by lmd"),
    "ShiRA": (lambda: peft.ShiraConfig(r=2, target_modules=["fc"]), "not computed by lmd"),
    "OSF": (lambda: peft.OSFConfig(target_modules=["fc"], effective_rank=4), "not computed by lmd"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", REASONS)
def test_methods_that_are_not_computed_are_rows_with_the_reason(case: str, tmp_path: Path) -> None:
    config, reason = REASONS[case]
    model = adapted(Net(), config())
    for atlas in (decompose(saved(model, tmp_path)), decompose(tmp_path, base=Net())):
        assert atlas.coverage.accounted == 1.0
        assert all(reason in record.entry["reason"] for record in atlas.layers)
        assert {record.name for record in atlas.layers} <= {"fc.adapter", "wide.adapter"}


def test_vectors_before_the_sequence_are_no_weight(tmp_path: Path) -> None:
    config: Any = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = adapted(gpt2(), config)
    (row,) = decompose(saved(model, tmp_path)).layers
    assert "no update of a layer's weight" in row.entry["reason"]


def test_norms_of_an_adapter_are_compared_with_those_of_the_base(tmp_path: Path) -> None:
    base = gpt2()
    model = adapted(copy.deepcopy(base), peft.LNTuningConfig(target_modules=["ln_1"]))
    (row,) = decompose(saved(model, tmp_path), base=base).layers
    assert row.entry["kind"] == "difference"
    expected = model.base_model.model.transformer.h[0].ln_1.ln_tuning_layers["default"].weight - 1
    assert row.arrays()["spectrum"] == pytest.approx(expected.detach().abs().double().sort(descending=True)[0])


@pytest.mark.filterwarnings("ignore")
def test_packed_projections_are_changed_as_one_matrix(tmp_path: Path) -> None:
    base = Net()
    model = adapted(copy.deepcopy(base), peft.LoraConfig(r=3, lora_alpha=5, target_modules=["heads"]))
    atlas = decompose(saved(model, tmp_path), base=base)
    merged = copy.deepcopy(model).merge_and_unload()
    moved = (merged.heads.in_proj_weight - base.heads.in_proj_weight).detach().double()
    row = atlas.layer("heads.adapter")
    assert row.arrays()["spectrum"] == pytest.approx(torch.linalg.svdvals(moved)[:3], rel=1e-5)
    assert row.entry["findings"]["update_ratio"]["value"] > 0
    output = atlas.layer("heads.out_proj.adapter")
    assert output.entry["findings"]["update_ratio"]["value"] > 0
    moved = (merged.heads.out_proj.weight - base.heads.out_proj.weight).detach().double()
    # peft adds it once in its own layer and once more in the attention around it
    assert 2 * output.arrays()["spectrum"] == pytest.approx(torch.linalg.svdvals(moved)[:3], rel=1e-5)
    assert "adds it to the weight twice" in output.entry["note"]


@pytest.mark.filterwarnings("ignore")
def test_stacked_experts_are_measured_against_their_base(tmp_path: Path) -> None:
    import transformers

    small: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 20}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 3}
    base = transformers.MixtralForCausalLM(transformers.MixtralConfig(**small, **heads))
    stacks = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    model = adapted(
        copy.deepcopy(base), peft.LoraConfig(r=2, lora_alpha=5, target_modules=[], target_parameters=stacks)
    )
    merged = dict(copy.deepcopy(model).merge_and_unload().named_parameters())
    base.save_pretrained(tmp_path / "base")
    saved(model, tmp_path / "adapter")
    for other in (base, tmp_path / "base"):
        rows = decompose(tmp_path / "adapter", base=other).layers
        assert len(rows) == 6
        for record in rows:
            stack, expert = record.entry["note"].rpartition("changes ")[2].rsplit(".", 1)
            before = dict(base.named_parameters())[stack]
            moved = torch.linalg.svdvals((merged[stack] - before)[int(expert)].detach().double())
            assert record.arrays()["spectrum"] == pytest.approx(moved[:2], rel=1e-5)
            assert record.entry["findings"]["update_ratio"]["value"] > 0


@pytest.mark.filterwarnings("ignore")
def test_a_convolution_with_weight_norm_is_met_by_its_adapter(tmp_path: Path) -> None:
    base = nn.Sequential()
    base.add_module("conv", nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3)))
    model = adapted(copy.deepcopy(base), peft.LoKrConfig(r=2, alpha=5, target_modules=["conv"]))
    (row,) = decompose(saved(model, tmp_path), base=base).layers
    assert row.entry["findings"]["update_ratio"]["value"] > 0


@pytest.mark.filterwarnings("ignore")
def test_what_is_merged_already_cannot_be_told_from_its_base() -> None:
    model = adapted(Net(), peft.IA3Config(**IA3))
    model.merge_adapter()
    row = decompose(model).layer("base_model.model.fc.adapter")
    assert "merged" in row.entry["reason"]


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    folder = saved(adapted(Net(), peft.IA3Config(**IA3)), tmp_path)
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.model.fc.ia3_l"] = torch.ones(5, 1)
    save_file(tensors, folder / "adapter_model.safetensors")
    atlas = decompose(folder, base=Net())
    assert "do not fit the base's layer fc, which is 16 x 16" in atlas.layer("fc.adapter").entry["reason"]
    assert atlas.layer("wide.adapter").entry["reason"] == ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("start", ["pissa", "olora", "pissa_niter_4"])
def test_dora_rescales_what_the_start_of_its_factors_left(start: str, tmp_path: Path) -> None:
    base = Net().eval()
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["fc"], init_lora_weights=start, use_dora=True)
    model = adapted(copy.deepcopy(base), config)
    expected = changed(model, base)["fc"]
    atlas = decompose(saved(model, tmp_path), base=base)
    row = atlas.layer("fc.difference")
    assert atlas.coverage.accounted == 1.0
    assert start in atlas.layer("fc.adapter").entry["note"]
    if start == "pissa_niter_4":
        assert "as pissa_niter_4 left it" in row.entry["reason"]
    else:
        spectrum = padded(row.arrays()["spectrum"], expected.numel())
        assert (spectrum - expected).abs().max() < 4 * _SINGLE * expected[0]
    live = next(r for r in decompose(model, parts=False).layers if r.name.endswith("fc.adapter"))
    assert f"whose weight {start} changed first" in live.entry["note"]
