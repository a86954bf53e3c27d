import gguf
import numpy
import pytest
import torch
from torch import nn

from lmd.factors.svd import factors_of
from lmd.findings.analysis import InapplicableError
from lmd.findings.geometry.chance.rounding_floor import rounding_floor
from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.chance.uneven_noise import uneven_noise_edge
from lmd.pipeline.decompose import decompose
from lmd.sources.derived_loaders import Transposed
from lmd.sources.gguf.gguf_file import read
from lmd.sources.joined import Joined, Renamed, Stacked
from lmd.sources.loaders import Held
from lmd.sources.rounding import rounding_of
from tests.sources.gguf.converting import write

TYPES = ("BF16", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4")


def drawn(form, seed):
    draw = numpy.random.default_rng(seed)
    X = draw.standard_normal((128, 256))
    if form == "rows":
        X *= numpy.exp(draw.standard_normal((128, 1)))
    if form == "falling":
        U, _, Vh = numpy.linalg.svd(X, full_matrices=False)
        X = (U * (numpy.arange(1, 129) ** -0.7)) @ Vh
    return X.astype(numpy.float32)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("form", ["even", "rows", "falling"])
def test_the_floor_is_the_norm_of_the_error_that_was_made(kind, form, tmp_path):
    for seed in range(3):
        X = drawn(form, seed)
        loader = read(str(write(tmp_path / "m.gguf", "none", {}, {"a.weight": X}, kind=kind))).loaders["a.weight"]
        layer = LayerMatrix("a", "dense", X.shape, loader)
        found = rounding_floor(factors_of(layer), layer)
        error = loader().double() - torch.from_numpy(X)
        # of 8 draws each: 0.82 to 1.02
        assert 0.78 < torch.linalg.matrix_norm(error, 2).item() / found.floor_spectral_norm.value < 1.1
        size = found.floor_ratio.value * torch.linalg.matrix_norm(loader().double()).item()
        assert size == pytest.approx(torch.linalg.matrix_norm(error).item(), rel=0.08)
        assert found.floor_spectrum.norm().item() == pytest.approx(size)


def test_equal_columns_have_equal_errors():
    W = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).half()
    W[10:] = W[10]
    layer = LayerMatrix("a", "dense", (40, 8), Held("a", W))
    one = LayerMatrix("a", "dense", (40, 8), Held("a", W + torch.linspace(0, 0.2, 40)[:, None].half()))
    floors = [rounding_floor(factors_of(row), row).floor_spectral_norm.value for row in (layer, one)]
    assert floors[0] > 1.5 * floors[1]


def test_the_edge_of_even_noise_is_that_of_marchenko_and_pastur():
    assert uneven_noise_edge(numpy.full(64, 100.0), numpy.full(100, 64.0)) == pytest.approx(8 + 10)
    assert uneven_noise_edge(numpy.zeros(3), numpy.zeros(2)) == 0.0


def test_the_edge_of_uneven_noise_is_where_a_large_draw_ends():
    draw = numpy.random.default_rng(0)
    rows, columns = numpy.exp(draw.standard_normal(600)), numpy.exp(0.5 * draw.standard_normal(400))
    noise = numpy.sqrt(rows)[:, None] * draw.standard_normal((600, 400)) * numpy.sqrt(columns)
    edge = uneven_noise_edge(rows * columns.sum(), columns * rows.sum())
    assert numpy.linalg.norm(noise, 2) == pytest.approx(edge, rel=0.05)


def test_numbers_of_a_small_type_lie_half_a_spacing_from_their_neighbours():
    numbers = torch.tensor([[1.0, -3.0, 0.0, 6e-8, 1000.0]])
    step = torch.tensor([[2.0**-10, 2.0**-9, 2.0**-24, 2.0**-24, 0.5]], dtype=torch.float64)
    found = rounding_of(Held("x", numbers.half()))
    assert found is not None
    assert torch.allclose(found() * 12**0.5, step)
    assert torch.allclose(found.narrow(1, 1, 3)() * 12**0.5, step[:, 1:4])


def test_loaders_made_of_others_pass_it_on():
    half, full = Held("x", torch.ones(2, 3).half()), Held("x", torch.ones(2, 3))
    assert rounding_of(full) is None
    assert rounding_of(Joined((half, full))) is None
    for made in (Joined((half, half)), Stacked((half, half)), Transposed(half), Renamed("y", half)):
        found = rounding_of(made)
        assert found is not None
        assert found().shape == made().shape == made.shape


def test_what_is_not_rounded_says_so():
    atlas = decompose(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)))
    reasons = [row.entry["findings"]["floor_ratio"]["reason"] for row in atlas.layers]
    assert "quantised or half-precision" in reasons[0]
    assert "one stored matrix" in reasons[1]


def test_a_scale_that_is_no_number_is_a_reason(tmp_path):
    blocks = numpy.full((2, 34), 0xFF, dtype=numpy.uint8)
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "none")
    writer.add_tensor("a.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    layer = LayerMatrix("a", "dense", (2, 32), read(str(tmp_path / "m.gguf")).loaders["a.weight"])
    with pytest.raises(InapplicableError, match="scale that is no number"):
        rounding_floor(factors_of(torch.ones(2, 32)), layer)
