import pytest
import torch

from noisereg.datasets import Split
from noisereg.engine import measure


@pytest.mark.parametrize(
    ("threads", "floats", "sizes"), [(1, 6, [5]), (1, 20, [2, 2, 1]), (2, 40, [2, 2, 1]), (3, 90, [3, 2])]
)
def test_data_are_scored_together_as_far_as_memory_goes_and_one_for_each_thread(threads, floats, sizes, monkeypatch):
    monkeypatch.setattr(measure, "_SCORED_BYTES", 150)
    groups = [
        ([number], {"test": Split(torch.zeros(1, floats), torch.zeros(1, dtype=torch.int64))}) for number in range(5)
    ]
    taken = list(measure._take_together(groups, threads))
    assert [len(some) for some in taken] == sizes
    assert [group for some in taken for group in some] == groups
