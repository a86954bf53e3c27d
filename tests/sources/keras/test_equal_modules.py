"""A Keras layer has the spectra of the torch layer that computes the same, to the last bit."""

import pytest
import torch
from torch import nn

import lmd
from lmd.sources.keras.building.layouts import gates_in_order
from tests.keras_files import chained, configured, write_h5
from tests.seeds import seeded

SHAPES = {"Dense": (5,), "Conv2D": (6, 6, 2), "LSTM": (4, 3), "GRU": (4, 3), "Embedding": (4,)}
TWINS = {
    "Dense": (lambda: nn.Linear(5, 4), {}),
    "Conv2D": (lambda: nn.Conv2d(2, 4, 3), {}),
    "LSTM": (lambda: nn.LSTM(3, 4, batch_first=True), {}),
    "GRU": (lambda: nn.GRU(3, 4, batch_first=True), {"reset_after": True}),
    "Embedding": (lambda: nn.Embedding(9, 3), {}),
}


def in_keras_layout(kind: str, module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    own = {name: tensor.detach() for name, tensor in module.named_parameters()}
    if kind == "Embedding":
        return [("embeddings", own["weight"])]
    if kind in ("Dense", "Conv2D"):
        return [("kernel", own["weight"].permute(*range(2, own["weight"].ndim), 1, 0)), ("bias", own["bias"])]
    gates = own["weight_ih_l0"].shape[0] // own["weight_hh_l0"].shape[1]

    def turned(tensor: torch.Tensor) -> torch.Tensor:
        pieces = tensor.chunk(gates)
        return torch.cat([pieces[place] for place in gates_in_order(gates)])

    bias = torch.stack([turned(own["bias_ih_l0"]), turned(own["bias_hh_l0"])])
    kernels = [("kernel", turned(own["weight_ih_l0"]).T), ("recurrent_kernel", turned(own["weight_hh_l0"]).T)]
    return [*kernels, ("bias", bias if kind == "GRU" else bias.sum(dim=0))]


@pytest.mark.parametrize("kind", TWINS)
def test_the_same_rows_and_outputs(kind, tmp_path):
    module = seeded(TWINS[kind][0])
    arrays = [(f"it/{name}:0", tensor.contiguous().numpy()) for name, tensor in in_keras_layout(kind, module)]
    settings = {**TWINS[kind][1], **({"return_sequences": True} if kind in ("LSTM", "GRU") else {})}
    path = write_h5(
        tmp_path / "m.h5", chained([configured(kind, "it", **settings)], shape=SHAPES[kind]), {"it": arrays}
    )
    ours = {row.name: row for row in lmd.decompose(nn.ModuleDict({"it": module})).layers}
    theirs = {row.name: row for row in lmd.decompose(path).layers if row.entry["kind"] != "conv_operator"}
    assert list(theirs) == list(ours)
    for name, row in theirs.items():
        for key, array in row.arrays().items():
            assert torch.equal(array, ours[name].arrays()[key]), (name, key)
    x = torch.randint(9, (2, 4)) if kind == "Embedding" else torch.randn(2, *SHAPES[kind])
    with torch.no_grad():
        wanted = module(x.movedim(-1, 1)).movedim(1, -1) if kind == "Conv2D" else module(x)
        found = lmd.runnable(path)(x)
    # sums of at most 18 products in float32
    assert (found - (wanted[0] if isinstance(wanted, tuple) else wanted)).abs().max() < 1e-5
