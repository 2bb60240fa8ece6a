import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from noisereg.metrics import calibration, reliability


@pytest.fixture
def material():
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(500, 4, generator=generator), torch.randint(0, 4, (500,), generator=generator)


def _logits(*confidences):
    """Logits of two classes, the first one with these probabilities."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first.log(), (1 - first).log()], dim=1)


def test_values_are_those_counted_by_hand():
    logits, labels = _logits(0.9, 0.92, 0.6, 0.2), torch.tensor([0, 1, 0, 0])
    values = calibration(logits, labels, num_bins=5)
    # [0.6, 0.8): 0.6, right; [0.8, 1]: 0.9 right, 0.92 wrong, 0.8 wrong
    assert values["ece"].item() == pytest.approx(0.25 * 0.4 + 0.75 * (2.62 / 3 - 1 / 3), rel=1e-5)
    assert values["nll"].item() == pytest.approx(-sum(map(math.log, (0.9, 0.08, 0.6, 0.2))) / 4)
    assert values["brier"].item() == pytest.approx(2 * (0.1**2 + 0.92**2 + 0.4**2 + 0.8**2) / 4)


def test_bins_are_those_counted_by_hand():
    bins = reliability(_logits(0.9, 0.92, 0.65, 0.2), torch.tensor([0, 1, 0, 0]), num_bins=5)
    assert bins.count.tolist() == [0, 0, 0, 1, 3]
    torch.testing.assert_close(bins.confidence[3:], torch.tensor([0.65, 2.62 / 3]).double())
    torch.testing.assert_close(bins.accuracy[3:], torch.tensor([1, 1 / 3]).double())
    assert bins.confidence[:3].isnan().all() and bins.accuracy[:3].isnan().all()


def test_values_are_those_of_the_libraries(material):
    logits, labels = material
    values = calibration(logits, labels)
    expected = multiclass_calibration_error(logits.softmax(dim=1), labels, num_classes=4, n_bins=15)
    assert values["ece"].item() == pytest.approx(expected.item(), abs=1e-6)
    assert values["nll"].item() == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-6)


def test_outputs_that_are_nan_are_in_the_last_bin():
    logits = torch.tensor([[torch.nan, 0.0], [0.0, 9.0]])
    bins = reliability(logits, torch.tensor([1, 1]), num_bins=4)
    assert bins.count.tolist() == [0, 0, 0, 2]
    assert bins.confidence[3].isnan()
    assert calibration(logits, torch.tensor([1, 1]))["ece"].isnan()


@pytest.mark.parametrize("num_bins", [1, 15, 40])
def test_gaps_of_the_bins_make_up_the_error_of_torchmetrics(material, num_bins):
    logits, labels = material
    bins = reliability(logits, labels, num_bins=num_bins)
    assert bins.count.sum() == 500
    gaps = (bins.count / 500 * (bins.accuracy - bins.confidence).abs()).nansum()
    expected = multiclass_calibration_error(logits.softmax(dim=1), labels, num_classes=4, n_bins=num_bins)
    assert gaps.item() == pytest.approx(expected.item(), abs=1e-6)


def test_one_output_gives_the_sigmoid_and_its_complement(material):
    logits, labels = material[0][:, :1], material[1] % 2
    values = calibration(logits, labels)
    probability = logits.double().sigmoid().squeeze(1)
    assert values["brier"].item() == pytest.approx(2 * (probability - labels).square().mean().item())
    confidence, right = torch.maximum(probability, 1 - probability).float(), (probability > 0.5) == labels
    assert values["ece"].item() == pytest.approx(binary_calibration_error(confidence, right.long()).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("output", "right"),
    [(0.0, [False, False]), (1e-9, [False, True]), (-1e-9, [True, False])],  # the probability of all is 0.5 in float32
)
def test_an_output_is_as_right_as_the_error_counts_it(output, right):
    logits, labels = torch.full((2, 1), output), torch.tensor([0, 1])
    for logit, label, is_right in zip(logits.split(1), labels.split(1), right, strict=True):
        assert reliability(logit, label).accuracy.nansum() == is_right
        assert calibration(logit, label)["ece"].item() == pytest.approx(abs(is_right - 0.5))


def test_a_confidence_of_one_is_in_the_last_bin():
    # In bins apart the gaps of 0.04 and 1 would add up to 0.52; in one bin they are |0.5 - 0.98|.
    logits = torch.tensor([[math.log(0.96 / 0.04), 0.0], [200.0, 0.0]])
    values, bins = calibration(logits, torch.tensor([0, 1])), reliability(logits, torch.tensor([0, 1]))
    assert bins.count.tolist() == [0] * 14 + [2]
    assert values["ece"].item() == pytest.approx(0.48, abs=1e-6)
    assert values["nll"].item() == pytest.approx((200 - math.log(0.96)) / 2, rel=1e-6)


def test_half_precision_logits_count_as_what_they_say():
    logits, labels = torch.tensor([[3.0, -1.0, 0.5]], dtype=torch.bfloat16), torch.tensor([2])
    assert calibration(logits, labels)["nll"].item() == pytest.approx(cross_entropy(logits.double(), labels).item())


@pytest.mark.parametrize("function", [calibration, reliability])
def test_no_bins_are_refused(function, material):
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        function(*material, num_bins=0)
