from itertools import product
from pathlib import Path

import numpy as np
import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.claims.selection import Selection
from noisereg.report.groups.run_group import RunGroup, describe_ends, group_runs
from noisereg.runs.reading import Run, find_runs
from noisereg.statistics import cell_means


def noise(p):
    return {"noise": CONFIG["noise"] | {"p": p}}


def rate(lr):
    return {"optimizer": CONFIG["optimizer"] | {"lr": lr}}


def replicas(p, *seeds, **columns):
    return [{"p": p, "seed": seed, "x": 10 * p + seed, **columns} for seed in seeds]


def grouped(tmp_path):
    return group_runs(find_runs([tmp_path]))


def test_runs_that_differ_in_p_rate_and_seed_alone_are_one_group(tmp_path):
    for name, (p, lr, seed) in enumerate([(0.0, 0.1, 0), (0.2, 0.1, 0), (0.2, 0.1, 1), (0.2, 0.3, 0)]):
        write_run(
            tmp_path / str(name), config={"seed": seed, **noise(p), **rate(lr)}, replicas=replicas(p, seed, arms=[])
        )
    (group,) = grouped(tmp_path)
    assert (group.title, group.name, len(group.runs)) == ("TwoLayer on Hypercube under Resample", "sweep", 4)
    rows = group.replicas[["p", "lr", "seed", "x"]].values.tolist()
    assert rows == [[0, 0.1, 0, 0], [0.2, 0.1, 0, 2], [0.2, 0.1, 1, 3], [0.2, 0.3, 0, 2]]
    assert group.notes == []


QUIET = {"noise": {"_target_": "noisereg.noise.NoNoise", "p": 0, "frozen": False}}
FLIP = {"noise": {"_target_": "noisereg.noise.Flip", "p": 0.3}}


def test_runs_without_noise_are_p_zero_of_every_rule_with_their_other_settings(tmp_path):
    write_run(tmp_path / "0", config=QUIET, replicas=replicas(0.0, 0, 1))
    write_run(tmp_path / "1", replicas=replicas(0.2, 0, 1))
    write_run(tmp_path / "2", config=FLIP, replicas=replicas(0.3, 0, 1))
    write_run(tmp_path / "3", config={**QUIET, "new": 0}, replicas=replicas(0.0, 0))
    groups = grouped(tmp_path)
    assert [(group.title, [run.folder.name for run in group.runs]) for group in groups] == [
        ("TwoLayer on Hypercube under Resample", ["0", "1"]),
        ("TwoLayer on Hypercube under Flip", ["0", "2"]),
        ("TwoLayer on Hypercube without noise", ["3"]),
    ]
    assert groups[1].means[["p", "mean", "difference", "pairs"]].fillna(0).values.tolist() == [
        [0.0, 0.5, 0.0, 0],
        [0.3, 3.5, 3.0, 2],
    ]


A, B = {"train_images": 40, "contents": "ab"}, {"train_images": 40, "contents": "cd"}


def test_runs_on_other_data_are_another_group_and_a_copy_of_the_data_is_not(tmp_path):
    for name, (data, root) in enumerate([(A, "a"), (B, "b"), (A, "copy_of_a")]):
        dataset = {"dataset": CONFIG["dataset"] | {"root": root}}
        write_run(tmp_path / str(name), config=dataset | {"seed": name}, replicas=replicas(0.2, name), fingerprint=data)
    groups = grouped(tmp_path)
    assert [[run.folder.name for run in group.runs] for group in groups] == [["0", "2"], ["1"]]
    first, second = (group.title for group in groups)
    assert first.startswith("TwoLayer on Hypercube under Resample (data = ") and first != second
    assert all(group.notes == [] for group in groups)


