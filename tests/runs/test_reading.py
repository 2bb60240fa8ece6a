import hashlib
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.runs.reading import Run, find_runs, join_tables, read_arrays

ROWS = [{"p": 0.2, "seed": seed, "test/error": 0.1 + seed} for seed in range(2)]
TABLE = "step,epoch,p,seed,test/error\n0,0,0.2,0,0.5\n10,1,0.2,0,\n"


def found(*paths):
    return [(run.folder.name, run.status) for run in find_runs(paths)]


def test_every_run_below_the_folders_is_found_in_the_order_of_the_numbers(tmp_path):
    for name in ("10", "2", "a/b/1"):
        write_run(tmp_path / name)
    assert [run.folder for run in find_runs([tmp_path])] == [tmp_path / name for name in ("2", "10", "a/b/1")]


def test_a_run_is_found_once_whichever_way_it_is_named(tmp_path):
    write_run(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    paths = [tmp_path, tmp_path / "a", tmp_path / "a" / "result.json", tmp_path / "link"]
    assert len(find_runs(paths)) == 1


@pytest.mark.parametrize("status", ["finished", "failed", "running"])
def test_the_status_is_what_the_record_says(tmp_path, status):
    write_run(tmp_path, status=status, reason="no memory")
    (run,) = find_runs([tmp_path])
    assert (run.status, run.reason) == (status, "no memory")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"status": "finis', "result.json cannot be read: Unterminated string"),
        ("", "result.json cannot be read: Expecting value"),
        ("[1, 2]", "result.json cannot be read: it is no section of keys"),
        ('{"steps": 3}', "result.json is no record of a run: it has no status that is known"),
        ('{"status": ["finished"]}', "result.json is no record of a run: it has no status that is known"),
        ("[" * 100_000, "result.json cannot be read: maximum recursion depth"),
        ("\udcff", "result.json cannot be read: "),
    ],
)
def test_a_record_that_cannot_be_read_makes_an_unreadable_run(tmp_path, text, reason):
    write_run(tmp_path / "whole")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_bytes(text.encode(errors="surrogateescape"))
    broken, whole = find_runs([tmp_path])
    assert (broken.status, whole.status) == ("unreadable", "finished")
    assert broken.reason.startswith(reason)
    assert broken.replicas.empty
    assert broken.config == {}


def test_the_arms_of_an_experiment_are_not_counted_again(tmp_path):
    experiment = {"arms": {"hinge": [], "cross-entropy": []}}
    write_run(tmp_path / "fig3", config={"experiment": experiment})
    for name in ("hinge", "cross-entropy", "another"):
        write_run(tmp_path / "fig3" / name)
    assert found(tmp_path) == [("fig3", "finished"), ("another", "finished")]
    assert found(tmp_path / "fig3" / "hinge") == [("hinge", "finished")]


def test_an_arm_lies_in_the_folder_of_its_run():
    arms = {"hinge": [], "../other": [], "..": [], ".": [], "/etc": []}
    assert Run(Path("a"), "finished", record={"config": {"experiment": {"arms": arms}}}).arms == ["hinge"]


def test_no_run_is_an_error_that_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=f"no run in {tmp_path}: a run's folder has a result.json"):
        find_runs([tmp_path])
    with pytest.raises(ValueError, match="no run in no folder"):
        find_runs([])


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"missing is no folder and no result\.json"):
        find_runs([tmp_path, tmp_path / "missing"])


def test_a_run_gives_what_its_record_holds(tmp_path):
    contents = {
        "replicas": ROWS,
        "command": "python train.py seeds=2",
        "seconds": 1.5,
        "environment": {"commit": "abc"},
        "checks": [{"id": "T1"}],
        "experiment": {"id": "F1", "title": "Figure 1", "claims": [{"id": "F1a"}]},
    }
    (run,) = find_runs([write_run(tmp_path, **contents)])
    assert run.replicas.to_dict("records") == ROWS
    assert (run.command, run.seconds, run.environment) == ("python train.py seeds=2", 1.5, {"commit": "abc"})
    assert (run.checks, run.claims, run.title) == ([{"id": "T1"}], [{"id": "F1a"}], "Figure 1")
    assert run.experiment == contents["experiment"]
    assert run.config == CONFIG


