import pytest

from benchmarks import counting


def test_the_share_is_what_counts_add_to_all_that_is_done_between_two_evaluations():
    cost = counting.Cost(step=2.0, plain=10.0, counted=13.0)
    assert cost.share(num_steps=45, num_batches=1) == pytest.approx(3 / (90 + 10))


def test_every_model_has_its_default_intervals_and_a_small_trial_of_one_runs(monkeypatch):
    found = {}

    def remember(_cost, **given):
        found.update(given)
        return 0.0

    monkeypatch.setattr(counting.Cost, "share", remember)
    counting.measure("vit_tiny", rounds=1, eval_batch=10)
    # conf: batches of 128, every 2 epochs, 10,000 test and 10,000 training images
    assert found == {"num_steps": 2 * 60_000 / 128, "num_batches": 20_000 / 10}
