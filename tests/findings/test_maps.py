"""Geometry of maps with a known answer."""

from dataclasses import replace
from math import log, sqrt

import pytest
import torch
from torch import nn

from lmd.factors.svd import factors_of
from lmd.findings.analysis import InapplicableError
from lmd.findings.geometry.maps.localisation import localisation
from lmd.findings.geometry.maps.outlier_units import outlier_units
from lmd.findings.geometry.maps.pass_bands import pass_bands
from lmd.findings.geometry.maps.polar import polar, polar_factors
from lmd.findings.geometry.maps.square_map import SquareMap, square_map
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.linalg.convolutions.bands import WORDS
from lmd.pipeline.decompose import decompose
from lmd.sources.loaders import Held
from lmd.testing import layers_of


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(n: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(n, n, seed=seed))[0]


def dense(W: torch.Tensor) -> LayerMatrix:
    return LayerMatrix("layer", "dense", tuple(W.shape), Held("W", W))


def thin(L: torch.Tensor, R: torch.Tensor) -> ThinProduct:
    return ThinProduct("head", "value_output", (len(L), R.shape[1]), Held("LR", stacked(L, R)), inner=len(R))


def square(layer: LayerMatrix) -> SquareMap:
    return square_map(layer, factors_of(layer))


def householder(n: int) -> torch.Tensor:
    v = gaussian(n, 1)
    return torch.eye(n, dtype=torch.float64) - 2 * v @ v.T / v.square().sum()


def test_an_orthogonal_map_only_turns():
    found = polar(factors_of(3 * orthogonal(12)))
    assert found.isometry_distance.value == pytest.approx(0.0, abs=1e-12)
    assert found.isometry_constant.value == pytest.approx(0.0, abs=1e-9)
    assert found.log_volume.value == pytest.approx(12 * log(3))
    assert (found.null_dimension.value, found.ignored_dimension.value, found.missed_dimension.value) == (0, 0, 0)


def test_a_projection_loses_what_it_flattens():
    U = orthogonal(10)[:, :4]
    found = polar(factors_of(U @ U.T))
    assert found.log_volume.value == pytest.approx(0.0, abs=1e-9)
    assert (found.null_dimension.value, found.ignored_dimension.value, found.missed_dimension.value) == (6, 6, 6)
    assert found.isometry_distance.value == pytest.approx(1 - 4 / 10)


def test_weak_inputs_are_ignored_and_not_null():
    found = polar(factors_of(torch.diag(torch.tensor([1.0, 0.5, 0.005, 0.0]))))
    assert (found.null_dimension.value, found.ignored_dimension.value) == (1, 2)


def test_a_gaussian_matrix_is_as_far_from_an_isometry_as_its_baseline():
    found = polar(factors_of(gaussian(300, 300))).isometry_distance
    assert found.value == pytest.approx(found.baseline, rel=0.03)
    assert found.baseline == pytest.approx(1 - 64 / (9 * torch.pi**2), abs=2e-3)


def test_polar_factors_are_the_matrix_again_and_say_what_was_left_out():
    W = gaussian(7, 5)
    whole = polar_factors(factors_of(W, vectors=None))
    assert whole.complete
    assert torch.allclose(whole.rotation @ whole.stretch, W, atol=1e-12)
    assert torch.allclose(whole.rotation.T @ whole.rotation, torch.eye(5, dtype=torch.float64), atol=1e-12)
    assert not polar_factors(factors_of(W, vectors=2)).complete


def test_the_identity_copies():
    found = square(dense(torch.eye(8)))
    assert found.copying_score.value == 1.0
    assert found.symmetric_share.value == pytest.approx(1.0, abs=1e-12)
    assert found.closeness_to_identity.value == pytest.approx(1.0)
    assert found.rotation_angle.value == pytest.approx(0.0, abs=1e-5)
    assert found.orientation.value == 1


