import pandas as pd
import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.tradeoff import as_markdown, choose_strengths, main


def rows_of(*cells):
    return pd.DataFrame(
        [
            {"arm": arm, "p": p, "seed": seed, "val/error": val, "test/error": test, "train/active_neurons": active}
            for arm, p, val, test, active in cells
            for seed in range(3)
        ]
    )


CELLS = [
    ("noise", 0.0, 0.40, 0.41, 90.0),
    ("noise", 0.2, 0.20, 0.22, 50.0),
    ("noise", 0.5, 0.30, 0.10, 20.0),  # better on the test samples: it must not be chosen by that
    ("l1_1", 0.0, 0.19, 0.24, 70.0),
    ("l1_2", 0.0, 0.20, 0.25, 60.0),
    ("l1_3", 0.0, 0.35, 0.36, 40.0),
    ("lr_9", 0.0, 0.38, 0.39, 80.0),
]


def test_strengths_are_chosen_on_validation_samples_and_reported_on_test_samples():
    chosen = choose_strengths(rows_of(*CELLS), reference="noise").set_index(["question", "method"])
    assert chosen["strength"].to_dict() == {
        ("lowest validation error", "noise"): "0.2",
        ("lowest validation error", "l1"): "1",
        ("lowest validation error", "lr"): "9",
        ("fewest active neurons at that error", "noise"): "0.2",
        ("fewest active neurons at that error", "l1"): "2",
        ("fewest active neurons at that error", "lr"): "none",
        ("lowest error at that activity", "noise"): "0.2",
        ("lowest error at that activity", "l1"): "3",
        ("lowest error at that activity", "lr"): "none",
    }
    at_error = chosen.loc[("fewest active neurons at that error", "l1")]
    assert (at_error["test/error"], at_error["train/active_neurons"], at_error["n"]) == (pytest.approx(0.25), 60, 3)
    text = as_markdown(chosen.reset_index())
    assert "| l1 | 2 | 25.0 (25.0 to 25.0) | 60.0 (60.0 to 60.0) | 3 |" in text
    assert "| lr | none | | | |" in text


def test_early_stopping_is_a_method_the_network_without_noise_at_the_epoch_that_validation_chooses():
    rows = rows_of(*CELLS)
    rows = rows.assign(**{"selected/val/error": 0.18, "selected/test/error": 0.45, "selected/train/active_neurons": 60})
    chosen = choose_strengths(rows, reference="noise").set_index(["question", "method"])
    at_error = chosen.loc[("fewest active neurons at that error", "early stopping")]
    assert (at_error["strength"], at_error["n"], at_error["train/active_neurons"]) == ("p = 0", 3, 60)
    assert at_error["test/error"] == pytest.approx(0.45)
    assert chosen.loc[("lowest error at that activity", "early stopping"), "strength"] == "none"  # 60 are more than 50
    assert chosen.loc[("lowest validation error", "noise"), "strength"] == "0.2"


def test_no_interval_goes_beyond_what_is_possible():
    rows = rows_of(*CELLS)
    rows.loc[rows["arm"] == "lr_9", "test/error"] = [0.0, 0.9, 0.3]  # mean 0.4, half of its interval 1.14
    line = next(line for line in as_markdown(choose_strengths(rows, reference="noise")).splitlines() if "| lr" in line)
    assert line == "| lr | 9 | 40.0 (0.0 to 100.0) | 80.0 (80.0 to 80.0) | 3 |"


def test_a_mean_says_of_how_many_replicas_it_is():
    rows = rows_of(*CELLS)
    rows.loc[(rows["arm"] == "lr_9") & (rows["seed"] == 0), "test/error"] = float("nan")
    line = next(line for line in as_markdown(choose_strengths(rows, reference="noise")).splitlines() if "| lr" in line)
    assert line.endswith("| 2 |")


def test_a_method_or_column_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="reference must be a method with values, one of noise, l1, lr, got dropout"):
        choose_strengths(rows_of(*CELLS), reference="dropout")
    with pytest.raises(ValueError, match="no replica has the column val/error"):
        choose_strengths(rows_of(*CELLS).drop(columns="val/error"), reference="noise")


def test_a_folder_without_a_run_ends_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere" in line


def test_a_run_that_is_not_finished_is_named(tmp_path, capsys):
    (tmp_path / "result.json").write_text('{"status": "failed", "reason": "no memory"}')
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: no finished run in {tmp_path}\n"


def test_runs_of_several_settings_have_no_common_table(tmp_path, capsys):
    for hidden in (8, 16):
        rows = rows_of(*CELLS).to_dict("records")
        write_run(tmp_path / str(hidden), config={"model": CONFIG["model"] | {"hidden": hidden}}, replicas=rows)
    assert main([str(tmp_path / "8")]) == 0
    assert "| noise | 0.2 |" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 2
    assert "holds runs of 2 settings, and a table is of one" in capsys.readouterr().err


def test_a_strength_without_validation_error_is_not_chosen():
    rows = rows_of(("noise", 0.1, None, 0.1, 10.0), *CELLS)
    assert choose_strengths(rows, reference="noise").equals(choose_strengths(rows_of(*CELLS), reference="noise"))
    rows = rows[(rows["arm"] != "noise") | (rows["p"] == 0.1)]
    with pytest.raises(ValueError, match="reference must be a method with values, one of l1, lr, got noise"):
        choose_strengths(rows, reference="noise")
