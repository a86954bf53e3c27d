"""Adapters are told by their names and shapes; their strength by adapter_config.json, which may be forged."""

from pathlib import Path
from time import process_time

import pytest
import torch
from safetensors.torch import save_file

from lmd.pipeline.decompose import decompose
from lmd.sources.adapter_names import adapters_among
from lmd.sources.adapter_scale import scale_of
from lmd.sources.errors import UnreadableModelError
from lmd.sources.inspection import inspect_model

SHAPES = {"h.0.q.lora_A.weight": (4, 10), "h.0.q.lora_B.weight": (6, 4)}


def only(shapes: dict[str, tuple[int, ...]]):
    (one,) = adapters_among(shapes)
    return one


@pytest.mark.parametrize("name", ["", ".default", ".my-own_1"])
@pytest.mark.parametrize("path", ["", "q.", "base_model.model.h.0.q."])
def test_names_with_and_without_the_adapters(path: str, name: str) -> None:
    one = only({f"{path}lora_A{name}.weight": (4, 10), f"{path}lora_B{name}.weight": (6, 4)})
    assert (one.target, one.adapter) == (path.rstrip("."), name.lstrip("."))
    assert (one.shape, one.rank, one.method) == ((6, 10), 4, "lora")


WRONG = {
    "another rank": {"q.lora_A.weight": (4, 10), "q.lora_B.weight": (6, 3)},
    "half": {"q.lora_A.weight": (4, 10)},
    "biases alone": {"q.lora_A.bias": (4,), "q.lora_B.bias": (6,)},
    "empty": {"q.lora_A.weight": (0, 10), "q.lora_B.weight": (6, 0)},
    "vectors": {"q.lora_A.weight": (4,), "q.lora_B.weight": (6,)},
    "two kernels": {"q.lora_A.weight": (4, 3, 3, 3), "q.lora_B.weight": (6, 4, 3, 3)},
    "a factor of LoKr missing": {"q.lokr_w1": (2, 3), "q.lokr_w2_a": (4, 2)},
    "LoHa of two shapes": {
        "q.hada_w1_a": (6, 2),
        "q.hada_w1_b": (2, 8),
        "q.hada_w2_a": (6, 2),
        "q.hada_w2_b": (2, 9),
    },
}


@pytest.mark.parametrize("what", WRONG)
def test_tensors_that_do_not_fit_together_are_no_adapter(what: str, tmp_path: Path) -> None:
    assert adapters_among(WRONG[what]) == ()
    save_file({name: torch.ones(shape) for name, shape in WRONG[what].items()}, tmp_path / "m.safetensors")
    atlas = decompose(tmp_path / "m.safetensors")
    assert atlas.coverage.accounted == 1.0
    assert all(record.entry["kind"] != "adapter" for record in atlas.layers)


SCALES = [
    ({"r": 4, "lora_alpha": 8}, 2.0),
    ({"r": 99, "lora_alpha": 8}, 2.0),
    ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
    ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"q": 12}}, 3.0),
    ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"0.q": 12}}, 3.0),
    ({"r": 4, "lora_alpha": 8, "alpha_pattern": {r"h\.\d+\.q": 12}}, 3.0),
    ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"k": 12, "h": 16}}, 2.0),
    ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"k": 12, "q": 16, "h.0.q": 20}}, 4.0),
    ({"r": 4}, 1.0),
    ({"lora_alpha": None}, 1.0),
    ({"lora_alpha": "8"}, 1.0),
    ({"lora_alpha": float("nan")}, 1.0),
    ({"lora_alpha": 8, "alpha_pattern": ["q"]}, 2.0),
    ({"lora_alpha": 8, "alpha_pattern": {"(": 9}}, 2.0),
    ({}, 1.0),
]


@pytest.mark.parametrize(("config", "scale"), SCALES, ids=str)
def test_the_scale_is_what_the_settings_say(config: dict[str, object], scale: float) -> None:
    found, words = scale_of(only(SHAPES), config)
    assert found == scale
    assert "scale" in words


@pytest.mark.parametrize("pattern", ["(a+)+$", "(.*)*x", "(a|a)*b", ".*.*.*.*.*x", "a" * 300])
def test_a_pattern_cannot_stop_us(pattern: str) -> None:
    one = only({f"{'a' * 60}!.lora_A.weight": (4, 10), f"{'a' * 60}!.lora_B.weight": (6, 4)})
    before = process_time()
    _, words = scale_of(one, {"r": 4, "lora_alpha": 8, "alpha_pattern": {pattern: 3}})
    assert process_time() - before < 1
    assert "may be wrong" in words


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "\x00"])
def test_broken_settings_are_refused(text: str, tmp_path: Path) -> None:
    save_file({n: torch.ones(s) for n, s in SHAPES.items()}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(text)
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        with pytest.raises(UnreadableModelError, match="adapter's settings"):
            decompose(path)


def test_the_header_tells_what_decomposing_finds(tmp_path: Path) -> None:
    tensors = {
        **{f"base_model.model.{n}": torch.ones(s) for n, s in SHAPES.items()},
        "base_model.model.h.0.q.lora_magnitude_vector": torch.ones(6),
        "base_model.model.head.weight": torch.ones(3, 6),
    }
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8, "peft_type": "LORA"}')
    told, found = inspect_model(str(tmp_path)), decompose(tmp_path)
    assert [reading["path"] for reading in told["readings"]] == ["h.0.q.adapter", "head"]
    assert {t["name"]: t["status"] for t in told["coverage"]["tensors"]} == {
        t.name: t.status for t in found.coverage.tensors
    }
    assert found.facts["adapter_config"] == {"r": 4, "lora_alpha": 8, "peft_type": "LORA"}


def test_trainers_of_image_models_keep_alpha_as_a_tensor(tmp_path: Path) -> None:
    down, up = torch.randn(4, 3, 3, 3, dtype=torch.float64), torch.randn(6, 4, 1, 1, dtype=torch.float64)
    w1, a, b = torch.randn(2, 3), torch.randn(4, 2), torch.randn(2, 5)
    tensors = {
        "unet.x.lora_down.weight": down,
        "unet.x.lora_up.weight": up,
        "unet.x.alpha": torch.tensor(6.0),
        "unet.y.lokr_w1": w1,
        "unet.y.lokr_w2_a": a,
        "unet.y.lokr_w2_b": b,
        "unet.y.alpha": torch.tensor(3.0),
    }
    save_file(tensors, tmp_path / "style.safetensors")
    atlas = decompose(tmp_path / "style.safetensors")
    updates = {
        "unet.x.adapter": 1.5 * up.flatten(1) @ down.flatten(1),
        "unet.y.adapter": 1.5 * torch.kron(w1.double(), a.double() @ b.double()),
    }
    assert {record.name for record in atlas.layers} == set(updates)
    for record in atlas.layers:
        found = record.arrays()["spectrum"]
        reference = torch.linalg.svdvals(updates[record.name])
        assert (found - reference[: found.numel()]).abs().max() < 1e-12
        assert record.entry["confidence"] == "declared"
    assert atlas.coverage.decomposed == 1.0
