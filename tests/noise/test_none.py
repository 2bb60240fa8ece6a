import torch

from noisereg.noise import NoNoise


def test_no_noise_is_the_identity_for_any_number_of_classes():
    for num_classes in (2, 10):
        assert torch.equal(NoNoise().transition(num_classes), torch.eye(num_classes, dtype=torch.float64))
    assert NoNoise().effective_rate(10) == 0
