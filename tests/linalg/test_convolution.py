"""Convolutions as maps: transposes, norms and bounds against the dense matrix, on random geometries of every kind."""

from dataclasses import replace
from math import prod

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.convolution_bound import norm_bound
from lmd.linalg.convolutions.padding import pad, pad_adjoint, padded_size, padding_norm
from lmd.linalg.convolutions.symbol import torus_spectrum

MODES = ("zeros", "circular", "reflect", "replicate")


@st.composite
def cases(draw, modes=MODES):
    """A geometry, a size it takes and a random kernel; small enough for the dense matrix."""
    dimensions = draw(st.sampled_from((1, 1, 2, 2, 3)))
    side = {1: 9, 2: 6, 3: 3}[dimensions]

    def axes(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dimensions))

    kernel, stride, dilation = axes(1, min(4, side)), axes(1, 3), axes(1, 2)
    size = axes(2, side)
    transposed = draw(st.booleans())
    mode = "zeros" if transposed else draw(st.sampled_from(modes))
    groups = draw(st.sampled_from((1, 1, 2)))
    channels = (groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3)))
    most = min(min(size) - 1, 2)
    if transposed:
        pads = tuple((n, n) for n in axes(0, 2))
        more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    else:
        pads, more = tuple(zip(axes(0, most), axes(0, most), strict=True)), ()
    # low-pass kernels come close to their bounds
    fields = (channels, kernel, stride, dilation, pads, mode, groups, transposed, more)
    return fields, size, draw(st.integers(0, 2**31)), draw(st.sampled_from((0.0, 2.0)))


def unpacked(case):
    # not in the strategy: checked types draw random numbers of their own
    fields, size, seed, mean = case
    geometry = Convolution(*fields)
    try:
        assume(min(geometry.output_size(size)) > 0)
    except ValueError:
        assume(False)
    generator = torch.Generator().manual_seed(seed)
    return geometry, size, mean + torch.randn(geometry.kernel_shape, dtype=torch.float64, generator=generator)


@settings(max_examples=600, deadline=None)
@given(cases())
def test_no_bound_is_below_the_norm(case):
    geometry, size, kernel = unpacked(case)
    norm = torch.linalg.matrix_norm(geometry.matrix(kernel, size), 2).item()
    for budget in (1e12, 2e4, 0.0):
        bound = norm_bound(geometry, kernel, size, budget=budget)
        assert bound.value >= norm * (1 - 1e-14), (bound, norm)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_adjoint_is_the_transpose(case):
    geometry, size, kernel = unpacked(case)
    A = geometry.matrix(kernel, size)
    y = torch.randn(2, geometry.channels[0], *geometry.output_size(size), dtype=torch.float64)
    back = geometry.adjoint(kernel, y, size)
    assert back.shape[2:] == tuple(size)
    # sums of a few hundred products
    assert torch.allclose(back.flatten(1), y.flatten(1) @ A, atol=1e-11)
    assert A.norm().item() == pytest.approx(geometry.frobenius_norm(kernel, size), rel=1e-12, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(MODES), st.integers(2, 7), st.integers(0, 6), st.integers(0, 6))
def test_padding_has_the_norm_and_the_transpose_of_its_matrix(mode, size, before, after):
    pads = ((before, after),)
    P = pad(torch.eye(size, dtype=torch.float64)[:, None], pads, mode).squeeze(1).T
    assert padding_norm((size,), pads, mode) == pytest.approx(torch.linalg.matrix_norm(P, 2).item(), rel=1e-12)
    y = torch.randn(3, 1, P.shape[0], dtype=torch.float64)
    assert torch.allclose(pad_adjoint(y, (size,), pads, mode).squeeze(1), y.squeeze(1) @ P, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(cases(modes=("zeros",)), st.integers(1, 3))
def test_a_torus_has_the_values_of_its_matrix(case, coarse):
    geometry, _, kernel = unpacked(case)
    entering = (coarse,) * geometry.dimensions
    torus = tuple(coarse * s for s in geometry.stride)
    assume(max(geometry.channels) * prod(torus) < 1500)
    pads = tuple((0, e - s) for e, s in zip(geometry.extent, geometry.stride, strict=True))
    periodic = Convolution(
        geometry.channels, geometry.kernel_size, geometry.stride, geometry.dilation, pads, "circular", geometry.groups,
        geometry.transposed,
    )  # fmt: skip
    A = periodic.matrix(kernel, entering if geometry.transposed else torus)
    found = torus_spectrum(geometry, kernel, torus)
    assert torch.allclose(found, torch.linalg.svdvals(A), atol=1e-10)


def test_circular_padding_is_bounded_exactly():
    geometry = Convolution((3, 2), (3, 3), (2, 1), (1, 1), ((1, 1), (1, 1)), "circular")
    kernel = torch.randn(geometry.kernel_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = torch.linalg.matrix_norm(geometry.matrix(kernel, (6, 5)), 2).item()
    assert norm_bound(geometry, kernel, (6, 5)).value == pytest.approx(norm, rel=1e-12)


@settings(max_examples=300, deadline=None)
@given(cases(modes=("reflect", "replicate", "circular")))
def test_borders_are_never_worse_than_the_norm_of_the_padding_map(case):
    geometry, size, kernel = unpacked(case)
    if geometry.transposed:
        return
    norm = torch.linalg.matrix_norm(geometry.matrix(kernel, size), 2).item()
    bound = norm_bound(geometry, kernel, size)
    unpadded = replace(geometry, pads=((0, 0),) * geometry.dimensions, mode="zeros")
    inner = norm_bound(unpadded, kernel, padded_size(size, geometry.pads))
    assert norm * (1 - 1e-14) <= bound.value
    assert bound.value <= inner.value * padding_norm(size, geometry.pads, geometry.mode) * (1 + 1e-12)


def test_a_bound_says_where_the_symbol_is_largest():
    geometry = Convolution((1, 1), (2,), (1,), (3,), ((3, 3),))
    kernel = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    for budget in (1e12, 2e3):
        (turn,) = norm_bound(geometry, kernel, (40,), budget=budget).turns
        # alternating three positions apart
        assert 2 * abs(torch.sin(torch.tensor(3 * torch.pi * turn)).item()) == pytest.approx(2, rel=0.01)


def test_cheaper_bounds_say_what_they_are_and_are_not_much_worse():
    geometry = Convolution((4, 4), (3, 3), (1, 1), (2, 2), ((2, 2), (2, 2)))
    kernel = torch.randn(geometry.kernel_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    size = (60, 60)
    torus, grid, patches = (norm_bound(geometry, kernel, size, budget=b) for b in (1e12, 5e5, 0.0))
    assert (torus.method, grid.method, patches.method) == ("torus", "grid", "patches")
    assert torus.value <= grid.value <= 1.1 * torus.value
    assert patches.value <= prod(geometry.kernel_size) ** 0.5 * kernel.flatten(1).norm().item()


def test_what_is_too_small_is_refused():
    geometry = Convolution((1, 1), (5,), (1,), (1,), ((0, 0),))
    with pytest.raises(ValueError, match="what the kernel reaches"):
        geometry.output_size((4,))
    with pytest.raises(ValueError, match="one for each axis"):
        geometry.output_size((4, 4))