def test_a_reflection_is_said():
    found = square(dense(householder(9)))
    assert found.orientation.value == -1
    assert found.spectral_radius.value == pytest.approx(1.0)
    assert found.henrici_departure.value <= max(found.henrici_departure.error, 1e-7)
    assert found.rotation_angles[-1].item() == pytest.approx(180.0, abs=1e-4)
    assert found.copying_score.value == pytest.approx(7 / 9)


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.5])
def test_a_planar_rotation_turns_by_its_angle(angle):
    c, s = torch.tensor(angle).double().cos(), torch.tensor(angle).double().sin()
    plane = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
    found = square(dense(2 * torch.block_diag(plane, plane)))
    assert found.rotation_angle.value == pytest.approx(float(torch.tensor(angle).rad2deg()), abs=1e-5)
    assert found.copying_score.value == pytest.approx(c.item())
    assert found.closeness_to_identity.value == pytest.approx(c.item())


def test_a_singular_map_has_no_orientation():
    assert "flattens" in square(dense(torch.diag(torch.tensor([1.0, 0.0])))).orientation.reason


def test_a_head_that_copies_and_one_that_inhibits():
    L = gaussian(40, 6)
    assert square(thin(L, L.T)).copying_score.value == pytest.approx(1.0, abs=1e-9)
    assert square(thin(L, -L.T)).copying_score.value == pytest.approx(-1.0, abs=1e-9)
    assert square(thin(L, L.T)).rotation_angle.value == pytest.approx(0.0, abs=1e-5)
    assert square(thin(L, -L.T)).rotation_angle.value == pytest.approx(180.0, abs=1e-5)


@pytest.mark.parametrize("inner", [3, 8])
def test_a_head_is_as_its_whole_matrix(inner):
    L, R = gaussian(8, inner), gaussian(inner, 8, seed=1)
    head, whole = square(thin(L, R)), square(dense(L @ R))
    for key in ("spectral_radius", "henrici_departure", "symmetric_share", "closeness_to_identity", "copying_score"):
        assert getattr(head, key).value == pytest.approx(getattr(whole, key).value, abs=1e-6), key


def test_random_maps_and_heads_are_like_their_baselines():
    for layer in (dense(gaussian(200, 200)), thin(gaussian(200, 50), gaussian(50, 200, seed=1))):
        found = square(layer)
        assert found.symmetric_share.value == pytest.approx(found.symmetric_share.baseline, abs=0.02)
        # the cosine with the identity scatters by 1/n
        assert abs(found.closeness_to_identity.value) < 4 / 200
        assert found.rotation_angle.value == pytest.approx(90.0, abs=15)
        assert found.henrici_departure.value == pytest.approx(found.henrici_departure.baseline, rel=0.02)


def test_a_map_that_is_not_square_says_so():
    with pytest.raises(InapplicableError, match="3 outputs and 2 inputs"):
        square(dense(gaussian(3, 2)))


def test_a_diagonal_map_is_its_own_eigenvalues():
    row = layers_of(nn.LayerNorm(4))["weight"]
    assert square(row).spectral_radius.value == 1.0


def test_the_unit_that_carries_a_direction_is_named():
    W = 0.01 * gaussian(60, 40)
    W[17, 5] = 3.0
    found = localisation(factors_of(W))
    assert (found.units_out[0, 0].item(), found.units_in[0, 0].item()) == (17, 5)
    assert found.participation_in.value[0] == pytest.approx(1.0, abs=0.02)
    assert found.localised_out.value >= 1


def test_random_directions_are_not_localised():
    found = localisation(factors_of(gaussian(300, 300)))
    assert found.localised_in.value <= 1
    assert sum(found.participation_in.value) / 32 == pytest.approx(found.participation_in.baseline[0], rel=0.1)


def test_outlier_units_are_counted():
    W = gaussian(300, 200)
    assert outlier_units(dense(W)).outlier_inputs.value == 0
    W[:, 9] *= 5
    found = outlier_units(dense(W))
    assert (found.outlier_inputs.value, found.outlier_outputs.value) == (1, 0)
    assert found.column_norms.argmax() == 9
    assert found.largest_input.value > 4 > found.largest_input.baseline
    assert torch.allclose(found.row_norms, W.norm(dim=1))


def test_norms_of_a_product_are_those_of_its_matrix():
    L, R = gaussian(9, 2), gaussian(2, 7, seed=1)
    found = outlier_units(thin(L, R))
    assert torch.allclose(found.row_norms, (L @ R).norm(dim=1))
    assert torch.allclose(found.column_norms, (L @ R).norm(dim=0))


