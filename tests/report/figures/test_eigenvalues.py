import numpy as np

from lmd.report.figures.eigenvalues import eigenvalue_planes

ROW = {"name": "hidden", "findings": {"spectral_radius": {"value": 2.0, "baseline": 0.5}}}


def test_coordinates_come_back() -> None:
    values = np.array([[0.0, 2.0], [0.0, -2.0], [-0.5, 0.0]])
    (plane,) = eigenvalue_planes([(0, ROW, {}), (7, ROW, {"square_map.eigenvalues": values})])
    assert (plane["layer"], plane["of"], plane["radius"], plane["random"]) == (7, 3, 2.0, 0.5)
    assert np.abs(np.reshape(plane["points"], (-1, 2)) * plane["unit"] - values).max() <= plane["unit"]


def test_of_many_eigenvalues_the_largest_are_drawn() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 2))
    (plane,) = eigenvalue_planes([(0, ROW, {"square_map.eigenvalues": values})])
    drawn = np.hypot(*np.reshape(plane["points"], (-1, 2)).T) * plane["unit"]
    assert len(drawn) < plane["of"] == 1000
    assert drawn.min() >= np.sort(np.hypot(*values.T))[-len(drawn)] - 2 * plane["unit"]


def test_the_zero_map_has_a_plane() -> None:
    (plane,) = eigenvalue_planes([(0, ROW, {"square_map.eigenvalues": np.zeros((2, 2))})])
    assert plane["points"] == [0, 0, 0, 0]


def test_recurrent_maps_come_first_and_of_the_others_a_few() -> None:
    values = {"square_map.eigenvalues": np.ones((2, 2))}
    heads = [(i, {**ROW, "view_of": "value"}, values) for i in range(40)]
    recurrent = {**ROW, "findings": {**ROW["findings"], "numerical_abscissa": {}}}
    planes = eigenvalue_planes([*heads, (40, ROW, values), (41, recurrent, values)])
    assert [plane["layer"] for plane in planes] == [41, 40, *range(23)]


def test_pseudospectra_are_powers_of_ten() -> None:
    arrays = {
        "square_map.eigenvalues": np.ones((2, 2)),
        "transient.pseudospectrum": np.array([[-0.5, 0.5], [-9.0, -2.0]]),
        "transient.reach": np.array([1.5]),
    }
    (plane,) = eigenvalue_planes([(0, ROW, arrays)])
    assert (plane["pseudo"], plane["columns"], plane["reach"]) == ([-1, 0, -6, -2], 2, 1.5)
