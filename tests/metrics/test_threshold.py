import pytest
import torch

from noisereg.metrics import Threshold, count_firings

ROWS = torch.tensor([[0.5, -2.0, 0.1], [0.01, 0.0, 0.02]])
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("threshold", "magnitude", "active"),
    [
        (None, False, [[1, 0, 1], [1, 0, 1]]),
        (0.1, False, [[1, 0, 0], [0, 0, 0]]),  # what is equal is not above
        (0.1, True, [[1, 1, 0], [0, 0, 0]]),
        (0, True, [[1, 1, 1], [1, 0, 1]]),  # whatever is not 0
        ("0.2 of largest", False, [[1, 0, 0], [1, 0, 1]]),  # above 0.4 and 0.004
        ("0.4 of rms", True, [[1, 1, 0], [1, 0, 1]]),  # above 0.4 * 1.1916 and 0.4 * 0.01291
        ("0.5 of rms", True, [[0, 1, 0], [1, 0, 1]]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_units_above_a_limit_are_those_found_by_hand(threshold, magnitude, active, dtype):
    limit = Threshold.parse(threshold, magnitude=magnitude)
    assert count_firings(ROWS.to(dtype), LABELS, 2, threshold=limit).tolist() == active


def test_a_relative_limit_is_that_of_each_sample_in_any_batch_and_layout():
    outputs = torch.randn(40, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    limit, labels = Threshold(0.3, of="rms"), torch.zeros(40, dtype=torch.int64)
    by_hand = [(sample > 0.3 * sample.square().mean().sqrt()) for sample in outputs]
    expected = torch.stack(by_hand).sum(0).flatten()
    whole = count_firings(outputs, labels, 1, threshold=limit)
    laid = count_firings(outputs.contiguous(memory_format=torch.channels_last), labels, 1, threshold=limit)
    parts = sum(count_firings(part, labels[:7][: len(part)], 1, threshold=limit) for part in outputs.split(7))
    assert whole.tolist() == laid.tolist() == parts.tolist() == [expected.tolist()]


def test_a_unit_that_is_nan_is_not_known_above_any_limit():
    rows = torch.tensor([[1.0, float("nan")]])
    for limit in (Threshold(0.1), Threshold(0.1, of="rms"), Threshold(0.1, magnitude=True)):
        assert (count_firings(rows, LABELS[:1], 1, threshold=limit) < 0).all()
