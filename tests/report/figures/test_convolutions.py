import numpy as np

from lmd.report.figures.convolutions import wave_pictures

KERNEL = {"name": "conv", "kind": "kernel_matrix"}
OPERATOR = {"name": "conv.operator", "kind": "conv_operator", "view_of": "conv"}
SYMBOL = {"name": "conv.symbol", "kind": "conv_symbol", "view_of": "conv"}


def test_pictures_come_back_and_know_their_rows() -> None:
    extremes = np.random.default_rng(0).random((2, 4, 6))
    (wave,) = wave_pictures([(3, KERNEL, {}), (4, OPERATOR, {}), (5, SYMBOL, {"symbol.extremes": extremes})])
    assert (wave["layer"], wave["kernel"], wave["operator"]) == (5, 3, 4)
    assert (wave["height"], wave["width"]) == (4, 6)
    drawn = np.reshape(wave["pixels"], (4, 6)) * wave["peak"] / 999
    assert np.abs(drawn - extremes[0]).max() <= wave["peak"] / 999


def test_one_axis_is_a_line_and_three_show_the_middle() -> None:
    line, cube = np.ones((2, 5)), np.zeros((2, 3, 4, 4))
    cube[0, 1] = 2.0
    first, second = wave_pictures([(0, SYMBOL, {"symbol.extremes": line}), (1, SYMBOL, {"symbol.extremes": cube})])
    assert (first["height"], first["width"], first["operator"]) == (1, 5, None)
    assert second["pixels"] == [999] * 16


def test_many_pictures_are_thinned() -> None:
    rows = [(i, SYMBOL, {"symbol.extremes": np.ones((2, 64, 64))}) for i in range(300)]
    assert all(wave["width"] * wave["height"] <= 400 for wave in wave_pictures(rows))