def test_a_run_without_anything_is_empty(tmp_path):
    run = Run(tmp_path, "finished")
    assert (run.config, run.experiment, run.claims, run.checks, run.arms) == ({}, {}, [], [], [])
    assert (run.command, run.seconds, run.environment) == ("", None, {})
    assert run.replicas.empty
    assert run.curves().empty
    assert run.fires() is None
    assert run.title == "unknown on unknown under unknown"


@pytest.mark.parametrize("foreign", [None, 3, "text", [3], {"a": [3]}])
def test_foreign_values_are_taken_for_nothing(foreign, tmp_path):
    keys = ("replicas", "checks", "experiment", "environment", "config", "seconds", "command", "data")
    run = Run(tmp_path, "finished", record=dict.fromkeys(keys, foreign))
    assert isinstance(run.title, str)
    assert len(run.replicas) == 0
    assert run.checks == run.claims == run.arms == []
    assert run.curves().empty


def test_nan_and_values_that_are_no_numbers_are_read(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "x": math.nan, "y": [1], "ended_by": "budget"}, 3])
    (row,) = find_runs([tmp_path])[0].replicas.to_dict("records")
    assert math.isnan(row.pop("x"))
    assert row == {"p": 0.2, "seed": 0, "ended_by": "budget"}


def test_p_and_seed_of_the_configuration_stand_in_for_lacking_ones(tmp_path):
    (run,) = find_runs([write_run(tmp_path, replicas=[{"x": 1.0}], curves="step,epoch,x\n0,0,2\n")])
    assert run.replicas.to_dict("records") == [{"x": 1.0, "p": 0.2, "seed": 0}]
    assert run.curves().to_dict("records") == [{"step": 0, "epoch": 0, "x": 2, "p": 0.2, "seed": 0}]


def test_a_list_of_p_stands_in_for_nothing(tmp_path):
    noise = {"noise": {"p": [0, 0.2]}}
    (run,) = find_runs([write_run(tmp_path, config=noise, replicas=[{"x": 1.0}])])
    assert list(run.replicas) == ["x", "seed"]


def test_a_title_without_an_experiment_names_model_data_and_rule(tmp_path):
    assert find_runs([write_run(tmp_path)])[0].title == "TwoLayer on Hypercube under Resample"
    assert find_runs([write_run(tmp_path, data="MNIST")])[0].title == "TwoLayer on MNIST under Resample"


def test_a_run_that_failed_has_the_title_of_its_experiment(tmp_path):
    write_run(tmp_path, status="failed", config={"experiment": {"id": "F3", "title": "Figure 3"}})
    assert find_runs([tmp_path])[0].title == "Figure 3"


def test_curves_are_the_rows_of_metrics_csv(tmp_path):
    (run,) = find_runs([write_run(tmp_path, curves=TABLE)])
    assert run.curves()[["step", "epoch", "p", "seed"]].values.tolist() == [[0, 0, 0.2, 0], [10, 1, 0.2, 0]]
    assert run.curves()["test/error"].isna().tolist() == [False, True]


def test_curves_of_arms_are_put_together_by_name(tmp_path):
    write_run(tmp_path, config={"experiment": {"arms": {"a": [], "b": [], "c": []}}}, curves=TABLE)
    write_run(tmp_path / "a", curves=TABLE)
    write_run(tmp_path / "c", curves=TABLE.replace("0.5", "0.7"))
    curves = find_runs([tmp_path])[0].curves()
    assert curves[["arm", "step"]].values.tolist() == [["a", 0], ["a", 10], ["c", 0], ["c", 10]]
    assert curves.loc[2, "test/error"] == 0.7


def test_curves_that_cannot_be_read_are_an_error_in_one_line(tmp_path):
    write_run(tmp_path, curves='step,epoch\n"0,0\n1,2,3\n')
    with pytest.raises(ValueError, match=r"metrics.csv cannot be read \(.*\); delete it, or its run"):
        find_runs([tmp_path])[0].curves()


def test_curves_of_many_metrics_are_read_in_one_block(tmp_path):
    names = ["step", "epoch", "p", "seed", *(f"norm/{place}" for place in range(150))]
    write_run(tmp_path, curves=",".join(names) + "\n" + ",".join("0" for _ in names) + "\n")
    curves = find_runs([tmp_path])[0].curves()
    assert curves.shape == (1, 154)
    curves["lr"] = 0.1  # pandas warns of a column that is added to many blocks, which fails the test


def test_fires_are_the_counts_of_the_run_or_of_its_arm(tmp_path):
    counts = np.arange(12).reshape(1, 2, 6)
    write_run(tmp_path, config={"experiment": {"arms": {"a": []}}})
    write_run(tmp_path / "a", fires=counts)
    run = find_runs([tmp_path])[0]
    assert run.fires() is None
    assert run.fires("a").tolist() == counts.tolist()


def test_fires_that_cannot_be_read_are_an_error_and_run_no_code(tmp_path):
    write_run(tmp_path)
    (tmp_path / "fires.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"fires.npz cannot be read \(.*\); delete it"):
        find_runs([tmp_path])[0].fires()
    np.savez(tmp_path / "fires.npz", train=np.array([{"pickled": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"fires.npz cannot be read \(Object arrays cannot be loaded"):
        find_runs([tmp_path])[0].fires()
    np.savez(tmp_path / "fires.npz", other=np.zeros(2))
    with pytest.raises(ValueError, match=r"fires.npz cannot be read \(.*train"):
        find_runs([tmp_path])[0].fires()


def test_tables_without_rows_leave_no_trace():
    assert list(join_tables([])) == ["step", "epoch", "p", "seed"]


def test_a_column_can_be_added_to_joined_tables_of_many_unlike_columns_without_a_warning():
    """pandas warns of one that is added to a table of more than a hundred pieces."""
    tables = [pd.DataFrame({f"norm/layer{number}": [1.0], f"x{number}": ["a"]}) for number in range(120)]
    assert len(join_tables(tables).assign(arm="a")) == 120


def test_what_networks_left_is_that_of_the_run_or_of_its_arm_by_the_numbers_of_the_replicas(tmp_path):
    write_run(tmp_path, config={"experiment": {"arms": {"a": []}}})
    write_run(tmp_path / "a", analysis={"0/x": np.arange(3), "11/x": np.arange(2), "11/layer/y": np.arange(1)})
    run = find_runs([tmp_path])[0]
    assert run.analyses() == {}
    found = {
        number: {name: len(array) for name, array in arrays.items()} for number, arrays in run.analyses("a").items()
    }
    assert found == {0: {"x": 3}, 11: {"x": 2, "layer/y": 1}}


def test_plain_names_of_an_older_version_are_of_the_only_replica(tmp_path):
    (run,) = find_runs(
        [write_run(tmp_path, analysis={"plane_classes": np.arange(3), "reliability_count": np.arange(2)})]
    )
    assert {number: list(arrays) for number, arrays in run.analyses().items()} == {
        0: ["plane_classes", "reliability_count"]
    }


def test_an_array_of_no_replica_is_an_error(tmp_path):
    (run,) = find_runs([write_run(tmp_path, analysis={"first/x": np.arange(3)})])
    with pytest.raises(ValueError, match=r"analysis\.npz of .* has first/x, which names no replica by its number"):
        run.analyses()


def test_single_replicas_of_a_run_or_an_arm_are_no_runs(tmp_path):
    write_run(tmp_path / "run", config={"experiment": {"arms": {"a": []}}})
    write_run(tmp_path / "run" / "a")
    for place in ("run/replicas/p=0.1", "run/replicas/p=0.2", "run/a/replicas/0"):
        write_run(tmp_path / place, status="running")
    assert found(tmp_path) == [("run", "finished")]
    assert found(tmp_path / "run" / "replicas" / "p=0.1") == [("p=0.1", "running")]


def test_runs_in_a_folder_that_happens_to_be_called_replicas_are_runs(tmp_path):
    write_run(tmp_path / "replicas" / "0")
    write_run(tmp_path / "replicas" / "1")
    assert found(tmp_path) == [("0", "finished"), ("1", "finished")]


@pytest.mark.parametrize(
    ("target", "first"),
    [
        ("noisereg.datasets.Cifar10", ["airplane", "automobile"]),
        ("noisereg.datasets.Mnist", []),
        ("noisereg.datasets.NoSuchThing", []),
        ("torchvision.datasets.Cifar10", []),
        (None, []),
    ],
)
def test_classes_have_the_names_that_our_data_sets_give_them(target, first, tmp_path):
    run = find_runs([write_run(tmp_path, config={"dataset": {"_target_": target}})])[0]
    assert list(run.classes[:2]) == first


def test_arrays_are_read_by_name(tmp_path):
    np.savez(tmp_path / "some.npz", a=np.arange(3), b=np.ones((2, 2)))
    found = read_arrays(tmp_path / "some.npz")
    assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2], "b": [[1, 1], [1, 1]]}


def test_a_file_that_is_not_there_has_no_arrays(tmp_path):
    assert read_arrays(tmp_path / "none.npz") is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_file_that_is_damaged_is_named(content, tmp_path):
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.npz cannot be read \(.*\); delete it"):
        read_arrays(tmp_path / "some.npz")


def test_a_single_array_is_no_archive_of_them(tmp_path):
    with (tmp_path / "some.npz").open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"some\.npz cannot be read"):
        read_arrays(tmp_path / "some.npz")


def test_code_in_a_file_is_not_run(tmp_path):
    np.savez(tmp_path / "some.npz", a=np.array([{"pickled": 1}], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_arrays(tmp_path / "some.npz")


FROZEN = Path(__file__).parent / "frozen"  # runs as the version wrote them that trained one network or a grid of them


def test_runs_of_an_older_version_are_read_as_ever():
    grid, single = find_runs([FROZEN])
    assert (grid.status, single.status) == ("finished", "finished")
    assert grid.replicas[["p", "seed", "test/error", "best/test/error/epoch"]].values.tolist() == [
        [0.0, 0, 0.5, 2],
        [0.0, 1, 0.5, 0],
        [0.2, 0, 0.45, 2],
        [0.2, 1, 0.5, 0],
    ]
    assert grid.curves()["norm/output"].tolist()[-2:] == [1.460546, 3.378267]
    assert grid.fires()[0].tolist() == [[2, 5, 3, 7, 2, 5], [4, 5, 4, 6, 4, 8]]
    assert grid.analyses() == {}
    assert single.replicas[["p", "seed", "norm/hidden"]].values.tolist() == [[0.2, 0, 9.009732]]
    assert single.curves()["epoch"].tolist() == [0, 1, 2]
    assert single.fires() is None
    ((number, arrays),) = single.analyses().items()
    assert (number, arrays["reliability_count"].sum()) == (0, 20)


@pytest.mark.parametrize("damage", ["", TABLE[:30], TABLE.replace("0.5", "0.6")])
def test_a_run_whose_curves_are_not_what_it_has_left_is_unreadable(damage, tmp_path):
    write_run(tmp_path, curves=TABLE, digests={"metrics.csv": hashlib.sha256(TABLE.encode()).hexdigest()})
    (run,) = find_runs([tmp_path])
    assert run.status == "finished"
    (tmp_path / "metrics.csv").write_text(damage)
    (run,) = find_runs([tmp_path])
    assert run.status == "unreadable"
    assert run.reason == f"metrics.csv is not what the run has left; resume={tmp_path} mends it"


@pytest.mark.parametrize("digests", [None, [], {"metrics.csv": 3, "../other": "x"}, {}])
def test_digests_of_a_stranger_lead_to_no_other_file_and_to_no_traceback(digests, tmp_path):
    write_run(tmp_path, curves=TABLE, digests=digests)
    (run,) = find_runs([tmp_path])
    assert run.status == ("unreadable" if digests and "metrics.csv" in digests else "finished")


def test_the_equal_parts_of_thousands_of_records_are_one_object(tmp_path):
    for seed in range(3):
        write_run(
            tmp_path / f"{seed}", config={"seed": seed}, environment={"python": "3.11"}, replicas=[{"seed": seed}]
        )
    one, two, three = find_runs([tmp_path])
    assert one.config["model"] is two.config["model"] is three.config["model"]
    assert one.environment is three.environment
    assert [run.config["seed"] for run in (one, two, three)] == [0, 1, 2]
    assert [run.record["replicas"] for run in (one, two)] == [[{"seed": 0}], [{"seed": 1}]]


def test_a_record_of_thousands_of_lists_in_lists_is_unreadable(tmp_path):
    write_run(tmp_path / "good")
    for depth in (400, 900):
        text = '{"status": "finished", "config": {"model": {"a": ' + "[" * depth + "]" * depth + "}}}"
        (tmp_path / f"deep{depth}").mkdir()
        (tmp_path / f"deep{depth}" / "result.json").write_text(text)
    assert ("good", "finished") in [(run.folder.name, run.status) for run in find_runs([tmp_path])]
    assert find_runs([tmp_path / "deep900"])[0].status == "unreadable"
