"""Which directions survive rounding: known answers, forms that have none, and a share of the calibration."""

from collections import Counter

import pytest
import torch
from benchmarks.identifiability import counts, matrices, pooled, upper_limit
from torch import nn

from lmd.factors.svd import factors_of, randomised_factors
from lmd.findings.analysis import InapplicableError
from lmd.findings.geometry.chance.identifiability import Rounding, identifiability, mixed_spans
from lmd.findings.stored_noise import noise_of_rounding
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.linalg.rounding.entry_noise import direction_noise
from lmd.linalg.rounding.steps import dithered, rounding_steps
from lmd.pipeline.decompose import decompose
from lmd.sources.derived_loaders import Difference
from lmd.sources.loaders import Combined, Held
from tests.shared_models import shared_model


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(values: list[float], out: int = 30, inn: int = 20) -> torch.Tensor:
    k = len(values)
    U, V = torch.linalg.qr(gaussian(out, k))[0], torch.linalg.qr(gaussian(inn, k, seed=1))[0]
    return (U * torch.tensor(values)) @ V.T


def found_of(W: torch.Tensor, name: str = "stored", **how):
    layer = LayerMatrix("a", "dense", (W.shape[0], W.shape[1]), Held("a", W))
    return identifiability(factors_of(layer, **how), layer, Rounding(name))


def test_close_neighbours_are_a_block_and_the_others_stand_alone():
    found = found_of(planted([8.0, 4.0, 2.0, 1.999, 1.0]), "bf16", vectors=5)
    assert found.stable.tolist() == [1, 1, 0, 0, 1]
    assert mixed_spans(found) == [[3, 4]]
    assert (found.stable_directions.value, found.direction_blocks.value, found.largest_block.value) == (3, 4, 2)
    assert found.turned_by.value[0] < 1
    assert found.turned_by.value[2] > 5


def test_coarser_types_turn_directions_further():
    W = planted([8.0, 4.0, 2.0, 1.0])
    angles = [found_of(W, name, vectors=4).turned_by.value[3] for name in ("float32", "float16", "bf16", "fp8", "int4")]
    assert angles == sorted(angles)
    assert found_of(W, vectors=4).turned_by.value == found_of(W, "float32", vectors=4).turned_by.value


def test_the_stored_type_is_that_of_the_numbers():
    W = planted([8.0, 4.0, 2.0]).bfloat16()
    stored, named = found_of(W, vectors=3), found_of(W, "bf16", vectors=3)
    assert stored.turned_by.value == pytest.approx(named.turned_by.value)


@pytest.mark.parametrize("shape", [(1500, 900), (900, 1500), (10, 30)])
@pytest.mark.parametrize("name", ["bf16", "fp8", "int8", "int4"])
def test_panels_give_what_the_whole_gives(shape, name):
    W = gaussian(*shape)
    layer = LayerMatrix("a", "dense", shape, Held("a", W))
    kept = randomised_factors(layer, 2)
    whole = direction_noise([rounding_steps(W, name).square() / 12], kept.U, kept.Vh)
    found = noise_of_rounding(layer, kept, name)
    # variances are summed in float32
    assert torch.allclose(found.pairs, whole.pairs, rtol=1e-5)
    assert torch.allclose(found.right_norm, whole.right_norm, rtol=1e-5)


def test_of_a_product_both_factors_are_rounded():
    L, R = planted([4.0, 2.0, 1.0], 12, 5)[:, :3], planted([3.0, 2.0, 1.0], 3, 9)
    layer = ThinProduct("a", "dense", (12, 9), Combined(stacked, (Held("L", L), Held("R", R)), (21, 3)), inner=3)
    factors = factors_of(layer)
    found = identifiability(factors, layer, Rounding("bf16"))
    squares = torch.zeros(3, dtype=torch.float64)
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        turned = factors_of(dithered(L, "bf16", generator) @ dithered(R, "bf16", generator))
        squares += (1 - (turned.Vh[:3] * factors.Vh).sum(1).square()) / 300
    assert found.angle_in.tolist() == pytest.approx(torch.rad2deg(squares.sqrt().asin()).tolist(), rel=0.15)
    with pytest.raises(InapplicableError, match="whole stored tensors"):
        identifiability(factors, layer, Rounding("int8"))


