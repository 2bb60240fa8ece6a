import math

import pytest
import scipy.stats
from runs.run_folders import write_run

from noisereg.report.groups.run_group import group_runs
from noisereg.report.page.results import RESULT_COLUMNS, result_rows
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
        "kind": "number",
        "replicas": 2,
        "verdict": "undecided",
        "why": "the interval, 8.294 % to 33.71 %, is not within 15 % of the paper's 21 %, nor outside; two seeds",
        "of": "test/error: p = 0.2, at the end",
        "command": "python train.py seed=0; python train.py seed=1",
        "commit": "abc, abc with uncommitted changes",
        "seconds": 4.0,
        "device": "cpu (Xeon)",
    }


def test_a_result_row_says_of_how_many_replicas_its_value_is(tmp_path):
    failed = {"p": 0.2, "seed": 1, "ended_by": "non-finite weights", "test/error": 0.2}  # before it diverged
    rows = [{"p": 0.2, "seed": 0, "test/error": 0.2, "ended_by": "budget"}, failed]
    write_run(tmp_path, replicas=rows, experiment={"id": "F1", "claims": [CLAIM]})
    (row,) = result_rows(grouped(tmp_path)).to_dict("records")
    assert (row["n"], row["replicas"], row["verdict"]) == (1, 2, "not judged")
    assert row["why"] == "1 of 2 diverged (p = 0.2)"
    assert math.isnan(row["ours"])


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
