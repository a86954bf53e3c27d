"""What is a network in a tree of dicts and lists, and what lies beside it."""

from dataclasses import dataclass
from typing import Any

import pytest

from lmd.sources.checkpoint_tree import CheckpointTree, Path, sort_out
from lmd.sources.errors import UnreadableModelError


@dataclass(frozen=True)
class Fake:
    """A tensor to the tree: it looks at shape and type only."""

    shape: tuple[int, ...]
    dtype: str = "float32"


MATRIX, VECTOR, NUMBER = Fake((3, 2)), Fake((3,)), Fake(())
STATE = {"fc.weight": MATRIX, "fc.bias": VECTOR}


def sorted_out(root: Any) -> CheckpointTree:
    return sort_out(root, (Fake,))


@pytest.mark.parametrize(
    ("root", "networks", "beside"),
    [
        (STATE, [()], []),
        ({"state_dict": STATE, "acc": NUMBER}, [("state_dict",)], [("acc",)]),
        ({"state_dict": STATE, "confusion": MATRIX}, [("state_dict",)], [("confusion",)]),
        ({"state_dict": STATE, "class_weight": VECTOR}, [("state_dict",)], [("class_weight",)]),
        ({"a": STATE, "b": [STATE, STATE]}, [("a",), ("b", "0"), ("b", "1")], []),
        ({"emb": MATRIX, "layer": {"kernel": MATRIX}}, [(), ("layer",)], []),
        ({"params": {"dense": {"kernel": MATRIX}, "other": {"kernel": MATRIX}, "norm": {"scale": VECTOR}}, "n": NUMBER},
         [("params", "dense"), ("params", "other"), ("params", "norm")], [("n",)]),
        ({"norm": {"scale": VECTOR}, "loss": NUMBER}, [("norm",)], [("loss",)]),
        ({"model": STATE, "rng_state": Fake((5056,), "uint8")}, [("model",)], [("rng_state",)]),
        ({"model": STATE, "optimizer": {"fp32_from_fp16": [[MATRIX]]}}, [("model",)], []),
        ([(MATRIX, VECTOR), (MATRIX, VECTOR)], [("0",), ("1",)], []),
        ({b"model": {b"fc.weight": MATRIX}}, [("model",)], []),
        ({"loss": NUMBER}, [()], []),
    ],
)  # fmt: skip
def test_networks_and_what_is_beside_them(root: Any, networks: list[Path], beside: list[Path]) -> None:
    tree = sorted_out(root)
    assert set(tree.networks) == set(networks)
    assert list(tree.beside) == beside


def test_keys_that_read_alike_are_all_kept() -> None:
    assert list(sorted_out({0: MATRIX, "0": MATRIX, b"0": MATRIX}).networks[()]) == ["0", "0#", "0##"]


def test_recorded_values_are_bounded_json() -> None:
    root = {**STATE, **{f"n{i}": i for i in range(300)}, "text": "x" * 1000}
    recorded = sorted_out(root).recorded
    assert len(recorded) == 100
    assert sorted_out({**STATE, "text": "x" * 1000, "lr": float("nan")}).recorded == {"text": "x" * 200, "lr": "nan"}


def test_optimiser_state_is_named_by_its_path() -> None:
    optimiser = {"state": {3: {"exp_avg": MATRIX, "step": NUMBER}}, "param_groups": [{"lr": 0.1, "params": [3]}]}
    tree = sorted_out({"model": STATE, "optimizer_states": [optimiser]})
    assert list(tree.optimisers) == [("optimizer_states", "0", "state", "3", key) for key in ("exp_avg", "step")]
    assert tree.settings == {"optimizer_states.0": [{"lr": 0.1, "params": 1}]}


@pytest.mark.parametrize("root", [{}, [], None, 3, {"a": {"b": "c"}}])
def test_nothing_is_refused(root: Any) -> None:
    with pytest.raises(UnreadableModelError, match="state_dict"):
        sorted_out(root)