def test_runs_under_the_labels_of_two_files_are_two_groups_each_with_the_runs_without_noise(tmp_path):
    file = {"_target_": "noisereg.noise.FileLabels", "p": 1.0, "column": None}
    write_run(tmp_path / "0", config=QUIET, fingerprint=A, replicas=replicas(0.0, 0))
    for name, sha in {"1": "x", "2": "x", "3": "y"}.items():
        config = {"noise": {**file, "path": f"{name}.csv"}, "seed": int(name)}
        write_run(
            tmp_path / name, config=config, fingerprint={**A, "label_file": {"sha256": sha}}, replicas=replicas(1.0, 0)
        )
    groups = grouped(tmp_path)
    assert [[run.folder.name for run in group.runs] for group in groups] == [["0", "1", "2"], ["0", "3"]]


def test_a_title_does_not_name_data_that_a_setting_tells_apart(tmp_path):
    for d in (30, 60):
        dataset = CONFIG["dataset"] | {"d": d}
        write_run(tmp_path / str(d), config={"dataset": dataset}, fingerprint={"settings": dataset}, replicas=[])
    assert [group.title for group in grouped(tmp_path)] == [
        "TwoLayer on Hypercube under Resample (dataset.d = 30)",
        "TwoLayer on Hypercube under Resample (dataset.d = 60)",
    ]


def test_a_run_that_does_not_tell_its_data_is_put_to_those_of_its_settings_if_these_have_one(tmp_path):
    write_run(tmp_path / "0", config={"seed": 0}, replicas=replicas(0.2, 0))
    write_run(tmp_path / "1", config={"seed": 1}, replicas=replicas(0.2, 1), fingerprint=A)
    write_run(tmp_path / "2", config=QUIET, replicas=replicas(0.0, 0))
    (group,) = grouped(tmp_path)
    assert [run.folder.name for run in group.runs] == ["0", "1", "2"]
    assert group.notes == ["runs of an older version, which do not tell their data: 2"]
    write_run(tmp_path / "3", config={"seed": 3}, replicas=replicas(0.2, 3), fingerprint=B)
    assert sorted([run.folder.name for run in group.runs] for group in grouped(tmp_path)) == [["0", "2"], ["1"], ["3"]]


def test_replicas_without_noise_that_several_groups_show_are_counted_once(tmp_path):
    failed = {"ended_by": "non-finite loss"}
    write_run(tmp_path / "0", config=QUIET, replicas=[*replicas(0.0, 0), *replicas(0.0, 1, **failed)])
    write_run(tmp_path / "1", replicas=replicas(0.2, 0))
    write_run(tmp_path / "2", config=FLIP, replicas=replicas(0.3, 0))
    assert describe_ends(grouped(tmp_path)) == "1 of 4 replicas diverged: they have no values at the end"


def test_what_ended_replicas_before_their_plan_did_is_a_note(tmp_path):
    write_run(tmp_path / "0", replicas=[*replicas(0.2, 0, ended_by="EarlyStopping"), *replicas(0.2, 1)])
    write_run(tmp_path / "1", replicas=[*replicas(0.3, 0, ended_by="budget"), *replicas(0.3, 1, ended_by="Mine")])
    (group,) = grouped(tmp_path)
    assert group.notes[0] == describe_ends([group]) == "2 of 4 replicas ended early, by EarlyStopping, Mine"


def test_a_rule_of_ones_own_without_p_has_its_means(tmp_path):
    rows = [{"seed": seed, "x": float(seed)} for seed in range(3)]
    write_run(tmp_path, config={"noise": {"_target_": "mine.Rule"}}, replicas=rows)
    (row,) = grouped(tmp_path)[0].means.to_dict("records")
    assert (row["metric"], row["mean"], row["n"], row["pairs"]) == ("x", 1, 3, 0)


def test_a_path_in_the_title_is_its_last_part_alone(tmp_path):
    data = "images of /home/me/my pictures/cats, 3 of 40 files left out, streamed from disk"
    write_run(tmp_path, config={"model": {"_target_": "noisereg.models.ResNet", "depth": 20}}, data=data)
    assert grouped(tmp_path)[0].title == "ResNet-20 on images of cats under Resample"


