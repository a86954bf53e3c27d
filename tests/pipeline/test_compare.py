"""Networks beside each other: matched, in order, with reasons for what has no counterpart."""

import copy
import json
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lmd
from tests.shared_models import shared_model


def mlp(seed: int = 0, wide: int = 8) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, wide), nn.ReLU(), nn.Linear(wide, 3))


def moved(module: nn.Module, step: float = 0.1) -> nn.Module:
    other = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(step * torch.randn(parameter.shape, generator=generator))
    return other


def rows(found: lmd.Trajectory) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found.pair()["layers"]}


def test_files_of_two_formats_and_a_module_are_equal(tmp_path: Path) -> None:
    model = mlp()
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    torch.save(model.state_dict(), tmp_path / "b.pt")
    found = lmd.compare(tmp_path / "a.safetensors", tmp_path / "b.pt", model)
    assert [pair["equal"] for pair in found.pairs] == [True, True, True]
    assert {one["status"] for one in found.pair()["other_tensors"]} == {"equal"}


def test_a_changed_bias_is_not_equal() -> None:
    model = mlp()
    other = copy.deepcopy(model)
    with torch.no_grad():
        cast(nn.Linear, other[0]).bias[0] += 1
    pair = lmd.compare(model, other).pair()
    assert pair["counts"] == {"equal": 2}
    assert not pair["equal"]
    assert [one["status"] for one in pair["other_tensors"]] == ["changed", "equal"]


def test_a_trajectory_has_neighbours_ends_and_each_change_since_the_first() -> None:
    first = mlp()
    models = [first, *(moved(first, 0.1 * step) for step in range(1, 4))]
    found = lmd.compare(*models)
    assert [(pair["earlier"], pair["later"]) for pair in found.pairs] == [(0, 1), (1, 2), (2, 3), (0, 3)]
    layer = found.trajectory["layers"][0]
    W = [cast(nn.Linear, model[0]).weight.detach().double() for model in models]
    expected = [((one - W[0]).norm() / W[0].norm()).item() for one in W]
    assert layer["quantities"]["relative_change"]["values"] == pytest.approx(expected)
    norms = [torch.linalg.matrix_norm(one, 2).item() for one in W]
    assert layer["quantities"]["spectral_norm"]["values"] == pytest.approx(norms)
    assert found.pair()["moved_most"]
    json.dumps(found.document(), allow_nan=False)


def test_other_names_are_matched_by_order_and_shape_and_that_is_said() -> None:
    model = mlp()
    other = nn.Sequential()
    for name, module in zip("xyz", copy.deepcopy(model), strict=True):
        other.add_module(name, module)
    pair = lmd.compare(model, other).pair()
    assert "order and shape" in pair["matched"]
    assert {row["name"]: row["later_name"] for row in pair["layers"]} == {"0": "x", "2": "z"}
    assert {row["status"] for row in pair["layers"]} == {"equal"}


def test_globs_rename(tmp_path: Path) -> None:
    a = {"enc.0.weight": torch.randn(4, 4), "enc.1.weight": torch.randn(4, 4)}
    save_file(a, tmp_path / "a.safetensors")
    save_file({name.replace("enc.", "deep.er."): t for name, t in a.items()}, tmp_path / "b.safetensors")
    files = (tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    pair = lmd.compare(*files, align={"enc.*": "deep.er.*"}).pair()
    assert pair["counts"] == {"equal": 2}
    assert pair["matched"] == "by name after --align enc.*=deep.er.*"
    with pytest.raises(ValueError, match="fits no layer of the later model"):
        lmd.compare(*files, align={"enc.*": "shallow.*"})
    with pytest.raises(ValueError, match="give as many"):
        lmd.compare(*files, align={"enc.*": "deep"})


def test_lone_and_reshaped_layers_are_rows_with_a_reason() -> None:
    a = nn.ModuleDict({"same": nn.Linear(4, 4), "wide": nn.Linear(4, 5), "old": nn.Linear(2, 7)})
    b = nn.ModuleDict({"same": a["same"], "wide": nn.Linear(4, 6), "new": nn.Linear(3, 7)})
    found = rows(lmd.compare(a, b))
    assert found["same"]["status"] == "equal"
    assert {found[name]["status"] for name in ("wide", "old", "new")} == {"unmatched"}
    assert found["wide"]["reason"] == "6 x 4 in the later model and 5 x 4 in the earlier model"
    assert "earlier model has no layer" in found["new"]["reason"]
    assert "only the earlier model" in found["old"]["reason"]


def test_a_folded_normalisation_is_said() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)).eval()
    norm = cast(nn.BatchNorm2d, plain[1])
    norm.running_var = torch.rand(5) + 0.5
    norm.weight.data = torch.rand(5) + 0.5
    folded = nn.Sequential(nn.utils.fuse_conv_bn_eval(plain[0], norm), nn.Identity(), copy.deepcopy(plain[2]))
    pair = lmd.compare(plain, folded).pair()
    found = {row["name"]: row for row in pair["layers"]}
    assert "1 normalisation layers and the later one 0" in pair["notes"][0]
    assert found["0"]["status"] == "rescaled"
    assert "a normalisation was folded in" in found["0"]["note"]
    assert found["2"]["status"] == "equal"
    assert found["1"]["status"] == "unmatched"


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="1 model came; a comparison needs at least two"):
        lmd.compare(mlp())
    with pytest.raises(TypeError, match="a model is of type dict"):
        lmd.compare(mlp(), cast(Any, {}))
    with pytest.raises(ValueError, match="no layer in common"):
        lmd.compare(mlp(), nn.ModuleDict({"q": nn.Linear(5, 5)}))
    with pytest.raises(ValueError, match="fits none of the 2 layers"):
        lmd.compare(mlp(), mlp(), layers="q*")


