"""Pictures are drawn of the first layer, when its inputs can be one."""

import numpy as np

from lmd.report.figures.pictures import pictures


def _document(shape: list[int], kind: str = "dense", picture: list[int] | None = None) -> dict:
    network = {"picture": picture} if picture else {}
    return {"network": network, "layers": [{"name": "first", "kind": kind, "shape": shape, "findings": {}}]}


def _arrays(inputs: int):
    Vh = np.eye(2, inputs)
    return lambda _name: {"Vh": Vh, "S": np.array([2.0, 1.0])}


def test_a_square_number_of_inputs_is_a_guess():
    made = pictures(_document([2, 64]), _arrays(64))
    assert made is not None
    assert (made["height"], made["width"], made["declared"]) == (8, 8, False)


def test_a_declared_size_wins():
    made = pictures(_document([2, 12], picture=[3, 4]), _arrays(12))
    assert made is not None
    assert (made["height"], made["width"], made["declared"]) == (3, 4, True)


def test_nothing_to_look_at():
    assert pictures(_document([2, 12]), _arrays(12)) is None
    assert pictures(_document([2, 64], kind="embedding"), _arrays(64)) is None
    assert pictures(_document([2, 64]), lambda _name: {}) is None
    assert pictures({"layers": []}, _arrays(64)) is None


def test_a_kernel_is_no_picture_unless_declared():
    assert pictures(_document([2, 64], kind="kernel_matrix"), _arrays(64)) is None
    assert pictures(_document([2, 64], kind="kernel_matrix", picture=[8, 8]), _arrays(64)) is not None
