import torch

from noisereg.noise import Corruption, Flip


def test_flip_never_keeps_the_label_at_p_one():
    index = torch.arange(10_000)
    labels = index % 10
    assert (Corruption(Flip(p=1.0), num_classes=10, seed=0)(labels, draw=0, index=index) != labels).all()


def test_flip_inverts_two_classes_at_p_one():
    labels = torch.tensor([0, 1, 1])
    assert Corruption(Flip(p=1.0), num_classes=2, seed=0)(labels, draw=0, index=torch.arange(3)).tolist() == [1, 0, 0]
