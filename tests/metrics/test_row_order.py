import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from noisereg.metrics.row_order import RowOrder


class Noting(TorchFunctionMode):
    """Notes each call, as a counter does."""

    def __init__(self):
        super().__init__()
        self.order = RowOrder()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        lists = [value if isinstance(value, list | tuple) else [value] for value in (*args, *(kwargs or {}).values())]
        self.order.note(func, [value for values in lists for value in values], output)
        return output


ROWS = torch.arange(12.0).view(6, 2)  # the first number of a row is twice its own number
PICK = torch.tensor([4, 0, 5, 4])


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[PICK],
        lambda x: x.index_select(0, PICK),
        lambda x: torch.index_select(input=x, dim=0, index=PICK) + 0,
        lambda x: x.index_select(index=PICK, dim=0),
        lambda x: torch.index_select(x, -2, PICK),
        lambda x: x[torch.tensor([True, False, True, True, True, False])].neg().neg(),
        lambda x: x[torch.tensor([5, 3, 4])][torch.tensor([2, 0, 1, 2])],
        lambda x: x.view(3, 2, 2)[torch.tensor([[True, False], [True, True], [False, True]])],
        lambda x: x[PICK].chunk(2, -1)[0],
        lambda x: x[None, PICK].reshape(-1, 2),
        lambda x: x[None, torch.tensor([3])].reshape(-1, 2).neg().neg(),
        lambda x: torch.zeros(4, 2) + x[PICK].relu(),
    ],
)
def test_rows_are_those_they_were_before(take):
    with Noting() as mode:
        taken = take(ROWS)
    order = mode.order.find(taken)
    assert order.lead.numel() == 6
    assert (2 * order.owners).tolist() == taken[:, 0].tolist()


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x,
        lambda x: x[1:],
        lambda x: x[:, torch.tensor([1, 0])],
        lambda x: x.index_select(index=torch.tensor([1, 0]), dim=-1),
        lambda x: x[torch.tensor([0, 1]), torch.tensor([0, 1])],
        lambda x: torch.zeros(4, 2).index_add_(0, torch.tensor([3, 1, 0, 2]), x[PICK]),
        lambda x: x[PICK].sum(0),
    ],
)
def test_of_other_rows_nothing_is_said(take):
    with Noting() as mode:
        taken = take(ROWS)
    assert mode.order.find(taken) is None


def test_what_is_taken_from_a_constant_is_nobody_s():
    order, weight = RowOrder(), nn.Parameter(ROWS)
    order.note(
        Tensor.__getitem__, (weight, PICK), taken := weight[PICK], is_constant=lambda values: values[0] is weight
    )
    assert order.find(taken) is None
    order.note(Tensor.__getitem__, (weight, PICK), taken)
    assert order.find(taken) is not None
    order.clear()
    assert order.find(taken) is None
