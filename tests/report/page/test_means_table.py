from pathlib import Path

from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.means_table import means_table, sweep_metrics
from noisereg.runs.reading import Run


def tabulate(replicas):
    return means_table(RunGroup("sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": replicas})]).means)


def test_a_sweep_has_a_row_for_each_metric_and_p_beside_the_difference_to_none():
    replicas = [
        {"p": p, "seed": s, "test/error": 0.5 - p + s / 10, "norm/hidden": 3.0} for p in (0.0, 0.2) for s in (0, 1)
    ]
    table = tabulate(replicas)
    assert table["header"][:3] == ["metric", "p", "mean"]
    first, second, third, fourth = table["rows"]
    assert first[:3] == ["test error (%)", "0", "55"]
    assert second[:3] == ["test error (%)", "0.2", "35"]
    assert second[5:] == ["-20", "-20 to -20", "2"]
    assert [third[0], fourth[0]] == ["weight norm, hidden", "weight norm, hidden"]


def test_a_mean_of_fewer_replicas_than_there_are_says_so():
    values = {0.0: (0.5, 0.25, None), 0.2: (0.5, None, None)}
    rows = [{"p": p, "seed": seed, "test/error": value} for p, own in values.items() for seed, value in enumerate(own)]
    none, noisy = tabulate(rows)["rows"]
    assert (none[2], none[4], none[7]) == ("37.5", "2 of 3", "")
    assert (noisy[2], noisy[4], noisy[7]) == ("50", "1 of 3", "1 of 3")


def test_a_mean_of_few_says_how_many_replicas_diverged():
    ends = ["budget"] * 2 + ["non-finite weights"] * 6
    rows = [{"p": 0.0, "seed": seed, "test/error": 0.5, "ended_by": end} for seed, end in enumerate(ends)]
    assert [row[4] for row in tabulate(rows)["rows"]] == ["2 of 8, 6 diverged"]


def test_the_errors_of_a_sweep_say_when_they_were_measured():
    replicas = [{"p": 0.0, "seed": 0, "test/error": 0.4, "best/test/error": 0.3, "selected/test/error": 0.35}]
    assert [row[0] for row in tabulate(replicas)["rows"]] == [
        "test error (%)",
        "test error at the epoch where it is lowest (%)",
        "test error where val/error is lowest (%)",
    ]


def test_runs_without_metrics_have_no_table():
    assert tabulate([{"p": 0.0, "seed": 0, "steps": 3}])["rows"] == []


def test_where_no_usual_metric_was_measured_the_others_are_shown():
    table = tabulate([{"p": 0.0, "seed": 0, "test/loss": 0.5, "steps": 3}])
    assert [row[:3] for row in table["rows"]] == [["test loss", "0", "0.5"]]


def test_a_table_without_room_for_all_rows_says_where_they_are():
    rows = [{"p": p / 1000, "seed": 0, "test/error": 0.5, "norm/hidden": 3.0} for p in range(300)]
    assert tabulate(rows[:200])["more"] == ""
    table = tabulate(rows)
    assert (len(table["rows"]), table["more"]) == (400, "200 more rows are in results.csv")


def test_the_metrics_of_a_sweep_are_errors_active_fractions_and_norms():
    assert sweep_metrics(NAMES) == [
        "test/error",
        "best/test/error",
        "train/error",
        "test/active_neurons",
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


def test_many_layers_stand_in_a_table_of_their_own():
    names = [f"{split}/active_fraction{layer}" for split in ("test", "train") for layer in ("", "/a", "/b", "/c", "/d")]
    assert sweep_metrics(names) == names
    assert sweep_metrics([*names, "test/active_fraction/e"]) == [names[0], *names[5:]]