def test_a_layer_with_nan_costs_its_row() -> None:
    other = moved(mlp())
    with torch.no_grad():
        cast(nn.Linear, cast(nn.Sequential, other)[0]).weight[0, 0] = torch.nan
    found = rows(lmd.compare(mlp(), other))
    assert (found["0"]["status"], found["2"]["status"]) == ("failed", "changed")
    assert "NaN" in found["0"]["reason"]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    found = lmd.compare(mlp(), mlp(1), out=tmp_path / "cmp")
    loaded = lmd.Trajectory.load(tmp_path / "cmp")
    assert loaded.document() == found.document()
    assert len(found.rows()) == 2
    with pytest.raises(FileExistsError, match="holds a comparison already"):
        lmd.compare(mlp(), mlp(1), out=tmp_path / "cmp")
    with pytest.raises(KeyError, match="were not compared"):
        found.pair(1, 0)
    (tmp_path / "cmp" / "comparison.json").write_text("[1")
    with pytest.raises(ValueError, match="damaged"):
        lmd.Trajectory.load(tmp_path / "cmp")


def test_a_merged_adapter_has_the_rank_of_its_adapter(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 40))
    untouched = copy.deepcopy(base)
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["0"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    beside = rows(lmd.compare(untouched, model))
    merged = rows(lmd.compare(untouched, model.merge_and_unload()))
    for found in (beside, merged):
        assert found["0"]["findings"]["change_above_rounding"]["value"] == 4
    assert merged["2"]["status"] == "equal"
    change = [found["0"]["findings"]["relative_change"]["value"] for found in (beside, merged)]
    # the sum of the merged one was rounded to float32
    assert change[0] == pytest.approx(change[1], rel=1e-5)


def test_three_epochs_of_one_training() -> None:
    folder = shared_model("mini-xception-fer2013")
    files = [folder / f"fer2013_mini_XCEPTION.{name}.hdf5" for name in ("00-0.47", "14-0.59", "102-0.66")]
    found = lmd.compare(*files)
    assert [step["iterations"] for step in found.trajectory["steps"]] == [898, 13470, 92494]
    assert found.notes == ()
    changes = [layer["quantities"]["relative_change"]["values"] for layer in found.trajectory["layers"]]
    assert len(changes) == 37
    assert all(0 < first < last for _, first, last in changes)
    assert found.pair()["moved_most"][0] == "conv2d_7"
    assert "not given in the order" in lmd.compare(files[2], files[0], layers="conv2d_1").notes[0]


@pytest.mark.parametrize("file", ["f16", "q8_0"])
def test_a_quantised_file_is_its_original_up_to_rounding_and_order(file: str, tmp_path: Path) -> None:
    folder = shared_model("stories260k")
    # away from its original, which would show that its rows were not sorted
    alone = tmp_path / "model.gguf"
    copyfile(folder / f"stories260K-{file}.gguf", alone)
    found = rows(lmd.compare(folder, alone))
    reordered = {name for name, row in found.items() if row["status"] == "reordered"}
    assert reordered == {name for name in found if name.endswith(("q_proj", "k_proj"))}
    rest = {row["status"] for name, row in found.items() if name not in {*reordered, "model.embed_tokens"}}
    assert rest == {"rounding", "equal"}


def test_two_formats_of_one_network_are_equal() -> None:
    folder = shared_model("cifar-conv-twins")
    pair = lmd.compare(folder / "cifar_base.pth", folder / "cifar_base_kw.onnx").pair()
    assert pair["equal"]
    assert pair["counts"] == {"equal": 4}
