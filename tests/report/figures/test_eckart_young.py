"""The curve of errors starts at all and keeps its end."""

import numpy as np

from lmd.report.figures.eckart_young import draw_eckart_young


def test_the_curve_keeps_first_and_last():
    errors = np.linspace(1, 0, 500).tolist()
    drawing = draw_eckart_young({"findings": {"eckart_young": {"value": errors, "baseline": errors}}}, {}, 20)
    assert drawing is not None
    assert (drawing["x"][0], drawing["x"][-1]) == (0, 499)
    assert (drawing["value"][0], drawing["value"][-1]) == (1, 0)
    assert drawing["baseline"] == drawing["value"]


def test_no_curve_no_figure():
    assert draw_eckart_young({"findings": {"eckart_young": {"value": None, "reason": "zero matrix"}}}, {}, 20) is None