def test_one_rate_makes_no_column(tmp_path):
    write_run(tmp_path / "0", replicas=replicas(0.2, 0))
    write_run(tmp_path / "1", config={"seed": 1}, replicas=replicas(0.2, 1))
    assert "lr" not in grouped(tmp_path)[0].replicas


def test_a_list_of_rates_and_a_single_one_share_a_column(tmp_path):
    curves = "step,epoch,p,seed,lr,x\n0,0,0.2,0,0.1,5\n0,0,0.2,0,0.3,6\n"
    rows = [row for lr in (0.1, 0.3) for row in replicas(0.2, 0, lr=lr)]
    write_run(tmp_path / "0", config=rate([0.1, 0.3]), replicas=rows, curves=curves)
    write_run(tmp_path / "1", config=rate(0.5), replicas=replicas(0.2, 0), curves="step,epoch,p,seed,x\n0,0,0.2,0,7\n")
    (group,) = grouped(tmp_path)
    assert group.replicas["lr"].tolist() == [0.1, 0.3, 0.5]
    assert group.curves[["lr", "x"]].values.tolist() == [[0.1, 5], [0.3, 6], [0.5, 7]]


def test_a_list_of_one_rate_is_that_rate(tmp_path):
    for p, lr in ((0.0, [0.1]), (0.2, 0.1), (0.3, 0.5)):
        write_run(tmp_path / str(p), config=noise([p]) | rate(lr), replicas=replicas(p, 0))
    (group,) = grouped(tmp_path)
    assert group.replicas[["p", "lr"]].values.tolist() == [[0, 0.1], [0.2, 0.1], [0.3, 0.5]]


def test_a_value_is_the_same_however_it_is_written(tmp_path):
    for name, momentum in (("0", 0), ("1", 0.0), ("2", 0.5)):
        optimizer = {"optimizer": CONFIG["optimizer"] | {"momentum": momentum}}
        write_run(tmp_path / name, config=optimizer, replicas=replicas(0.2, int(name)))
    assert [len(group.runs) for group in grouped(tmp_path)] == [2, 1]


def test_no_two_groups_have_one_title(tmp_path):
    keys = ("momentum", "dampening", "weight_decay", "nesterov")
    for name, values in enumerate(product((0.1, 0.2), repeat=len(keys))):
        optimizer = CONFIG["optimizer"] | dict(zip(keys, values, strict=True))
        write_run(tmp_path / str(name), config={"optimizer": optimizer}, replicas=[])
    titles = [group.title for group in grouped(tmp_path)]
    assert len(titles) == len(set(titles)) == 16


def test_other_settings_make_other_groups_with_titles_and_names_of_their_own(tmp_path):
    for hidden in (240, 100):
        write_run(tmp_path / str(hidden), config={"model": CONFIG["model"] | {"hidden": hidden}})
    names = [(group.title, group.name) for group in grouped(tmp_path)]
    title = "TwoLayer on Hypercube under Resample"
    assert names == [(f"{title} (model.hidden = 100)", "sweep"), (f"{title} (model.hidden = 240)", "sweep-2")]


def test_runs_of_one_experiment_are_together_and_come_first(tmp_path):
    write_run(tmp_path / "0")
    for name, key in (("1", "F1"), ("2", "F3/a"), ("3", "F1")):
        experiment = {"id": key, "title": f"Figure {key}"}
        write_run(tmp_path / name, config={"seed": int(name)}, experiment=experiment)
    found = [(group.title, group.name, [run.folder.name for run in group.runs]) for group in grouped(tmp_path)]
    sweep = ("TwoLayer on Hypercube under Resample", "sweep", ["0"])
    assert found == [("Figure F1", "F1", ["1", "3"]), ("Figure F3/a", "F3-a", ["2"]), sweep]