@pytest.mark.parametrize(
    ("taps", "word"), [([1.0, 2.0, 1.0], "low-pass"), ([-1.0, 2.0, -1.0], "high-pass"), ([1.0, 0.0, -1.0], "band-pass")]
)
def test_known_filters_have_their_names(taps, word):
    module = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    module.weight.data = torch.tensor(taps)[None, None]
    found = pass_bands(layers_of(module, (1, 48))["symbol"])
    assert WORDS[found.passes[0]] == word
    shares = [getattr(found, key).value[0] for key in ("low_band", "middle_band", "high_band")]
    assert sum(shares) == pytest.approx(1.0)


def test_a_blur_and_an_edge_in_two_dimensions():
    module = nn.Conv2d(2, 2, 3, padding=1, bias=False)
    blur = torch.tensor([1.0, 2.0, 1.0])[:, None] * torch.tensor([1.0, 2.0, 1.0])
    checks = torch.tensor([1.0, -2.0, 1.0])[:, None] * torch.tensor([1.0, -2.0, 1.0])
    module.weight.data = torch.zeros(2, 2, 3, 3)
    module.weight.data[0, 0], module.weight.data[1, 1] = 2 * blur, checks
    found = pass_bands(layers_of(module, (2, 18, 18))["symbol"])
    assert [WORDS[word] for word in found.passes] == ["low-pass", "high-pass"]
    assert (found.low_pass_directions.value, found.high_pass_directions.value) == (1, 1)


def test_a_single_tap_passes_everything():
    whole = layers_of(nn.Conv2d(2, 2, 3), (2, 4, 4))["symbol"]
    flat = replace(
        whole,
        geometry=replace(whole.geometry, kernel_size=(1, 1)),
    )
    with pytest.raises(InapplicableError, match="alike"):
        pass_bands(flat)


def test_layers_that_pass_on_what_was_written_are_coupled():
    first, second = nn.Linear(60, 50, bias=False), nn.Linear(50, 40, bias=False)
    U, V = orthogonal(50).float(), orthogonal(60, 1).float()
    sizes = torch.logspace(1, -1, 50)
    first.weight.data = (U * sizes) @ V[:50]
    second.weight.data = orthogonal(40, 2).float() * sizes[:40] @ U.T[:40]
    rows = {row["name"]: row for row in decompose(nn.Sequential(first, second)).document()["layers"]}
    found = rows["1.weight" if "1.weight" in rows else "1"]["findings"]
    # both have the same directions in the same order: the sum over products of equal values
    S = sizes[:32].square()
    assert found["coupling_top"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert found["coupling_overlap"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert found["coupling"]["value"] == pytest.approx((S.norm() / S.sum()).item(), rel=1e-4)
    assert found["coupling"]["baseline"] == pytest.approx(1 / sqrt(50))
    assert "order of the modules" in found["coupling"]["reason"]


def test_independent_layers_are_as_coupled_as_chance():
    torch.manual_seed(0)
    rows = decompose(nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 100))).layers
    found = rows[-1].entry["findings"]
    assert found["coupling"]["value"] == pytest.approx(found["coupling"]["baseline"], rel=0.1)
    assert rows[0].entry["findings"]["coupling"]["reason"].startswith("no row before")


def test_a_saved_atlas_holds_the_coupling(tmp_path):
    module = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    kept = decompose(module).layers[-1].entry["findings"]["coupling"]
    saved = decompose(module, out=tmp_path / "atlas")
    assert saved.layers[-1].entry["findings"]["coupling"] == kept
    assert type(saved).load(tmp_path / "atlas").layers[-1].entry["findings"]["coupling"] == kept


def test_pseudospectra_only_when_asked():
    module = nn.RNN(3, 4, bias=False)
    module.weight_hh_l0.data = torch.diag(torch.full((3,), 2.0), 1) + 0.5 * torch.eye(4)
    without = decompose(module).layers[1].entry["findings"]["kreiss_constant"]
    assert "PseudospectraOption" in without["reason"]
    record = decompose(module, pseudospectra=True).layers[1]
    assert record.entry["findings"]["kreiss_constant"]["value"] > 2
    assert record.entry["findings"]["kreiss_constant"]["direction"] == "lower"
    assert record.arrays()["transient.pseudospectrum"].shape == (21, 41)
