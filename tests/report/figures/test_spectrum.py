"""The spectrum is drawn from what is there."""

import numpy as np

from lmd.report.figures.spectrum import draw_spectrum

_LAYER = {"name": "a", "shape": [4, 4], "singular_values": None, "findings": {"noise_edge": {"value": 2.5}}}


def test_all_values_with_their_baseline_and_edge():
    drawing = draw_spectrum(_LAYER, {"spectrum": np.array([3.0, 1.0]), "baseline": np.array([2.0, 2.0])}, 10)
    assert drawing == {"x": [1, 2], "value": [3, 1], "baseline": [2, 2], "edge": 2.5}


def test_leading_values_only_are_drawn_as_such():
    drawing = draw_spectrum(_LAYER, {"S": np.array([3.0, 1.0]), "baseline": np.arange(4.0)[::-1]}, 10)
    assert drawing == {"x": [1, 2], "value": [3, 1], "baseline": [3, 2], "edge": 2.5, "of": 4}


def test_the_stored_list_serves_without_arrays():
    drawing = draw_spectrum(_LAYER | {"singular_values": [3.0]}, {}, 10)
    assert drawing == {"x": [1], "value": [3], "edge": 2.5}


def test_a_failed_layer_has_no_spectrum():
    assert draw_spectrum(_LAYER, {}, 10) is None


def test_coarsely_stored_weights_show_their_rounding_floor():
    arrays = {"spectrum": np.array([3.0, 1.0]), "rounding_floor.floor_spectrum": np.array([0.2, 0.1])}
    assert draw_spectrum(_LAYER, arrays, 10) == {"x": [1, 2], "value": [3, 1], "floor": [0.2, 0.1], "edge": 2.5}