def test_the_short_form_of_an_experiment_is_not_mixed_with_the_whole(tmp_path):
    for name, fast in (("0", True), ("1", False)):
        write_run(tmp_path / name, config={"fast": fast}, experiment={"id": "F1", "title": "Figure 1"})
    assert [group.title for group in grouped(tmp_path)] == ["Figure 1 (fast = true)", "Figure 1 (fast = false)"]


def test_only_finished_runs_are_grouped(tmp_path):
    for status in ("running", "failed", "finished"):
        write_run(tmp_path / status, status=status, replicas=replicas(0.2, 0))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text("{")
    assert [run.folder.name for group in grouped(tmp_path) for run in group.runs] == ["finished"]


def test_of_a_replica_that_two_runs_hold_the_later_folders_counts(tmp_path):
    curve = "step,epoch,p,seed,x\n0,0,0.2,0,{}\n"
    for name, x in (("2", 5.0), ("10", 7.0)):
        rows = [{"p": 0.2, "seed": 0, "x": x}]
        write_run(tmp_path / name, replicas=rows, curves=curve.format(x), environment={"commit": f"c{name}"})
    (group,) = grouped(tmp_path)
    assert group.replicas["x"].tolist() == [7.0]
    assert group.curves["x"].tolist() == [7.0]
    assert group.notes == [
        "replicas that two runs hold: 1; the later folder's count",
        "runs of several commits: c2, c10",
    ]


def test_a_curve_that_ended_early_does_not_go_on_with_that_of_an_earlier_folder(tmp_path):
    head = "step,epoch,p,seed,x\n0,0,0.2,0,{0}\n9,1,0.2,0,{0}\n"
    for name, curve in (("1", head.format(5.0) + "18,2,0.2,0,5.0\n0,0,0.2,1,4.0\n"), ("2", head.format(7.0))):
        write_run(tmp_path / name, replicas=replicas(0.2, 0, 1) if name == "1" else replicas(0.2, 0), curves=curve)
    (group,) = grouped(tmp_path)
    assert sorted(group.curves[["seed", "step", "x"]].to_numpy().tolist()) == [[0, 0, 7], [0, 9, 7], [1, 0, 4]]


def test_missing_seeds_are_those_that_another_p_of_the_arm_has(tmp_path):
    rows = [
        *replicas(0.0, 0, 1, 2, arm="a"),
        *replicas(0.2, 1, arm="a"),
        *replicas(0.2, 5, arm="b"),
    ]
    write_run(tmp_path, replicas=rows)
    assert grouped(tmp_path)[0].missing == ["arm = a, p = 0.2: seeds 0, 2"]


def test_missing_seeds_are_whole_numbers_that_a_replica_has(tmp_path):
    write_run(tmp_path, replicas=[*replicas(0.0, 20240101, 20240102), *replicas(0.2, 20240102), {"p": 0.0, "x": 1.0}])
    assert grouped(tmp_path)[0].missing == ["p = 0.2: seeds 20240101"]


@pytest.mark.parametrize("rows", [replicas(0.0, 0, 1) + replicas(0.2, 0, 1), replicas(0.0, 3), []])
def test_no_seed_is_missing_where_all_have_the_same(tmp_path, rows):
    write_run(tmp_path, replicas=rows)
    assert grouped(tmp_path)[0].missing == []


def test_claims_and_checks_are_judged_on_all_replicas_and_curves(tmp_path):
    claims = [
        {"id": "F1a", "metric": "x", "of": {"p": 0.2}, "paper": 2.5},
        {"id": "F1b", "metric": "x", "of": {"at": "start"}, "paper": 9},
    ]
    check = {"id": "T1", "measured": 1, "predicted": 1, "holds": True, "n": 3}
    for seed in range(2):
        write_run(
            tmp_path / str(seed),
            config={"seed": seed},
            replicas=replicas(0.2, seed),
            curves=f"step,epoch,p,seed,x\n0,0,0.2,{seed},{8 + 2 * seed}\n",
            checks=[check | {"n": 3 + seed}],
            experiment={"id": "F1", "claims": claims},
        )
    judgements = grouped(tmp_path)[0].judgements
    assert [(j.id, j.mean, j.n, j.verdict) for j in judgements] == [
        ("F1a", 2.5, 2, "undecided"),
        ("F1b", 9, 2, "undecided"),
        ("T1", 1, 4, "reproduced"),
    ]


