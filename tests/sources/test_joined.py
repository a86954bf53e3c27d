"""Tensors in pieces read as one, and a slice of them reads only what it touches."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.sources.joined import Joined, Renamed, Stacked
from lmd.sources.loaders import Held
from lmd.sources.recipes import Recipe, renamed
from lmd.testing import Unreadable


def held(count: int, *shape: int) -> tuple[Held, ...]:
    numbers = torch.arange(count * torch.Size(shape).numel(), dtype=torch.float32)
    return tuple(Held(f"t{i}", part) for i, part in enumerate(numbers.view(count, *shape)))


@given(st.data(), st.sampled_from([0, 1]), st.sampled_from([0, 1]))
def test_a_slice_of_joined_pieces_is_the_slice_of_the_whole(data: st.DataObject, axis: int, dim: int) -> None:
    loader = Joined(held(3, 4, 5), axis)
    whole = loader()
    assert loader.shape == tuple(whole.shape)
    start = data.draw(st.integers(0, loader.shape[dim]))
    length = data.draw(st.integers(0, loader.shape[dim] - start))
    part = loader.narrow(dim, start, length)
    assert part.shape == tuple(part().shape)
    assert torch.equal(part(), whole.narrow(dim, start, length))
    assert torch.equal(pickle.loads(pickle.dumps(part))(), part())


def test_one_entry_of_a_stack_is_read_without_the_others() -> None:
    first, second = held(2, 4, 5)
    loader = Stacked((Unreadable(("never",), (4, 5)), second, first))
    assert loader.shape == (3, 4, 5)
    assert torch.equal(loader.narrow(0, 1, 1)(), second()[None])
    assert torch.equal(loader.narrow(0, 1, 2).narrow(2, 1, 3)(), torch.stack([second(), first()])[..., 1:4])
    assert loader.narrow(0, 2, 1).tensors == ("t0",)


@pytest.mark.parametrize("loader", [Joined(held(2, 3, 3)), Stacked(held(2, 3, 3))])
def test_slices_outside_are_refused(loader: Joined | Stacked) -> None:
    with pytest.raises(ValueError, match="stay inside"):
        loader.narrow(0, 1, 9)
    with pytest.raises(ValueError, match="at least one"):
        Stacked(held(2, 3, 3)).narrow(0, 0, 0)


def test_recipes_stack_join_cut_and_rename() -> None:
    loaders = {f"t{i}": loader for i, loader in enumerate(held(4, 2, 3))}
    experts = Recipe((("t0", "t1"), ("t2", "t3")), stacked=True, axis=1)
    found = experts.loader("experts", loaders)
    assert isinstance(found, Renamed)
    assert found.tensors == ("experts",)
    assert found.shape == renamed({"experts": experts}, dict.fromkeys(loaders, (2, 3)))["experts"] == (2, 4, 3)
    both = torch.stack([torch.cat([loaders["t0"](), loaders["t2"]()]), torch.cat([loaders["t1"](), loaders["t3"]()])])
    assert torch.equal(found(), both)
    assert torch.equal(found.narrow(0, 1, 1)(), both[1:])
    half = Recipe((("t0",),), piece=(0, 1, 2)).loader("half", loaders)
    assert torch.equal(half(), loaders["t0"]()[1:])


def test_pieces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must agree"):
        renamed({"x": Recipe((("a", "b"),), stacked=True)}, {"a": (2, 3), "b": (3, 3)})
