"""Masks where values with and without one are merged."""

import numpy as np
import pytest

from lmd.sources.open_network import open_network
from tests.keras_files import configured, write_h5
from tests.sources.keras.case import draw
from tests.sources.keras.test_models import called, functional, node, run, source

A, B, K, R, C = draw(5, 3), draw(5, 3), draw(3, 16), draw(4, 16), draw(16)


def _merged(path, class_name: str, *, both: bool, masked: bool, version: str = "2.11.0"):
    layers = [
        source("x", 6),
        called(configured("Embedding", "a", input_dim=5, output_dim=3, mask_zero=masked), [node("x")]),
        called(configured("Embedding", "b", input_dim=5, output_dim=3, mask_zero=both), [node("x")]),
        called(configured(class_name, "both", axis=-1), [node("a"), node("b")]),
        called(configured("LSTM", "out", units=4), [node("both")]),
    ]
    kernel = np.concatenate([K, K]) if class_name == "Concatenate" else K
    weights = {
        "x": [],
        "a": [("a/embeddings:0", A)],
        "b": [("b/embeddings:0", B)],
        "both": [],
        "out": [("out/kernel:0", kernel), ("out/recurrent_kernel:0", R), ("out/bias:0", C)],
    }
    return write_h5(path, functional(layers, ["x"], ["out"]), weights, version=version)


@pytest.mark.parametrize("class_name", ["Add", "Concatenate"])
def test_one_mask_is_enough_in_keras_2(class_name, tmp_path):
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 0, 2, 1, 0, 0]], np.float32)
    one = run(_merged(tmp_path / "one.h5", class_name, both=False, masked=True), x)
    two = run(_merged(tmp_path / "two.h5", class_name, both=True, masked=True), x)
    none = run(_merged(tmp_path / "none.h5", class_name, both=False, masked=False), x)
    assert (one - two).abs().max() < 1e-6 < (one - none).abs().max()


@pytest.mark.parametrize("class_name", ["Add", "Concatenate"])
def test_masks_that_differ_are_not_run_in_keras_3(class_name, tmp_path):
    path = _merged(tmp_path / "m.h5", class_name, both=False, masked=True, version="3.5.0")
    assert not open_network(path).runs
