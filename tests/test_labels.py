import math
import subprocess
import sys
from dataclasses import replace

import pytest

from noisereg.labels import Label, label_of, measured_as, moment_of, without_threshold


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("test/error", Label("test error", "%", 100, 2)),
        ("val/error", Label("validation error", "%", 100, 2)),
        ("train/error", Label("train error, clean labels", "%", 100, 2)),
        ("train/loss", Label("train loss, as trained", "", 1, 4)),
        ("test/active_neurons", Label("active neurons, test", "", 1, 1)),
        ("train/active_fraction", Label("active fraction, train", "%", 100, 1)),
        ("test/active_fraction/layer3.2.relu2", Label("active fraction, test, layer3.2.relu2", "%", 100, 1)),
        (
            "train/active_fraction_above_0.1_of_rms/relu",
            Label("active fraction, train, above 0.1 of rms, relu", "%", 100, 1),
        ),
        ("test/dead_fraction_abs_above_0.5", Label("never active, test, magnitude above 0.5", "%", 100, 1)),
        ("train/associated_neurons", Label("associated with a class, train", "", 1, 0)),
        ("norm/hidden", Label("weight norm, hidden", "", 1, 3)),
        ("norm", Label("weight norm", "", 1, 3)),
        ("bias_q10/layer1.0.bn", Label("10 % quantile of the bias, layer1.0.bn", "", 1, 4)),
        ("noise/measured_rate", Label("labels that changed", "%", 100, 2)),
        ("best/test/error", Label("test error at the epoch where it is lowest", "%", 100, 2)),
        ("best/test/error/epoch", Label("epoch of the lowest test error", "", 1, 0)),
        ("selected/train/error", Label("train error, clean labels where val/error is lowest", "%", 100, 2)),
    ],
)
def test_a_metric_has_words_a_unit_a_factor_and_digits(metric, label):
    assert replace(label_of(metric), lowest=-math.inf, highest=math.inf) == label


@pytest.mark.parametrize(
    ("metric", "possible"),
    [
        ("test/error", (0, 1)),
        ("best/train/error", (0, 1)),
        ("test/active_fraction/relu1", (0, 1)),
        ("train/active_neurons", (0, math.inf)),
        ("norm/hidden", (0, math.inf)),
        ("test/brier", (0, 2)),
        ("test/loss", (-math.inf, math.inf)),
        ("bias_mean/hidden", (-math.inf, math.inf)),
        ("my/own", (-math.inf, math.inf)),
    ],
)
def test_a_label_has_the_possible_values_of_its_metric(metric, possible):
    label = label_of(metric)
    assert (label.lowest, label.highest) == possible


@pytest.mark.parametrize("metric", ["steps", "", "norms", "test", "train/", "test/nothing", "my/own", "seed", "best/x"])
def test_an_unknown_metric_stands_for_itself(metric):
    assert label_of(metric) == Label(metric, "", 1, 4)


@pytest.mark.parametrize(
    ("metric", "moment"),
    [
        ("test/error", ""),
        ("best/test/error", "at the epoch where it is lowest"),
        ("selected/test/error", "where val/error is lowest"),
        ("norm/best", ""),
        ("best/layer", ""),
    ],
)
def test_a_number_that_is_not_of_the_end_says_so(metric, moment):
    assert moment_of(metric) == moment


def test_no_epoch_is_below_0():
    assert label_of("best/test/error/epoch").lowest == label_of("selected/test/error/epoch").lowest == 0


@pytest.mark.parametrize("suffix", ["", "_above_0.1", "_above_0.1_of_rms", "_abs_above_0.02_of_largest"])
def test_a_metric_is_found_by_its_name_whatever_its_threshold(suffix):
    name = f"test/active_fraction{suffix}"
    assert without_threshold(f"{name}/relu_above_1") == "test/active_fraction/relu_above_1"
    assert measured_as(["test/error", "test/active_fraction"], [f"{name}/a", name, "test/error"]) == [
        "test/error",
        name,
    ]


def test_a_metric_is_shown_with_all_its_thresholds():
    names = ["train/active_neurons_above_0.5", "train/active_neurons"]
    assert measured_as(["train/active_neurons"], names) == names
    assert measured_as(["train/active_neurons"], ["norm/active_neurons_above_0.5"]) == []


def test_values_are_written_in_the_unit_that_is_shown():
    assert label_of("test/error").format(0.5) == "50.00 %"
    assert label_of("test/active_neurons").format(1234.56) == "1,234.6"
    assert label_of("test/active_neurons").format_mean(-0.04, -1, 0.92, is_difference=True) == "0.0±1.0"
    assert label_of("test/error").title == "test error (%)"
    assert label_of("norm/hidden").title == "weight norm, hidden"


@pytest.mark.parametrize(
    ("metric", "numbers", "text"),
    [
        ("test/error", (0.25, 0.24, 0.26), "25.00±1.00"),
        ("test/error", (0.01, -0.02, 0.04), "1.00 [0, 4.00]"),
        ("test/error", (0.99, 0.96, 1.02), "99.00 [96.00, 100]"),
        ("test/error", (0.5, -6.0, 7.0), "50.00±50.00"),
        ("test/error", (0.0, 0.0, 0.0), "0.00±0.00"),
        ("test/error", (0.25, math.nan, math.nan), "25.00"),
        ("test/error", (math.nan, math.nan, math.nan), ""),
        ("train/active_neurons", (1234.5, 200.0, 2269.0), "1,234.5±1,034.5"),
        ("train/associated_neurons", (0.05, -0.05, 0.15), "0±0"),
        ("test/error", (0.00001, -0.00001, 0.00003), "0.00±0.00"),
        ("train/associated_neurons", (0.5, -1.0, 2.0), "0 [0, 2]"),
        ("bias_mean/hidden", (-0.01, -0.03, 0.01), "-0.0100±0.0200"),
    ],
)
def test_a_mean_stands_with_half_its_interval_or_with_the_ends_of_one_that_is_cut(metric, numbers, text):
    assert label_of(metric).format_mean(*numbers) == text


def test_the_interval_of_a_difference_is_cut_at_the_widest_that_is_possible():
    error = label_of("test/error")
    assert error.format_mean(-0.01, -0.03, 0.01, is_difference=True) == "-1.00±2.00"
    assert error.format_mean(-0.9, -1.2, -0.6, is_difference=True) == "-90.00 [-100, -60.00]"


def test_labels_load_no_large_library():
    script = "import sys, noisereg.labels; print(*{'torch', 'lightning', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == []
