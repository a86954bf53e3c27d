"""Waves of the most stretched frequency: exact on a torus, nearly so on a large input."""

import pytest
import torch

from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.convolution_bound import norm_bound
from lmd.linalg.convolutions.waves import leading_waves

CASES = [
    ("zeros", (1, 1), (1, 1), 1, 0.02),
    ("zeros", (2, 1), (1, 2), 2, 0.02),
    ("circular", (1, 1), (1, 1), 1, 1e-7),
    ("circular", (2, 3), (1, 1), 1, 1e-7),
    ("reflect", (1, 1), (1, 1), 1, 0.3),
]


@pytest.mark.parametrize(("mode", "stride", "dilation", "groups", "loss"), CASES)
def test_the_first_wave_is_stretched_nearly_as_much_as_any(mode, stride, dilation, groups, loss):
    geometry = Convolution((4, 4), (3, 3), stride, dilation, ((2, 1), (0, 2)), mode, groups)
    kernel = torch.randn(geometry.kernel_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    size = (36, 36) if mode == "circular" else (35, 41)
    geometry = geometry if mode != "circular" else Convolution((4, 4), (3, 3), stride, dilation, ((1, 1), (1, 1)), mode)
    bound = norm_bound(geometry, kernel, size)
    waves = leading_waves(geometry, kernel, size, bound.turns, 6)
    assert waves.shape[1] == 4 * size[0] * size[1]
    y = geometry.apply(kernel, waves[:1].reshape(1, 4, *size))
    symbol = (
        bound.value
        if mode != "reflect"
        else norm_bound(Convolution((4, 4), (3, 3), stride, dilation, ((2, 1), (0, 2))), kernel, size).value
    )
    assert y.norm() >= (1 - loss) * symbol * waves[0].norm()


def test_a_real_frequency_has_no_second_phase():
    geometry = Convolution((1, 1), (3,), (1,), (1,), ((1, 1),))
    kernel = torch.ones(1, 1, 3, dtype=torch.float64)
    waves = leading_waves(geometry, kernel, (20,), (0.0,), 3)
    # half waves of one, two and three: none twice
    signs = (waves[:, 1:] * waves[:, :-1] < 0).sum(dim=1)
    assert signs.tolist() == [0, 1, 2]
