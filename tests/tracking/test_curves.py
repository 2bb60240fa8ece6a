import csv

from noisereg.tracking import CurveTable


def _file_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_values_of_one_step_share_a_row_and_later_columns_are_empty_before(tmp_path):
    table = CurveTable(tmp_path / "metrics.csv", p=0.1, seed=4)
    table.log_metrics({"epoch": 0, "a": 1.0}, step=0)
    table.log_metrics({"epoch": 1, "a": 0.5}, step=10)
    table.log_metrics({"epoch": 1, "b": 2.0}, step=10)
    table.finalize("success")
    assert _file_rows(tmp_path / "metrics.csv") == [
        {"step": "0", "epoch": "0", "p": "0.1", "seed": "4", "a": "1.0", "b": ""},
        {"step": "10", "epoch": "1", "p": "0.1", "seed": "4", "a": "0.5", "b": "2.0"},
    ]


def test_a_table_goes_on_after_the_step_from_which_a_run_is_resumed(tmp_path):
    path = tmp_path / "metrics.csv"
    first = CurveTable(path, p=0.1, seed=0)
    for epoch in range(4):
        first.log_metrics({"epoch": epoch, "a": float(epoch)}, step=10 * epoch)
    first.write()
    second = CurveTable(path, p=0.1, seed=0)
    assert second.rows == first.rows
    second.log_metrics({"epoch": 2, "a": 7.0}, step=20)
    assert [(row["step"], row["a"]) for row in second.rows] == [(0, 0.0), (10, 1.0), (20, 7.0)]


def test_last_and_best_values():
    table = CurveTable(None, p=0.0, seed=0)
    for epoch, error in enumerate([0.5, 0.2, 0.3]):
        table.log_metrics({"epoch": epoch, "test/error": error}, step=epoch)
    table.log_metrics({"epoch": 3, "train/loss": 1.5}, step=3)
    assert table.last() == {"test/error": 0.3, "train/loss": 1.5}
    assert table.best("test/error") == {"best/test/error": 0.2, "best/test/error/epoch": 1}
    assert table.best("val/error") == {}


def test_values_are_kept_to_the_digits_of_float32():
    table = CurveTable(None, p=0.0, seed=0)
    table.log_metrics({"noise/effective_rate": 0.10000000149011612}, step=0)
    assert table.last() == {"noise/effective_rate": 0.1}


def test_a_table_without_a_path_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = CurveTable(None, p=0.0, seed=0)
    table.log_metrics({"a": 1.0}, step=0)
    table.finalize("success")
    assert not list(tmp_path.iterdir())
