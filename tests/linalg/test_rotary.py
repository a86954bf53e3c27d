"""Frequencies as the library of their inventors computes them; turning keeps lengths and adds up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.linalg.rotary import attention_factor, rotary_frequencies, rotated

TYPES = [
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "dynamic", "factor": 4.0},
    {"rope_type": "proportional", "partial_rotary_factor": 0.25},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "truncate": False, "beta_fast": 16},
    {
        "rope_type": "longrope",
        "factor": 4.0,
        "short_factor": [1.0 + 0.1 * i for i in range(16)],
        "long_factor": [2.0] * 16,
        "original_max_position_embeddings": 64,
    },
    {
        "rope_type": "yarn",
        "factor": 4.0,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
        "original_max_position_embeddings": 64,
    },
    {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5, "original_max_position_embeddings": 64},
]


@pytest.mark.parametrize("scaling", TYPES, ids=lambda s: s["rope_type"])
def test_frequencies_are_the_librarys(scaling: dict[str, object]) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = transformers.LlamaConfig(
        hidden_size=64,
        num_attention_heads=2,
        max_position_embeddings=256,
        rope_parameters={"rope_theta": 1000.0, **scaling},
    )
    library = LlamaRotaryEmbedding(config)
    theirs = library.inv_freq
    ours = torch.tensor(rotary_frequencies(32, 1000.0, scaling))
    # the library computes in float32
    torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=0.0)
    assert attention_factor(scaling) == pytest.approx(library.attention_scaling, rel=1e-12)


def test_a_stretch_that_is_not_said_is_that_of_the_lengths() -> None:
    lengths = {"original_max_position_embeddings": 64, "max_position_embeddings": 256}
    for kind in ("yarn", "longrope"):
        said = {"rope_type": kind, "factor": 4.0, **lengths}
        assert attention_factor({**said, "factor": None}) == attention_factor(said) > 1.0


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="'mystery' are not known"):
        rotary_frequencies(4, 10.0, {"rope_type": "mystery"})


@given(st.integers(-50, 50), st.integers(-50, 50), st.booleans())
def test_turning_keeps_lengths_and_adds_up(first: int, second: int, interleaved: bool) -> None:
    rows = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frequencies = torch.tensor([1.0, 0.1], dtype=torch.float64)
    once = rotated(rows, first * frequencies, interleaved=interleaved)
    twice = rotated(once, second * frequencies, interleaved=interleaved)
    # float64, angles below 100 radians
    torch.testing.assert_close(once.norm(dim=0), rows.norm(dim=0), rtol=1e-13, atol=0.0)
    torch.testing.assert_close(
        twice, rotated(rows, (first + second) * frequencies, interleaved=interleaved), rtol=1e-12, atol=1e-12
    )
    assert torch.equal(once[4:], rows[4:])
