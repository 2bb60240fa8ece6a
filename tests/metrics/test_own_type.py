import pytest
import torch
from torch import nn

from noisereg.metrics import Memorization, SampleMean


@pytest.mark.parametrize("convert", [lambda m: m.to(torch.bfloat16), nn.Module.half, nn.Module.double, lambda m: m])
def test_a_mean_is_that_of_all_samples_whatever_the_weights_are_converted_to(convert):
    mean = convert(nn.ModuleList([SampleMean()]))[0]
    for number in range(1000):
        mean.update(torch.full((16,), float(number)))
    assert mean.compute().item() == 499.5
    assert mean.weight.dtype == torch.float32


def test_a_mean_that_is_made_in_a_step_of_lower_precision_is_in_float32():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # as Lightning does under bf16-true
    try:
        mean = SampleMean()
    finally:
        torch.set_default_dtype(before)
    for _ in range(1000):
        mean.update(torch.ones(16, dtype=torch.bfloat16))
    assert mean.weight.item() == 16_000


def test_what_was_added_before_a_conversion_is_kept_to_the_last_digit():
    modules = nn.ModuleList([SampleMean()])
    modules[0].update(torch.tensor([1.0, 1000.0]))
    assert modules.to(torch.bfloat16)[0].compute().item() == 500.5


def test_wrong_labels_are_counted_where_weights_are_in_bfloat16():
    memorization = nn.ModuleList([Memorization()]).to(torch.bfloat16)[0]
    right, wrong = torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.int64)
    for _ in range(1000):
        memorization.update(right, right, wrong, torch.full((16,), 0.5, dtype=torch.bfloat16))
    assert memorization.compute()["wrong_labels"].item() == 16_000