def test_what_has_no_answer_says_why():
    W = gaussian(12, 9)
    layer = LayerMatrix("a", "dense", (12, 9), Held("a", W))
    with pytest.raises(InapplicableError, match="no singular vectors"):
        identifiability(factors_of(layer, vectors=0), layer, Rounding())
    with pytest.raises(InapplicableError, match="leading"):
        identifiability(randomised_factors(layer, 2), layer, Rounding())
    zero = LayerMatrix("a", "dense", (12, 9), Held("a", 0 * W))
    with pytest.raises(InapplicableError, match="zero matrix"):
        identifiability(factors_of(zero), zero, Rounding())
    difference = LayerMatrix("a", "difference", (12, 9), Difference(Held("a", W), Held("b", 0 * W)))
    with pytest.raises(InapplicableError, match="difference"):
        identifiability(factors_of(difference), difference, Rounding())
    computed = LayerMatrix("a", "dense", (12, 9), Combined(torch.clone, (Held("a", W.half()),), (12, 9)))
    with pytest.raises(InapplicableError, match="choose a type"):
        identifiability(factors_of(computed), computed, Rounding())
    assert identifiability(factors_of(computed), computed, Rounding("bf16")).stable.shape == (9,)


def test_the_option_reaches_every_layer_and_unknown_types_are_refused():
    module = nn.Sequential(nn.Linear(20, 30), nn.Conv2d(2, 3, 3))
    by_type = [decompose(module, rounding=name, vectors=8) for name in ("float32", "int4")]
    counts_of = [[row["stable_directions"] for row in atlas.rows()][:2] for atlas in by_type]
    assert counts_of[0] == [8, 3]
    assert sum(counts_of[1]) < 11
    assert by_type[1].layers[0].entry["mixed"]
    with pytest.raises(ValueError, match="rounding='int3' must be one of stored, float32"):
        decompose(module, rounding="int3")


def test_a_mixed_first_direction_couples_nothing():
    module = nn.Sequential(nn.Linear(20, 20, bias=False), nn.Linear(20, 20, bias=False))
    for layer in module:
        layer.weight.data = planted([4.0, 3.999, 1.0], 20, 20)
    top = decompose(module, rounding="int4").layers[1].entry["findings"]["coupling_top"]
    assert top["value"] is None
    assert "rounding turns it" in top["reason"]
    assert decompose(module).layers[1].entry["findings"]["coupling_top"]["value"] is not None


def test_few_directions_declared_stable_turn_further():
    whole = Counter()
    for seed in range(4):
        W = gaussian(48, 64, seed=seed) * torch.exp(gaussian(48, 1, seed=seed + 9))
        for name in ("bf16", "int8"):
            whole += counts(W, name, 5, 100 * seed)["0.005"]
    assert whole["declared"] > 800
    assert whole["wrong"] <= 2
    assert whole["found"] > 0.6 * whole["truly"]


def test_a_share_of_the_calibration():
    layers = matrices(str(shared_model("resnet20-cifar10/resnet20-12fca82f.th")))
    W = next(one for one in layers if one.name == "layer3.1.conv1").load()
    found = {
        ("ResNet-20", name, level): tally
        for name in ("bf16", "fp8", "int8")
        for level, tally in counts(W, name, 5, 0).items()
    }
    whole = pooled(found)["0.005"]["all"]
    assert whole["declared"] > 400
    assert whole["wrong"] <= 1
    assert whole["recall"] > 0.5


def test_the_upper_limit_is_that_of_clopper_and_pearson():
    # none of n: 1 - 0.05^(1/n)
    assert upper_limit(0, 3000) == pytest.approx(1 - 0.05 ** (1 / 3000))
    assert upper_limit(5, 5) == 1.0
