"""The short form of `restarts.py`: what is interrupted ends as what is not, bit by bit."""

from signal import SIGINT, SIGKILL, SIGTERM, SIGUSR1

import pytest
from restarts import Case, Moment

FIRST, MIDDLE, EVALUATION, EPOCH, SAVE = "step 1", "step 13", "evaluation 5", "epoch 2", "save 2"


ALL = pytest.mark.slow


@pytest.mark.parametrize(
    ("case", "moments"),
    [
        ("minibatches", [(MIDDLE, SIGINT), (EVALUATION, SIGUSR1), (SAVE, SIGKILL)]),
        pytest.param("minibatches", [(FIRST, SIGTERM), (EPOCH, SIGTERM)], marks=ALL),
        pytest.param("by_steps", [(MIDDLE, SIGKILL), (EPOCH, SIGKILL), (EVALUATION, SIGKILL)], marks=ALL),
        pytest.param("workers", [(FIRST, SIGKILL), (MIDDLE, SIGINT), ("step 22", SIGTERM)], marks=ALL),
        pytest.param("two_processes", [("step 9", SIGTERM), ("step 27", SIGKILL), (MIDDLE, SIGUSR1)], marks=ALL),
        pytest.param("fused", [(EPOCH, SIGINT), ("epoch 1", SIGTERM), (SAVE, SIGKILL)], marks=ALL),
        pytest.param(
            "one_by_one", [(FIRST, SIGTERM), ("epoch 9", SIGKILL), ("epoch 2", SIGINT), (SAVE, SIGKILL)], marks=ALL
        ),
        pytest.param(
            "one_by_one_two_processes",
            [("step 9", SIGTERM), ("epoch 8", SIGTERM), ("epoch 1", SIGKILL)],
            marks=ALL,
        ),
        ("stacked", [("save 3", SIGKILL)]),
        pytest.param("stacked", [("epoch 1", SIGTERM), ("epoch 2", SIGINT)], marks=ALL),
        pytest.param("blocked", [("epoch 1", SIGUSR1), ("epoch 2", SIGKILL)], marks=ALL),
    ],
)
def test_a_run_that_is_interrupted_ends_as_one_that_is_not(case, moments, tmp_path):
    moments = [Moment(*moment) for moment in moments]
    interrupted = Case(case, tmp_path).interrupt_and_compare(moments)
    assert sum(interrupted.values()) >= max(1, len(moments) - 1)  # one of several may come too late
