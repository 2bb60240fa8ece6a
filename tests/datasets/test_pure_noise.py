import pytest
import scipy.stats
import torch

from noisereg.datasets import Gaussian, StandardBasis

KINDS = [Gaussian, StandardBasis]


@pytest.mark.parametrize("kind", KINDS)
def test_every_epoch_is_fresh_and_the_same_when_asked_again(kind):
    data = kind(d=30, train_size=50)
    first, second = data.epoch_samples(0), data.epoch_samples(1)
    assert first.inputs.shape == (50, 30)
    assert not torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.labels, second.labels)
    assert torch.equal(data.epoch_samples(1).inputs, second.inputs)
    assert not torch.equal(kind(d=30, train_size=50, seed=1).epoch_samples(0).inputs, first.inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_uniform_whatever_the_input(kind):
    sample = kind(d=4, train_size=100_000).epoch_samples(3)
    side = sample.inputs.argmax(dim=1)
    counts = torch.zeros(4, 2).index_put_((side, sample.labels), torch.ones(100_000), accumulate=True)
    assert scipy.stats.chisquare(counts.flatten().numpy()).pvalue > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_through_the_sample_of_its_epoch_in_order(kind):
    data = kind(d=5, train_size=7, batch_size=3)
    data.setup()
    loader = data.train_dataloader()
    loader.set_epoch(4)
    batches = list(loader)
    assert torch.equal(torch.cat([batch["input"] for batch in batches]), data.epoch_samples(4).inputs)
    assert torch.equal(torch.cat([batch["label"] for batch in batches]), data.epoch_samples(4).labels)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(7))
    assert torch.cat([batch["draw"] for batch in batches]).tolist() == [4] * 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["d", "train_size"])
def test_sizes_must_be_positive(kind, key):
    with pytest.raises(ValueError, match=f"^{key} must be a whole number, at least 1, got 0"):
        kind(**{key: 0})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["val_size", "order"])
def test_what_has_no_meaning_for_fresh_samples_is_refused(kind, key):
    with pytest.raises(TypeError, match=key):
        kind(**{key: 1})
