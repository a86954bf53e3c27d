"""What users' own modules look like: wrapped, quantised, resized, half covered; under any gradient mode."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lmd.pipeline.decompose import decompose
from lmd.testing import check_engine


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(2)
    return build()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, nullcontext], ids=str)
def test_results_do_not_depend_on_the_gradient_mode(mode: Callable[[], AbstractContextManager[Any]]) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5)))
    expected = decompose(model).document()["layers"]
    with mode():
        assert decompose(model).document()["layers"] == expected


def test_threads_are_an_engine() -> None:
    model = seeded(lambda: nn.Sequential(*[nn.Linear(300, 280) for _ in range(4)]))
    with ThreadPoolExecutor(2) as pool:
        check_engine(pool, model)


@pytest.mark.parametrize(("rows", "columns"), [(7, 3), (2, 3), (5, 9)])
def test_a_weight_of_another_size_than_declared_is_read_whole(rows: int, columns: int) -> None:
    linear, table = nn.Linear(3, 5), nn.Embedding(5, 3)
    linear.weight, table.weight = nn.Parameter(torch.randn(rows, columns)), nn.Parameter(torch.randn(rows, columns))
    first, second = decompose(nn.Sequential(linear, table)).rows()
    assert (first["out"], first["in"], second["out"], second["in"]) == (rows, columns, columns, rows)
    expected = torch.linalg.matrix_norm(linear.weight.double(), 2).item()
    assert first["spectral_norm"] == pytest.approx(expected, rel=1e-12)


def test_a_share_of_a_tensor_counts_as_a_share() -> None:
    coverage = decompose(nn.MultiheadAttention(8, 2, bias=False), layers="query*").coverage
    assert coverage.decomposed == pytest.approx(64 / 256)
    packed = next(tensor for tensor in coverage.tensors if tensor.name == "in_proj_weight")
    assert packed.reason.startswith("33.3% of it")
    lstm = nn.LSTM(4, 4, bias=False)
    assert decompose(lstm, layers="l0.input.i").coverage.decomposed == pytest.approx(1 / 8)
    with torch.no_grad():
        lstm.get_parameter("weight_ih_l0")[0, 0] = float("nan")
    assert decompose(lstm).coverage.decomposed == pytest.approx(7 / 8)


@pytest.mark.filterwarnings("ignore")  # torch announces the end of its quantisation on every call
def test_quantised_layers_are_accounted_for() -> None:
    float_model = seeded(lambda: nn.Sequential(nn.Linear(8, 4), nn.ReLU()))
    coverage = decompose(torch.ao.quantization.quantize_dynamic(float_model, {nn.Linear})).coverage
    assert (coverage.parameters, coverage.decomposed, coverage.accounted) == (36, 0.0, 1.0)
    assert [(t.name, t.status) for t in coverage.tensors] == [("0.weight", "unsupported"), ("0.bias", "vector")]


def test_ties_are_seen_in_memory() -> None:
    table, head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
    head.weight = nn.Parameter(table.weight.data)
    atlas = decompose(nn.Sequential(table, head))
    assert atlas.coverage.parameters == 40
    assert "serves as 1.weight (dense) too" in atlas.layers[0].entry["note"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what torch imports to compile is deprecated by torch
def test_wrappers_leave_no_trace_in_names(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 2)))
    names = [row["name"] for row in decompose(model).rows()]
    assert [row["name"] for row in decompose(nn.DataParallel(model)).rows()] == names
    model[0] = torch.compile(model[0])
    model[1][1] = torch.compile(model[1][1])
    atlas = decompose(model)
    assert [row["name"] for row in atlas.rows()] == names
    torch.save(model.state_dict(), tmp_path / "m.pt")
    file = decompose(tmp_path / "m.pt")
    assert {t.name for t in file.coverage.tensors} == {t.name for t in atlas.coverage.tensors}


class Counting(nn.Module):
    """Changes and replaces its buffers when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(3))
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.mean(0)
        return self.linear(x)


def test_buffers_are_put_back() -> None:
    model = Counting()
    before = dict(model._buffers)
    decompose(model, torch.randn(5, 3))
    assert model._buffers["calls"] is before["calls"]
    assert model._buffers["last"] is before["last"]
    assert model.calls.item() == 0


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_modules_are_not_made_real() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(5))
    with pytest.raises(ValueError, match="not initialised yet"):
        decompose(model, torch.randn(2, 3))
    assert isinstance(model[1], nn.LazyLinear)
    assert decompose(model).coverage.parameters == 16


class Remembering(nn.Linear):
    """Keeps a part of the graph, which torch refuses to copy."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = super().forward(x)
        return self.seen


def test_what_cannot_be_copied_is_decomposed_all_the_same() -> None:
    model = nn.Sequential(parametrizations.weight_norm(Remembering(5, 4)), nn.Linear(4, 3))
    model(torch.randn(2, 5))
    assert [row["failed"] for row in decompose(model).rows()] == [False, False]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"labels": torch.zeros(2)}, ValueError, "labels came without data"),
        ({"data": torch.zeros(2, 3), "labels": [0, 1]}, TypeError, "labels is of type list"),
        ({"data": torch.zeros(2, 9)}, ValueError, "takes 3 numbers, and each example of data has 9"),
        ({"vectors": "all"}, TypeError, "vectors='all' is of type str"),
        ({"rank": True}, TypeError, "rank=True is of type bool"),
        ({"layers": ["a"]}, TypeError, "give one glob"),
        ({"builder": "a.py:b"}, ValueError, "is a module already"),
    ],
)
def test_words_that_do_not_fit_are_refused(more: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        decompose(nn.Sequential(nn.Linear(3, 2)), **more)
