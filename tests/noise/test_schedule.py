import math

import pytest

from noisereg.noise import Constant, Cosine, Linear, Resample, SquareWave, Step

SCHEDULES = [
    Constant(),
    Linear(),
    Linear(1, 0.2),
    Cosine(),
    Step(),
    Step(at=0.2, before=0, after=1),
    SquareWave(7, 0.3),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("max_epochs", [1, 2, 10, 333])
def test_every_factor_is_one_that_a_rule_accepts(schedule, max_epochs):
    for epoch in range(max_epochs):
        Resample(p=1.0).scaled(schedule.factor(epoch, max_epochs))


def test_linear_and_cosine_meet_their_ends_and_their_middle():
    for schedule in (Linear(0.2, 0.8), Cosine(0.2, 0.8)):
        assert [schedule.factor(e, 11) for e in (0, 5, 10)] == pytest.approx([0.2, 0.5, 0.8])


def test_cosine_is_half_a_wave():
    assert Cosine(1, 0).factor(2, 9) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_step_jumps_once_at_its_share_of_the_epochs():
    assert [Step(at=0.3).factor(epoch, 10) for epoch in range(10)] == [1.0] * 3 + [0.0] * 7


def test_square_wave_is_on_for_its_duty_of_each_period():
    assert [SquareWave(period=5, duty=0.4).factor(epoch, 10) for epoch in range(10)] == [1, 1, 0, 0, 0] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(start=-0.1), r"start must be in \[0, 1\], got -0.1"),
        (lambda: Cosine(end=2), r"end must be in \[0, 1\], got 2"),
        (lambda: Step(at=float("nan")), r"at must be in \[0, 1\], got nan"),
        (lambda: SquareWave(duty=1.5), r"duty must be in \[0, 1\]"),
        (lambda: SquareWave(period=0), "period must be at least 1 epoch, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
