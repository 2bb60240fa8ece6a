import torch

from noisereg.metrics import predictions


def test_predictions_are_the_sign_of_one_output_or_the_greatest_of_several():
    assert predictions(torch.tensor([[-1.0], [0.0], [0.5]])).tolist() == [0, 0, 1]
    assert predictions(torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])).tolist() == [1, 0]


def test_an_empty_batch_has_no_predictions():
    assert predictions(torch.zeros(0, 1)).shape == predictions(torch.zeros(0, 3)).shape == (0,)
