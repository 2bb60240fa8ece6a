import math

import pytest

from noisereg.noise import Constant, Cosine, Linear, Schedule, SquareWave, Step, check_schedule

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
def test_every_factor_is_from_0_to_1(schedule, max_epochs):
    check_schedule(schedule, max_epochs)


@pytest.mark.parametrize("factor", [-0.1, 1.1, float("nan")])
def test_a_schedule_of_ones_own_that_leaves_its_range_is_refused(factor):
    class Own(Schedule):
        def factor(self, epoch, max_epochs):
            return factor if epoch == 2 else 1.0

    check_schedule(Own(), 2)
    with pytest.raises(ValueError, match=rf"Own must give factors in \[0, 1\], got {factor} in epoch 2"):
        check_schedule(Own(), 3)


def test_linear_and_cosine_meet_their_ends_and_their_middle():
    for schedule in (Linear(0.2, 0.8), Cosine(0.2, 0.8)):
        assert [schedule.factor(e, 11) for e in (0, 5, 10)] == pytest.approx([0.2, 0.5, 0.8])


def test_cosine_is_half_a_wave():
    assert Cosine(1, 0).factor(2, 9) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_step_jumps_once_at_its_share_of_the_epochs():
    assert [Step(at=0.3).factor(epoch, 10) for epoch in range(10)] == [1.0] * 3 + [0.0] * 7


def test_square_wave_is_on_for_its_duty_of_each_period():
    assert [SquareWave(period=5, duty=0.4).factor(epoch, 10) for epoch in range(10)] == [1, 1, 0, 0, 0] * 2


@pytest.mark.parametrize("percent", [7, 14, 28, 55, 56, 57, 99])
def test_a_share_of_a_hundred_epochs_is_as_many_epochs(percent):
    share = percent / 100  # 0.07 * 100 is a bit more than 7, 0.57 * 100 a bit less than 57
    assert sum(Step(at=share).factor(epoch, 100) for epoch in range(100)) == percent
    assert sum(SquareWave(period=100, duty=share).factor(epoch, 100) for epoch in range(100)) == percent


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
