"""What a parameter's own name and shape say."""

import pytest

from lmd.sources.rules.raw_tensors import raw_role


@pytest.mark.parametrize(
    ("name", "shape", "role"),
    [
        ("gamma", (8,), "scale"),
        ("layer_scale", (8,), "scale"),
        ("time_mix_key", (1, 1, 8), "scale"),
        ("scale", (1, 1, 8), "scale"),
        ("bias", (8,), None),
        ("mean", (8,), None),
        ("logit", (), None),
        ("scale", (0,), None),
        ("cls_token", (1, 1, 8), "table"),
        ("pos_embed", (1, 197, 8), "table"),
        ("relative_position_bias_table", (169, 3), "table"),
        ("gate_up_proj_bias", (4, 8), "table"),
        ("att_src", (1, 2, 5), "table"),
        ("context", (8, 1), "matrix"),
        ("proj", (8, 8), "matrix"),
        ("weight", (3, 0), None),
        ("tensor_product", (3, 4, 5), "stack"),
    ],
)
def test_raw_role(name, shape, role):
    assert raw_role(name, shape) == role
