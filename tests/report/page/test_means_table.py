import math

import pytest
import scipy.stats
from runs.run_folders import CONFIG, write_run

from noisereg.report.groups.run_group import group_runs
from noisereg.report.page.means_table import means_table, sweep_means, sweep_metrics
from noisereg.runs.reading import find_runs


def grouped(folder):
    return group_runs(find_runs([folder]))


def group_of(folder, replicas):
    write_run(folder, replicas=replicas)
    (group,) = grouped(folder)
    return group


def test_a_sweep_has_a_row_for_each_metric_and_p_beside_the_difference_to_none(tmp_path):
    replicas = [
        {"p": p, "seed": s, "test/error": 0.5 - p + s / 10, "norm/hidden": 3.0} for p in (0.0, 0.2) for s in (0, 1)
    ]
    table = means_table(group_of(tmp_path, replicas))
    assert table["header"][:3] == ["metric", "p", "mean"]
    first, second, third, fourth = table["rows"]
    assert first[:3] == ["test error (%)", "0", "55"]
    assert second[:3] == ["test error (%)", "0.2", "35"]
    assert second[5:] == ["-20", "-20 to -20", "2"]
    assert [third[0], fourth[0]] == ["weight norm, hidden", "weight norm, hidden"]


def test_the_errors_of_a_sweep_say_when_they_were_measured(tmp_path):
    replicas = [{"p": 0.0, "seed": 0, "test/error": 0.4, "best/test/error": 0.3, "selected/test/error": 0.35}]
    assert [row[0] for row in means_table(group_of(tmp_path, replicas))["rows"]] == [
        "test error (%)",
        "test error at the epoch where it is lowest (%)",
        "test error where val/error is lowest (%)",
    ]


def test_runs_without_metrics_have_no_table(tmp_path):
    assert means_table(group_of(tmp_path, [{"p": 0.0, "seed": 0, "steps": 3}])) is None


ERRORS = {0.0: [0.40, 0.42, 0.44], 0.2: [0.20, 0.23, 0.23]}


def sweep(folder, errors, **columns):
    rows = [
        {"p": p, "seed": seed, "test/error": error, **columns}
        for p, values in errors.items()
        for seed, error in enumerate(values)
    ]
    write_run(folder, config={"noise": CONFIG["noise"] | {"p": list(errors)}}, replicas=rows)
    (group,) = grouped(folder)
    return sweep_means(group)


def test_a_sweep_row_has_the_mean_of_each_p_and_the_paired_difference_to_no_noise(tmp_path):
    none, noisy = sweep(tmp_path, ERRORS).to_dict("records")
    assert (none["p"], none["n"], none["pairs"]) == (0, 3, 0)
    assert none["mean"] == pytest.approx(0.42)
    assert math.isnan(none["difference"])
    alone = scipy.stats.ttest_1samp(ERRORS[0.2], 0).confidence_interval()
    paired = scipy.stats.ttest_rel(ERRORS[0.2], ERRORS[0.0]).confidence_interval()
    assert (noisy["mean"], noisy["difference"]) == pytest.approx((0.22, -0.20))
    assert (noisy["low"], noisy["high"]) == pytest.approx((alone.low, alone.high))
    assert (noisy["difference_low"], noisy["difference_high"]) == pytest.approx((paired.low, paired.high))
    assert (noisy["n"], noisy["pairs"]) == (3, 3)


def test_a_sweep_without_p_zero_has_no_difference(tmp_path):
    table = sweep(tmp_path, {0.1: [0.3, 0.4], 0.2: [0.1, 0.2]})
    assert table["pairs"].tolist() == [0, 0]
    assert table["difference"].isna().all()


def test_differences_are_taken_within_an_arm_and_a_rate(tmp_path):
    rows = [
        {"arm": arm, "lr": lr, "p": p, "seed": 0, "test/error": base + p}
        for arm, lr, base in [("a", 0.1, 1.0), ("a", 0.3, 2.0), ("b", 0.1, 3.0)]
        for p in (0.0, 0.5)
    ]
    write_run(tmp_path, replicas=rows)
    (group,) = grouped(tmp_path)
    table = sweep_means(group)
    assert table[["arm", "lr", "p"]].values.tolist() == [
        [arm, lr, p] for arm, lr in [("a", 0.1), ("a", 0.3), ("b", 0.1)] for p in (0.0, 0.5)
    ]
    assert table["mean"].tolist() == [1, 1.5, 2, 2.5, 3, 3.5]
    assert table["difference"].tolist()[1::2] == [0.5, 0.5, 0.5]


def test_each_metric_of_a_sweep_has_its_rows(tmp_path):
    table = sweep(tmp_path, ERRORS, **{"norm/hidden": 3.0, "test/loss": 1.0})
    assert table["metric"].tolist() == ["test/error", "norm/hidden"] * 2
    assert table.loc[table["metric"] == "norm/hidden", "mean"].tolist() == [3, 3]


def test_a_metric_that_a_p_lacks_has_no_number_there(tmp_path):
    rows = [{"p": 0.0, "seed": 0, "test/error": 0.4}, {"p": 0.2, "seed": 0, "norm/hidden": 2.0}]
    write_run(tmp_path, replicas=rows)
    (group,) = grouped(tmp_path)
    table = sweep_means(group).set_index(["p", "metric"])
    assert table["n"].to_dict() == {
        (0.0, "test/error"): 1,
        (0.0, "norm/hidden"): 0,
        (0.2, "test/error"): 0,
        (0.2, "norm/hidden"): 1,
    }
    assert table["pairs"].tolist() == [0, 0, 0, 0]


def test_a_group_without_metrics_has_no_sweep_means(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "test/loss": 0.2}])
    (group,) = grouped(tmp_path)
    assert sweep_means(group).empty


def test_the_metrics_of_a_sweep_are_errors_active_fractions_and_norms(tmp_path):
    write_run(tmp_path, replicas=[dict.fromkeys(NAMES, 1.0)])
    (group,) = grouped(tmp_path)
    assert sweep_metrics(group.replicas) == [
        "test/error",
        "best/test/error",
        "train/error",
        "test/active_fraction",
        "test/active_fraction/layer1.0.relu1",
        "norm/hidden",
    ]


NAMES = (
    "p",
    "seed",
    "norm/hidden",
    "test/error",
    "best/test/error",
    "best/test/error/epoch",
    "test/active_fraction",
    "test/active_fraction/layer1.0.relu1",
    "test/active_neurons",
    "train/error",
    "bias_mean/hidden",
)
