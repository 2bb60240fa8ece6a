import math

import pytest
import scipy.stats
from report.run_folders import CONFIG, write_run

from noisereg.report.groups import groups
from noisereg.report.rows import RESULT_COLUMNS, result_rows, sweep_metrics, sweep_rows
from noisereg.report.runs import find_runs

CLAIM = {
    "id": "F1a",
    "says": "Noise lowers the test error.",
    "place": "figure 1a",
    "metric": "test/error",
    "of": {"p": 0.2},
    "paper": 0.21,
    "factor": 100,
    "unit": "%",
}


def grouped(folder):
    return groups(find_runs([folder]))


def test_a_result_row_has_the_judgement_in_the_unit_that_is_shown_and_where_it_is_from(tmp_path):
    for seed, error in enumerate([0.2, 0.22]):
        write_run(
            tmp_path / str(seed),
            config={"seed": seed},
            replicas=[{"p": 0.2, "seed": seed, "test/error": error}],
            experiment={"id": "F1", "title": "Figure 1", "claims": [CLAIM]},
            command=f"python train.py seed={seed}",
            environment={"commit": "abc", "uncommitted_changes": seed == 1, "device": "cpu (Xeon)"},
            seconds=1.5 + seed,
        )
    (row,) = result_rows(grouped(tmp_path)).to_dict("records")
    half = scipy.stats.t.ppf(0.975, df=1) * 1.0  # of 20 and 22, whose standard error is 1
    assert row.pop("ours") == pytest.approx(21)
    assert (row.pop("low"), row.pop("high")) == pytest.approx((21 - half, 21 + half))
    assert math.isnan(row.pop("theory"))
    assert row == {
        "experiment": "F1",
        "title": "Figure 1",
        "claim": "F1a",
        "says": "Noise lowers the test error.",
        "place": "figure 1a",
        "paper": 21.0,
        "unit": "%",
        "n": 2,
        "verdict": "reproduced",
        "why": "within 15 % of the paper's 21 %",
        "of": "test/error: p = 0.2, at the end",
        "command": "python train.py seed=0; python train.py seed=1",
        "commit": "abc, abc with uncommitted changes",
        "seconds": 4.0,
        "device": "cpu (Xeon)",
    }


def test_groups_without_claims_have_no_result_rows(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "test/error": 0.2}])
    table = result_rows(grouped(tmp_path))
    assert table.empty
    assert tuple(table) == RESULT_COLUMNS


def test_a_record_that_says_nothing_of_its_origin_leaves_it_empty(tmp_path):
    write_run(tmp_path, checks=[{"id": "T1", "measured": 0.5, "predicted": 0.5, "holds": True, "n": 7}])
    (row,) = result_rows(grouped(tmp_path)).to_dict("records")
    assert (row["experiment"], row["claim"], row["theory"], row["ours"]) == ("sweep", "T1", 0.5, 0.5)
    assert (row["command"], row["commit"], row["device"]) == ("", "", "")
    assert all(math.isnan(row[key]) for key in ("paper", "seconds", "low", "high"))


ERRORS = {0.0: [0.40, 0.42, 0.44], 0.2: [0.20, 0.23, 0.23]}


def sweep(folder, errors, **columns):
    rows = [
        {"p": p, "seed": seed, "test/error": error, **columns}
        for p, values in errors.items()
        for seed, error in enumerate(values)
    ]
    write_run(folder, config={"noise": CONFIG["noise"] | {"p": list(errors)}}, replicas=rows)
    (group,) = grouped(folder)
    return sweep_rows(group)


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
    table = sweep_rows(group)
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
    table = sweep_rows(group).set_index(["p", "metric"])
    assert table["n"].to_dict() == {
        (0.0, "test/error"): 1,
        (0.0, "norm/hidden"): 0,
        (0.2, "test/error"): 0,
        (0.2, "norm/hidden"): 1,
    }
    assert table["pairs"].tolist() == [0, 0, 0, 0]


def test_a_group_without_metrics_has_no_sweep_rows(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "test/loss": 0.2}])
    (group,) = grouped(tmp_path)
    assert sweep_rows(group).empty


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
