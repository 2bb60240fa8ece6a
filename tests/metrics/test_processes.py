"""With one process; two_processes.py has what two do."""

import pytest
import torch

from noisereg.metrics import gather_parts, own_part


@pytest.mark.parametrize("part", [torch.tensor(2.5), torch.tensor([1.0, 2.0], dtype=torch.float64)])
def test_one_process_has_the_only_part(part):
    assert torch.equal(gather_parts(part), torch.stack([part]))
    assert torch.equal(own_part(gather_parts(part)), part)


def test_one_process_takes_up_the_sum_of_what_several_had():
    assert own_part(torch.tensor([[1, 10], [2, 20], [4, 40]])).tolist() == [7, 70]
