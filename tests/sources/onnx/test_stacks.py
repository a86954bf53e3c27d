"""Products with several constant matrices at once."""

import numpy
import pytest
import torch
from onnx import helper

from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.inspection import inspect_model
from lmd.sources.open_network import open_network
from tests.onnx_files import save
from tests.sources.onnx.test_networks import largest_difference

DRAW = numpy.random.default_rng(0)
W = DRAW.normal(size=(2, 5, 3)).astype("float32")


def rows_of(path):
    return {row.name: row.load() for row in walk(open_network(path)).layers}


def same_coverage(path):
    told, coverage = inspect_model(str(path))["coverage"], decompose(path, vectors=0).coverage
    assert coverage.accounted == coverage.decomposed == 1.0
    assert (told["parameters"], told["decomposed"]) == (coverage.parameters, coverage.decomposed)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_each_matrix_of_a_stack_is_a_row(left, large, tmp_path):
    stack = W if not large else DRAW.normal(size=(2, 50, 30)).astype("float32")
    node = helper.make_node("MatMul", ["W", "x"] if left else ["x", "W"], ["y"], "/fc/MatMul")
    path = save([node], {"W": stack}, tmp_path)
    found = rows_of(path)
    assert set(found) == {"fc.0", "fc.1"}
    for place, matrix in enumerate(stack):
        assert torch.equal(found[f"fc.{place}"], torch.tensor(matrix if left else matrix.T))
    shape = (2, stack.shape[2], 4) if left else (2, 4, stack.shape[1])
    assert largest_difference(path, (torch.randn(*shape),)) < 1e-5
    same_coverage(path)


def test_axes_of_length_one_and_many_axes(tmp_path):
    for name, shape in (("one", (1, 5, 3)), ("many", (2, 2, 5, 3))):
        path = save(
            [helper.make_node("MatMul", ["x", "fc.weight"], ["y"])],
            {"fc.weight": DRAW.normal(size=shape).astype("float32")},
            tmp_path,
        )
        found = rows_of(path)
        assert len(found) == (1 if name == "one" else 4)
        assert {tuple(row.shape) for row in found.values()} == {(3, 5)}
        same_coverage(path)


@pytest.mark.parametrize(
    ("equation", "count", "shape"),
    [
        ("bsd,dhe->bshe", 1, (6, 4)),
        ("bshe,hed->bsd", 1, (4, 6)),
        ("bhd,hde->bhe", 2, (3, 3)),
        ("dhe,bsd->bshe", 1, (6, 4)),
    ],
)
def test_sums_over_letters(equation, count, shape, tmp_path):
    sizes = {"b": 2, "s": 3, "d": 4, "h": 2, "e": 3} | ({"d": 3} if count == 2 else {})
    left, right = equation.partition("->")[0].split(",")
    own = right if left.startswith("b") else left
    other = left if own == right else right
    weight = DRAW.normal(size=[sizes[a] for a in own]).astype("float32")
    order = ["x", "k"] if own == right else ["k", "x"]
    path = save([helper.make_node("Einsum", order, ["y"], equation=equation)], {"k": weight}, tmp_path)
    found = rows_of(path)
    assert len(found) == count
    assert {tuple(row.shape) for row in found.values()} == {shape}
    x = torch.randn(*(sizes[a] for a in other))
    assert largest_difference(path, (x,)) < 1e-5
    if count == 1:
        (matrix,) = found.values()
        ins = [a for a in other if a in own]
        made = torch.einsum(equation, *((x, torch.tensor(weight)) if own == right else (torch.tensor(weight), x)))
        moved = x.reshape(-1, matrix.shape[1])
        assert ins
        assert torch.allclose((moved @ matrix.T).reshape(made.shape), made, atol=1e-5)
    same_coverage(path)
