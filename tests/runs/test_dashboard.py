import pytest
import torch

from noisereg.runs.dashboard import WandbBands

ALL = torch.ones(4, dtype=torch.bool)


class Run:
    """Takes what W&B is given."""

    def __init__(self):
        self.rows, self.summary = [], {}

    def log(self, row):
        self.rows.append(row)


def logged(replicas, values, *, running=None):
    run = Run()
    values = {"test/error": torch.tensor(values)}
    running = torch.ones(len(replicas), dtype=torch.bool) if running is None else torch.tensor(running)
    WandbBands(run, replicas).log_replicas(values, step=20, epoch=2, running=running)
    (row,) = run.rows
    assert (row.pop("trainer/global_step"), row.pop("epoch")) == (20, 2)
    return row


def grid(strengths, seeds, **more):
    return [{"p": p, "seed": seed, **more} for p in strengths for seed in seeds]


def test_each_p_has_its_mean_and_the_ends_of_its_t_interval():
    row = logged(grid([0.0, 0.5], [0, 1]), [0.1, 0.3, 0.25, 0.25])
    half = 12.7062047 * 0.1  # t of one degree of freedom, times the standard error
    assert row == pytest.approx(
        {
            "test/error/p=0": 0.2,
            "test/error/p=0/low": 0.2 - half,
            "test/error/p=0/high": 0.2 + half,
            "test/error/p=0.5": 0.25,
            "test/error/p=0.5/low": 0.25,
            "test/error/p=0.5/high": 0.25,
        },
        rel=1e-6,
    )


def test_the_only_p_has_the_name_that_one_network_has_too():
    row = logged(grid([0.5], [0, 1], lr=0.1), [0.25, 0.75])
    assert row["test/error"] == row["test/error/p=0.5/lr=0.1"] == 0.5
    assert len(row) == 4


def test_one_replica_logs_as_one_network_does():
    assert logged(grid([0.5], [3]), [0.25]) == {"test/error": 0.25}


def test_replicas_that_have_stopped_are_left_out_of_the_mean():
    row = logged(grid([0.0, 0.5], [0, 1]), [0.5, 9.0, 9.0, 9.0], running=[True, False, False, False])
    assert row == {"test/error/p=0": 0.5}


def test_the_summary_has_the_mean_over_all_replicas_at_their_ends():
    run = Run()
    first, second = grid([0.5], [0, 1])
    ends = [{**first, "test/error": 0.25, "ended_by": "budget"}, {**second, "test/error": 0.75, "fitted_epoch": 7}]
    WandbBands(run, [first, second]).finish(ends, [])
    assert run.summary["test/error"] == 0.5
    assert run.summary["fitted_epoch"] == 7
    assert run.rows[0]["replicas"].columns == ["p", "seed", "test/error", "ended_by", "fitted_epoch"]
