import math

import pytest
import torch

from noisereg.datasets import Parity


def load(**settings):
    data = Parity(**settings)
    data.setup()
    return data.splits["train"], data.splits["test"]


def test_the_label_is_the_parity_of_the_first_bits():
    train, test = load(d=6, k=3, train_size=50, test_size=50)
    for split in (train, test):
        negative = [sum(value < 0 for value in row[:3]) for row in split.inputs.tolist()]
        assert split.labels.tolist() == [int(count % 2 == 0) for count in negative]


def test_inputs_are_uniform_on_the_corners():
    _, test = load(d=3, k=1, test_size=80_000)
    assert set(test.inputs.unique().tolist()) == {-1.0, 1.0}
    corners = test.inputs.gt(0).long() @ torch.tensor([1, 2, 4])
    counts = torch.bincount(corners, minlength=8).double()
    assert (counts - 10_000).abs().max() < 5 * math.sqrt(10_000)


def test_a_parity_does_not_depend_on_one_of_its_bits_alone():
    _, test = load(d=4, k=4, test_size=40_000)
    for column in test.inputs.T:
        assert abs((column * (2 * test.labels - 1)).mean()) < 5 / math.sqrt(40_000)


def test_train_and_test_and_seeds_differ():
    train, test = load(train_size=100, test_size=100)
    other, _ = load(train_size=100, test_size=100, seed=1)
    assert not torch.equal(train.inputs, test.inputs)
    assert not torch.equal(train.inputs, other.inputs)


@pytest.mark.parametrize(("settings", "words"), [({"k": 0}, "k must be"), ({"d": 3, "k": 4}, r"k must be in \[1, d\]")])
def test_a_parity_of_no_bits_or_too_many_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Parity(**settings)
