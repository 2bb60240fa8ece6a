import io

import numpy as np
import pytest
from rich.console import Console

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.engine.measurement import Measurement
from noisereg.noise import FileLabels, Flip, Resample
from noisereg.training.analysis import Analysis
from noisereg.training.build import build_data
from noisereg.training.training import Training, describe, save_arrays


class Untrained(Training):
    """A training that is measured by hand."""

    num_weights, engine = 1234, "none: by hand"

    def train(self):
        """Train nothing."""

    def finish(self):
        """Return nothing."""
        return []


def make(folder, *overrides, console=None):
    settings = compose_settings("dataset.train_size=8", "dataset.test_size=4", "logger=csv", "seeds=1", *overrides)
    data = build_data(settings, 0)
    return Untrained(Plan(settings), data, folder=folder, console=console or Console(quiet=True))


def test_headlines_say_what_is_trained_on_what_and_how_often_a_label_changes(tmp_path):
    assert make(tmp_path, "noise.p=[0,0.2,0.5]", "loss=hinge").headlines() == [
        "data    hypercube: 8 train, 4 test samples, 2 classes",
        "model   TwoLayer, 1,234 weights; loss Hinge",
        # redrawn among both classes, a label changes half of the times
        "noise   Resample, drawn anew each time, p = 0, 0.2, 0.5: a label changes with probability 0, 0.1, 0.25",
        "engine  none: by hand",
    ]


def test_a_validation_split_is_told_with_the_others(tmp_path):
    assert "5 train, 4 test, 3 val samples" in make(tmp_path, "noise.p=0", "dataset.val_size=3").headlines()[0]


def test_the_mode_of_a_rule_is_told():
    assert describe(Resample(p=0.1, frozen=True)) == "Resample, drawn once a sample,"
    assert describe(FileLabels(p=1.0, path="labels.csv")) == "FileLabels, as in the file,"
    assert describe(FileLabels(p=0.5, path="labels.csv")) == "FileLabels, drawn anew each time,"
    assert describe(Flip(p=0.1, expected=True)) == "Flip, in expectation,"


def measured(training):
    """Let the second replica stop one measurement before the first."""
    for step, replicas, values in (
        (0, [0, 1], {"test/error": [0.5, 0.6], "val/error": [0.5, 0.5]}),
        (8, [0, 1], {"test/error": [0.25, 0.3], "val/error": [0.25, 0.5], "norm/output": [2.0, 3.0]}),
        (16, [0], {"test/error": [0.3], "val/error": [0.125], "norm/output": [np.nan]}),
    ):
        columns = {key: np.array(column) for key, column in values.items()}
        training.curves.observe(Measurement(step, step // 8, replicas, columns))


def test_a_row_has_the_names_the_last_best_and_selected_values_the_analysis_and_the_end(tmp_path):
    training = make(tmp_path, "noise.p=[0,0.2]")
    measured(training)
    analyses = [Analysis(values={"test/ece": 0.5, "test/nll": np.nan}), Analysis()]
    status = [{"epochs": 2, "ended_by": "budget"}, {"epochs": 1, "ended_by": "zero train error", "fitted_epoch": 1}]
    assert training.leave_results(analyses, None, status) == [
        {
            "p": 0,
            "seed": 0,
            "test/error": 0.3,
            "val/error": 0.125,
            "best/test/error": 0.25,
            "best/test/error/epoch": 1,
            "selected/test/error": 0.3,
            "selected/test/error/epoch": 2,
            "selected/val/error": 0.125,
            "test/ece": 0.5,
            "epochs": 2,
            "ended_by": "budget",
        },
        {
            "p": 0.2,
            "seed": 0,
            "test/error": 0.3,
            "val/error": 0.5,
            "norm/output": 3.0,
            "best/test/error": 0.3,
            "best/test/error/epoch": 1,
            "selected/test/error": 0.6,
            "selected/test/error/epoch": 0,
            "selected/val/error": 0.5,
            "epochs": 1,
            "ended_by": "zero train error",
            "fitted_epoch": 1,
        },
    ]
    assert list(tmp_path.iterdir()) == []  # there is nothing that figures are drawn of


@pytest.mark.parametrize("reason", ["non-finite weights", "non-finite loss"])
def test_a_replica_that_diverged_has_no_values_of_its_end(reason, tmp_path):
    training = make(tmp_path, "noise.p=[0,0.2]")
    measured(training)
    kept, lost = training.leave_results([Analysis()] * 2, None, [{"ended_by": "budget"}, {"ended_by": reason}])
    assert lost == {"p": 0.2, "seed": 0, "ended_by": reason}
    assert kept["test/error"] == 0.3


def test_arrays_are_kept_by_the_number_of_the_replica_and_a_note_is_printed_once(tmp_path):
    console = Console(file=io.StringIO(), width=20)
    training = make(tmp_path, "noise.p=[0,0.2]", console=console)
    measured(training)
    analyses = [Analysis(arrays={"x": np.arange(number + 1)}, notes=["too many units"]) for number in range(2)]
    fires = np.arange(12).reshape(2, 2, 3)
    training.leave_results(analyses, fires, [{"ended_by": "budget"}] * 2)
    with np.load(tmp_path / "analysis.npz") as found:
        assert {name: array.tolist() for name, array in found.items()} == {"0/x": [0], "1/x": [0, 1]}
    with np.load(tmp_path / "fires.npz") as found:
        np.testing.assert_array_equal(found["train"], fires)
    assert console.file.getvalue() == "not analysed: too many units\n"


@pytest.mark.parametrize(("csv", "name"), [("csv", "metrics.csv"), ("none", None)])
def test_curves_are_written_where_they_are_asked_for(csv, name, tmp_path):
    path = make(tmp_path, "noise.p=0", f"logger={csv}").curves.path
    assert path == (name and tmp_path / name)


def test_no_arrays_are_no_file(tmp_path):
    save_arrays(tmp_path / "a.npz", {})
    assert list(tmp_path.iterdir()) == []
