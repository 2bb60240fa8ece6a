import pytest

from noisereg.noise import Flip, Resample


def test_rows_hold_one_minus_p_plus_p_over_c_and_p_over_c():
    """D2, D9."""
    transition = Resample(p=0.2).transition(10)
    assert transition.diagonal().tolist() == pytest.approx([0.82] * 10)
    assert transition[3, 4].item() == pytest.approx(0.02)


@pytest.mark.parametrize("num_classes", [2, 10])
def test_resample_is_flip_at_the_effective_rate(num_classes):
    """The two conventions of the paper: for two classes a flip with p / 2."""
    p = 0.3
    flip = Flip(p=p * (num_classes - 1) / num_classes)
    assert Resample(p=p).transition(num_classes).flatten().tolist() == pytest.approx(
        flip.transition(num_classes).flatten().tolist()
    )