def test_a_replica_that_diverged_has_no_value_at_the_end_and_the_group_counts_it(tmp_path):
    rows = replicas(0.2, 0, 1, 2, ended_by="budget")
    rows[1] |= {"ended_by": "non-finite weights", "epochs": 3}  # as in records of older versions, with its last values
    write_run(tmp_path, replicas=rows)
    (group,) = grouped(tmp_path)
    assert group.replicas["x"].isna().tolist() == [False, True, False]
    assert group.replicas.loc[1, ["p", "seed", "epochs"]].tolist() == [0.2, 1, 3]
    assert group.notes == ["1 of 3 replicas diverged: they have no values at the end"]


def test_fires_are_those_of_the_selected_replicas(tmp_path):
    arms = {"experiment": {"arms": {"a": [], "b": [], "without": []}}}
    rows = [*replicas(0.0, 0, arm="a"), *replicas(0.2, 0, 1, arm="b"), *replicas(0.2, 0, arm="without")]
    counts = np.arange(3)[:, None, None] * np.ones((3, 2, 4), dtype=int)
    write_run(tmp_path, config=arms, replicas=rows)
    write_run(tmp_path / "a", fires=counts[:1])
    write_run(tmp_path / "b", fires=counts[1:])
    (group,) = grouped(tmp_path)
    assert group.fires(Selection({"p": 0.2, "seed": 1})).tolist() == counts[2:].tolist()
    assert group.fires(Selection({"arm": "a"})).tolist() == counts[:1].tolist()
    assert group.fires(Selection()).tolist() == counts.tolist()
    assert group.fires(Selection({"arm": "without"})) is None
    assert group.fires(Selection({"p": 0.5})) is None


def test_fires_that_do_not_fit_the_replicas_are_an_error(tmp_path):
    write_run(tmp_path, replicas=replicas(0.2, 0, 1), fires=np.zeros((3, 2, 4)))
    with pytest.raises(ValueError, match=r"fires\.npz of .* has 3 replicas, and result\.json 2"):
        grouped(tmp_path)[0].fires(Selection())


def test_what_networks_left_is_that_of_the_selected_ones_with_their_rows(tmp_path):
    arms = {"experiment": {"arms": {"a": [], "b": [], "without": []}}}
    rows = [*replicas(0.0, 0, arm="a"), *replicas(0.2, 0, arm="b"), *replicas(0.2, 0, arm="without")]
    write_run(tmp_path, config=arms, replicas=rows)
    for place, arm in enumerate("ab"):
        write_run(tmp_path / arm, analysis={"plane_classes": np.array([place])})
    (group,) = grouped(tmp_path)
    found = [
        [(network.replica["arm"], network.arrays["plane_classes"].tolist()) for network in group.analyses(selection)]
        for selection in (Selection(), Selection({"p": 0.2}), Selection({"arm": "without"}))
    ]
    assert found == [[("a", [0]), ("b", [1])], [("b", [1])], []]


def test_what_the_networks_of_a_grid_left_is_found_by_their_numbers(tmp_path):
    left = {"0/plane_classes": np.array([5]), "2/plane_classes": np.array([7]), "2/plane_test_labels": np.array([1])}
    write_run(tmp_path, replicas=[*replicas(0.0, 0, 1), *replicas(0.2, 0, 1)], analysis=left)
    (group,) = grouped(tmp_path)
    found = {
        (network.replica["p"], network.replica["seed"]): {name: int(array[0]) for name, array in network.arrays.items()}
        for network in group.analyses(Selection())
    }
    assert found == {(0.0, 0): {"plane_classes": 5}, (0.2, 0): {"plane_classes": 7, "plane_test_labels": 1}}
    assert [network.replica["p"] for network in group.analyses(Selection({"p": 0.2}))] == [0.2]


