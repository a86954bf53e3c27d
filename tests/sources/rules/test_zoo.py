"""Every architecture of the zoo, as torch and as safetensors write it, against the live module's rows."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from tests.sources.rules.zoo import ZOO


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ZOO[name]().eval()


def saved(model: nn.Module, path: Path) -> Path:
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def rows_of(source: nn.Module | Path) -> dict[str, LayerMatrix]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = from_module(source) if isinstance(source, nn.Module) else open_network(source)
        return {row.name: row for row in walk(network).layers if row.view_of is None}


def word(row: LayerMatrix) -> str:
    """The word of ``--kind`` for a live row."""
    if row.kind == "kernel_matrix":
        if "transposed" in row.note:
            return "transposed_kernel_matrix"
        return f"grouped_kernel_matrix:{row.groups}" if row.groups > 1 else "kernel_matrix"
    return row.kind


def same(live: LayerMatrix, file: LayerMatrix) -> bool:
    facts = [(row.kind, row.shape, row.groups) for row in (live, file)]
    return facts[0] == facts[1] and torch.allclose(live.load(), file.load(), rtol=1e-4, atol=1e-6)


def offered(truth: str, found: LayerMatrix) -> bool:
    """Whether the alternatives hold the truth; other groups by their number, another kind by its name."""
    return truth in found.alternatives or truth.partition(":")[0] in found.alternatives


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("name", ZOO)
def test_every_row_is_right_or_a_guess_that_names_the_truth(name, ending, tmp_path):
    model = built(name)
    live, file = rows_of(model), rows_of(saved(model, tmp_path / f"m.{ending}"))
    missing = set(live) - set(file)
    assert not missing
    wrong = {row: (word(live[row]), file[row]) for row in live if not same(live[row], file[row])}
    claimed = [(row, truth, found) for row, (truth, found) in wrong.items() if found.confidence != "guess"]
    assert not claimed
    assert not [(row, truth, found) for row, (truth, found) in wrong.items() if not offered(truth, found)]
