import math

import pytest
import scipy.stats
from runs.run_folders import CONFIG, write_run

from noisereg.report.groups.run_group import group_runs
from noisereg.report.page.results import RESULT_COLUMNS, claim_rows, csv_text, result_rows
from noisereg.runs.reading import find_runs

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
    return group_runs(find_runs([folder]))


def test_a_claim_row_has_the_judgement_in_the_unit_that_is_shown_and_where_it_is_from(tmp_path):
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
    (row,) = claim_rows(grouped(tmp_path)).to_dict("records")
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
        "kind": "number",
        "role": "",
        "replicas": 2,
        "verdict": "undecided",
        "why": "the interval, 8.294 % to 33.71 %, is not within 15 % of the paper's 21 %, nor outside; two seeds",
        "beside": "",
        "of": "test/error: p = 0.2, at the end",
        "command": "python train.py seed=0; python train.py seed=1",
        "commit": "abc, abc with uncommitted changes",
        "seconds": 4.0,
        "device": "cpu (Xeon)",
    }


def test_a_claim_row_says_of_how_many_replicas_its_value_is(tmp_path):
    failed = {"p": 0.2, "seed": 1, "ended_by": "non-finite weights", "test/error": 0.2}  # before it diverged
    rows = [{"p": 0.2, "seed": 0, "test/error": 0.2, "ended_by": "budget"}, failed]
    write_run(tmp_path, replicas=rows, experiment={"id": "F1", "claims": [CLAIM]})
    (row,) = claim_rows(grouped(tmp_path)).to_dict("records")
    assert (row["n"], row["replicas"], row["verdict"]) == (1, 2, "not judged")
    assert row["why"] == "1 of 2 diverged (p = 0.2)"
    assert math.isnan(row["ours"])


def test_groups_without_claims_have_no_claim_rows(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "test/error": 0.2}])
    assert claim_rows(grouped(tmp_path)).empty


def test_runs_without_claims_have_a_row_for_each_p_and_metric_with_the_paired_difference(tmp_path):
    errors = {0.0: [0.30, 0.34, 0.38], 0.2: [0.22, 0.25, 0.25]}
    for p, values in errors.items():
        rows = [{"p": p, "seed": seed, "test/error": value, "steps": 7} for seed, value in enumerate(values)]
        write_run(tmp_path / str(p), config={"noise": CONFIG["noise"] | {"p": p}}, replicas=rows)
    table = result_rows(grouped(tmp_path))
    assert tuple(table) == RESULT_COLUMNS
    assert table[["p", "metric"]].values.tolist() == [
        [p, metric] for p in (0.0, 0.2) for metric in ("test/error", "steps")
    ]
    noisy = table.iloc[2]
    alone = scipy.stats.ttest_1samp(errors[0.2], 0).confidence_interval()
    paired = scipy.stats.ttest_rel(errors[0.2], errors[0.0]).confidence_interval()
    numbers = noisy[["mean", "low", "high", "difference", "difference_low", "difference_high"]].tolist()
    assert numbers == pytest.approx([24, 100 * alone.low, 100 * alone.high, -10, 100 * paired.low, 100 * paired.high])
    assert noisy[["n", "replicas", "diverged", "pairs", "unit"]].tolist() == [3, 3, 0, 3, "%"]
    assert (table.iloc[0]["pairs"], math.isnan(table.iloc[0]["difference"])) == (0, True)


def test_a_result_row_counts_the_replicas_that_diverged_and_leaves_their_last_values_out(tmp_path):
    rows = [{"p": 0.3, "seed": seed, "test/error": 0.4, "ended_by": "budget"} for seed in range(2)]
    rows += [{"p": 0.3, "seed": seed, "test/error": 0.9, "ended_by": "non-finite loss"} for seed in range(2, 8)]
    write_run(tmp_path, replicas=rows)
    (row,) = result_rows(grouped(tmp_path)).to_dict("records")
    assert (row["mean"], row["n"], row["replicas"], row["diverged"]) == (40, 2, 8, 6)


def test_intervals_in_the_results_end_where_the_metric_does(tmp_path):
    rows = [
        {"p": p, "seed": seed, "test/error": error, "norm/hidden": 9 * error, "test/loss": error}
        for p, errors in {0.0: (0.0, 1.0), 0.2: (1.0, 0.0)}.items()
        for seed, error in enumerate(errors)
    ]
    write_run(tmp_path, replicas=rows)
    table = result_rows(grouped(tmp_path)).set_index(["p", "metric"])
    half = scipy.stats.t.ppf(0.975, df=1) * 0.5
    assert table.loc[(0.2, "test/error"), ["low", "high"]].tolist() == [0, 100]
    assert table.loc[(0.2, "test/error"), ["difference_low", "difference_high"]].tolist() == [-100, 100]
    assert table.loc[(0.2, "norm/hidden"), ["low", "high"]].tolist() == pytest.approx([0, 9 * (0.5 + half)])
    assert table.loc[(0.2, "test/loss"), ["low", "high"]].tolist() == pytest.approx([0.5 - half, 0.5 + half])


def test_numbers_are_written_without_the_rounding_of_their_unit(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "test/error": 0.29}])  # 100 times that is 28.999999999999996
    assert ",29," in csv_text(result_rows(grouped(tmp_path)))


def test_groups_without_replicas_have_no_result_rows(tmp_path):
    write_run(tmp_path)
    table = result_rows(grouped(tmp_path))
    assert table.empty
    assert tuple(table) == RESULT_COLUMNS


def test_a_record_that_says_nothing_of_its_origin_leaves_it_empty(tmp_path):
    write_run(tmp_path, checks=[{"id": "T1", "measured": 0.5, "predicted": 0.5, "holds": True, "n": 7}])
    (row,) = claim_rows(grouped(tmp_path)).to_dict("records")
    assert (row["experiment"], row["claim"], row["theory"], row["ours"]) == ("sweep", "T1", 0.5, 0.5)
    assert (row["command"], row["commit"], row["device"]) == ("", "", "")
    assert all(math.isnan(row[key]) for key in ("paper", "seconds", "low", "high"))
