"""Clouds keep their shape, and the share between classes is the correlation ratio."""

import numpy as np
import pytest

from lmd.report.figures.projection import clouds


def _cloud(points: np.ndarray, labels: np.ndarray) -> dict:
    (made,) = clouds([(0, {"projection.coordinates": points, "projection.labels": labels})])
    return made


def test_points_are_sent_to_a_thousandth_of_the_largest():
    points = np.random.default_rng(0).standard_normal((50, 3))
    made = _cloud(points, np.zeros(50, dtype=int))
    back = np.array(made["points"]).reshape(-1, 3) * made["unit"]
    assert np.abs(back - points).max() <= 0.51e-3 * 1.01 * np.abs(points).max()


def test_classes_apart_are_all_of_the_spread_and_classes_alike_are_none():
    labels = np.repeat([3, 7], 10)
    apart = np.zeros((20, 3))
    apart[labels == 7] = 1.0
    assert _cloud(apart, labels)["between"] == 1
    alike = np.tile(np.arange(10.0)[:, None], (2, 3))
    assert _cloud(alike, labels)["between"] == pytest.approx(0, abs=1e-12)


def test_shuffled_labels_give_the_chance_stated():
    rng = np.random.default_rng(0)
    points, labels = rng.standard_normal((60, 3)), np.repeat(np.arange(4), 15)
    shuffled = [_cloud(points, rng.permutation(labels))["between"] for _ in range(400)]
    # standard error of the mean of 400 draws is about 0.001
    assert np.mean(shuffled) == pytest.approx(_cloud(points, labels)["chance"], abs=0.005)


def test_no_class_is_no_colour():
    made = _cloud(np.ones((4, 2)), np.full(4, -1))
    assert made["classes"] == []
    assert made["between"] is None


def test_layers_without_a_cloud_are_left_out():
    assert clouds([(0, {}), (1, {"projection.coordinates": np.zeros((0, 3))})]) == []
