"""The demo's network: trained in seconds, the same each time, and worth looking at."""

from time import process_time

import pytest
import torch
from torch import nn

from lmd.demo import Digits, digits, train


@pytest.fixture(name="data", scope="module")
def _data() -> Digits:
    return digits(0)


def test_the_data_are_split_by_class_and_seed(data: Digits) -> None:
    assert (tuple(data.train_inputs.shape), tuple(data.test_inputs.shape)) == ((1437, 64), (360, 64))
    assert data.train_inputs.dtype == torch.float32
    assert 0 <= data.train_inputs.min() < data.train_inputs.max() <= 1
    train_share, test_share = (labels.bincount() / len(labels) for labels in (data.train_labels, data.test_labels))
    # one example more or less in 360
    assert torch.allclose(train_share, test_share, atol=1 / 360)
    assert torch.equal(digits(0).test_labels, data.test_labels)
    assert not torch.equal(digits(1).test_labels, data.test_labels)


def test_training_is_fast_good_and_repeatable(data: Digits) -> None:
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    began = process_time()
    model, known = train(data, 0)
    # seconds of processor: the wall clock belongs to all who use the machine
    assert process_time() - began < 15
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    assert torch.equal(random, torch.get_rng_state())
    assert known["accuracy_test"] > 0.95
    assert known["accuracy_train"] > 0.99
    with torch.no_grad():
        right = (model(data.test_inputs).argmax(dim=1) == data.test_labels).float().mean().item()
    assert known["accuracy_test"] == pytest.approx(right, abs=1e-6)
    assert not any(module.training for module in model.modules())
    assert [tuple(m.weight.shape) for m in model if isinstance(m, nn.Linear)] == [(128, 64), (64, 128), (10, 64)]
    again, _ = train(data, 0)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
