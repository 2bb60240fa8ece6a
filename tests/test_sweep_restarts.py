"""A sweep that is killed goes on where it was: nothing is lost, and nothing is run twice."""

import random

import pytest
from sweep_process import JOBS, finish_and_compare, finished_jobs, kill_sweep, time_sweep

FEW = ("noise.p=0,0.1", "seed=0,1")


@pytest.mark.parametrize(
    ("more", "jobs", "kills"), [(FEW, 4, 1), pytest.param((), JOBS, 3, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_a_sweep_that_is_killed_at_random_moments_ends_as_one_left_alone(more, jobs, kills, tmp_path):
    seconds = time_sweep(tmp_path / "whole", *more)
    assert len(finished_jobs(tmp_path / "whole")) == jobs
    draws, before = random.Random(0), {}
    for _ in range(kills):
        after = kill_sweep(tmp_path / "cut", draws.uniform(0.5, 1.2) * seconds / (kills + 1), *more)
        assert before.items() <= after.items()
        before = after
    finish_and_compare(tmp_path / "whole", tmp_path / "cut", *more)


@pytest.mark.slow  # tests/config/test_sweep.py has it of a smaller one
def test_a_finished_sweep_is_not_run_again(tmp_path):
    time_sweep(tmp_path, *FEW)
    before = finished_jobs(tmp_path)
    assert len(before) == 4
    finish_and_compare(tmp_path, tmp_path, *FEW)
    assert finished_jobs(tmp_path) == before
