"""A sweep that is killed goes on where it was: nothing is lost, and nothing is run twice."""

import random

import pytest
from swept import JOBS, assert_ends_alike, finished, killed, undisturbed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a sweep that was left alone, and the seconds that it took."""
    cwd = tmp_path_factory.mktemp("whole")
    return cwd, undisturbed(cwd)


def test_a_sweep_killed_at_three_random_moments_ends_as_one_left_alone(whole, tmp_path):
    folder, seconds = whole
    draws = random.Random(0)
    before = {}
    for _ in range(3):
        after = killed(tmp_path, draws.uniform(0.2, 0.6) * seconds)
        assert before.items() <= after.items()
        before = after
    assert_ends_alike(folder, tmp_path)


def test_a_finished_sweep_is_not_run_again(whole):
    folder, _ = whole
    before = finished(folder)
    assert_ends_alike(folder, folder)
    assert finished(folder) == before
    assert len(before) == JOBS
