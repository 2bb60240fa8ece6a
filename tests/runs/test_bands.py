import numpy as np
import pytest

from noisereg.callbacks.run_checkpoint import Stopped
from noisereg.engine.measurement import Measurement
from noisereg.runs.bands import LoggedBands
from noisereg.runs.curves import Curves


class Kept:
    """Keeps what a logger is given."""

    key = "logger.kept"

    def __init__(self):
        self.rows, self.summary, self.table, self.ends = [], {}, None, []

    def log(self, values, *, step, epoch):
        self.rows.append((step, epoch, dict(values)))

    def finish(self, summary, *, replicas, figures, step):
        self.summary, self.table = summary, replicas
        self.ends.append(step)

    def fail(self, *, stopped):
        self.ends.append("stopped" if stopped else "failed")


def logged(replicas, values, *, measured=None, **how):
    kept, numbers = Kept(), range(len(replicas)) if measured is None else measured
    measurement = Measurement(20, 2, list(numbers), {"test/error": np.array(values)})
    LoggedBands([kept], replicas, **how).observe(measurement)
    ((step, epoch, values),) = kept.rows
    assert (step, epoch) == (20, 2)
    return values


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


def test_seeds_of_many_digits_have_names_of_their_own():
    replicas = grid([0.5], [20240101, 20240102])
    names = [next(iter(logged(replicas, [0.25], measured=[number], at_once=False))) for number in (0, 1)]
    assert names == ["test/error/p=0.5/seed=20240101", "test/error/p=0.5/seed=20240102"]


def test_strengths_that_differ_in_the_eighth_digit_have_names_of_their_own():
    row = logged(grid([0.12345678, 0.12345679], [0]), [0.25, 0.5])
    assert row == {"test/error/p=0.12345678": 0.25, "test/error/p=0.12345679": 0.5}


def test_replicas_that_have_stopped_are_left_out_of_the_mean_and_the_others_counted():
    assert logged(grid([0.0, 0.5], [0, 1]), [0.5], measured=[0]) == {"test/error/p=0": 0.5, "training/p=0": 1}
    row = logged(grid([0.0, 0.5], [0, 1, 2], lr=0.1), [0.5, 0.5, 0.5, 0.5, 0.5], measured=[0, 1, 2, 3, 5])
    assert {key: value for key, value in row.items() if key.startswith("training")} == {"training/p=0.5/lr=0.1": 2}


def test_replicas_one_after_the_other_are_logged_by_name_and_their_means_at_the_end():
    replicas = grid([0.5], [0, 1])
    assert logged(replicas, [0.25], measured=[1], at_once=False) == {"test/error/p=0.5/seed=1": 0.25}
    kept, curves = Kept(), Curves(None, replicas)
    for number, errors in enumerate(([0.5, 0.25], [1.0, 0.75])):
        for step, error in enumerate(errors):
            curves.observe(Measurement(step, step, [number], {"test/error": np.array([error])}))
    LoggedBands([kept], replicas, at_once=False).finish(curves, [{**replica, "a": 1.0} for replica in replicas], [])
    means = [(step, values["test/error"]) for step, _, values in kept.rows]
    assert means == [(0, 0.75), (1, 0.5)]


def test_the_summary_has_the_mean_over_all_replicas_at_their_ends():
    kept = Kept()
    first, second = grid([0.5], [0, 1])
    ends = [{**first, "test/error": 0.25, "ended_by": "budget"}, {**second, "test/error": 0.75, "fitted_epoch": 7}]
    LoggedBands([kept], [first, second]).finish(Curves(None, [first, second]), ends, [])
    assert kept.summary["test/error"] == 0.5
    assert kept.summary["fitted_epoch"] == 7
    assert list(kept.table) == ["p", "seed", "test/error", "ended_by", "fitted_epoch"]


def test_the_summary_says_of_how_many_replicas_the_means_are_where_some_diverged():
    kept, names = Kept(), [{"p": p, "seed": seed} for p in (0, 0.2) for seed in range(2)]
    ends = [{**name, "ended_by": "budget", "test/error": 0.5} for name in names[:3]]
    ends.append({**names[3], "ended_by": "non-finite weights"})
    LoggedBands([kept], names).finish(Curves(None, names), ends, [])
    counts = {name: value for name, value in kept.summary.items() if name.startswith(("diverged", "replicas"))}
    assert counts == {"diverged/p=0": 0, "replicas/p=0": 2, "diverged/p=0.2": 1, "replicas/p=0.2": 2}
    assert kept.summary["test/error/p=0.2"] == 0.5


class Broken(Kept):
    """A logger whose server is gone from its second row on."""

    key = "logger.broken"

    def log(self, values, *, step, epoch):
        super().log(values, step=step, epoch=epoch)
        if len(self.rows) > 1:
            raise ConnectionError("no answer from https://me:hidden@host")


def test_a_logger_that_raises_an_error_is_left_out_and_the_others_go_on():
    broken, kept, names = Broken(), Kept(), grid([0.5], [0])
    bands = LoggedBands([broken, kept], names)
    bands.observe(Measurement(0, 0, [0], {"test/error": np.array([0.5])}))
    with pytest.warns(UserWarning, match=r"^logger.broken: no answer from \*\*\*host; nothing more is logged there$"):
        bands.observe(Measurement(1, 0, [0], {"test/error": np.array([0.5])}))
    bands.observe(Measurement(2, 0, [0], {"test/error": np.array([0.5])}))
    bands.finish(Curves(None, names), [{**names[0], "test/error": 0.5}], [])
    assert (len(broken.rows), broken.ends) == (2, [])
    assert (len(kept.rows), kept.ends) == (3, [0])


@pytest.mark.parametrize(("error", "end"), [(FloatingPointError(), "failed"), (Stopped(15), "stopped")])
def test_loggers_are_closed_as_what_ended_the_run_says(error, end):
    kept = Kept()
    with pytest.raises(type(error)), LoggedBands([kept], grid([0.5], [0])).closed_on_failure():
        raise error
    assert kept.ends == [end]