def test_what_the_network_of_two_runs_left_is_that_of_the_later_folder_once(tmp_path):
    for place, seeds in enumerate([(0, 1), (1, 2)]):
        left = {f"{number}/plane_classes": np.array([10 * place + seed]) for number, seed in enumerate(seeds)}
        counts = np.array([[[10 * place + seed]] for seed in seeds])
        rows = replicas([0, 0.0][place], *seeds)  # which are one strength
        write_run(tmp_path / str(place), replicas=rows, analysis=left, fires=counts)
    (group,) = grouped(tmp_path)
    assert sorted(int(network.arrays["plane_classes"][0]) for network in group.analyses(Selection())) == [0, 11, 12]
    assert sorted(group.fires(Selection()).flatten().tolist()) == [0, 11, 12]
    assert len(group.replicas) == 3


def test_what_a_network_left_must_be_of_a_replica(tmp_path):
    write_run(tmp_path, replicas=replicas(0.2, 0, 1), analysis={"2/plane_classes": np.arange(3)})
    with pytest.raises(ValueError, match=r"analysis\.npz of .* has replica 2, and result\.json has 2"):
        grouped(tmp_path)[0].analyses(Selection())


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": CONFIG["dataset"] | {"workers": 4, "root": "/elsewhere"}},
        {"trust": ["mypkg"]},
        {"threads": 2},
        {"seeds": 20, "logger": {"wandb": True}, "suggested": {"p": 0.1}},
        {"experiment": {"title": "Figure 3", "claims": [{}]}},
    ],
)
def test_seeds_that_differ_in_what_cannot_change_a_result_are_one_group(tmp_path, other):
    write_run(tmp_path / "0", replicas=replicas(0.2, 0))
    write_run(tmp_path / "1", config={"seed": 1, **other}, replicas=replicas(0.2, 1))
    (group,) = grouped(tmp_path)
    assert cell_means(group.replicas, ["x"], by=["p"])["n"].tolist() == [2]


@pytest.mark.parametrize(
    "other", [{"model": {"hidden": 241}}, {"experiment": {"arms": {"a": []}}}, {"experiment": {"id": "F3"}}, {"new": 0}]
)
def test_runs_that_differ_in_anything_else_are_two_groups(tmp_path, other):
    write_run(tmp_path / "0", replicas=replicas(0.2, 0))
    write_run(tmp_path / "1", config={"seed": 1, **other}, replicas=replicas(0.2, 1))
    assert len(grouped(tmp_path)) == 2


def test_a_group_without_replicas_has_nothing_to_say(tmp_path):
    group = RunGroup("empty", "empty", find_runs([write_run(tmp_path)]))
    assert group.replicas.empty
    assert (group.judgements, group.missing, group.notes, group.fires(Selection())) == ([], [], [], None)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["é" * 300, "é" * 299], ["é" * 50, f"{'é' * 50}-2"]),  # no file system has such long names
        (["comparison", "differences"], ["comparison-2", "differences-2"]),  # which an export writes itself
        (["..", "/", "../../x"], ["-", "--2", "-x"]),
        (["x", "x-claims", "y-figure", "y"], ["x", "x-claims-2", "y-figure", "y-2"]),  # of which an export writes both
    ],
)
def test_a_group_has_a_name_that_a_file_can_have(names, wanted):
    runs = [Run(Path(str(len(name))), "finished", record={"experiment": {"id": name}}) for name in names]
    assert [group.name for group in group_runs(runs)] == wanted
