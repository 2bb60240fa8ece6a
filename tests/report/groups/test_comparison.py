import numpy as np
import pytest
from runs.run_folders import CONFIG, write_run
from scipy import stats

from noisereg.report.groups.comparison import Comparison
from noisereg.report.groups.run_group import group_runs
from noisereg.runs.reading import find_runs

QUIET = {"noise": {"_target_": "noisereg.noise.NoNoise", "p": 0}}


def write(tmp_path, name, *, seeds=(0, 1, 2), p=0.2, error=lambda seed: 0.5, **config):
    rows = [{"p": p, "seed": seed, "test/error": error(seed)} for seed in seeds]
    write_run(tmp_path / name, config={"noise": CONFIG["noise"] | {"p": p}, **config}, replicas=rows)


def model(**arguments):
    return {"model": CONFIG["model"] | arguments}


def compared(tmp_path):
    return Comparison(group_runs(find_runs([tmp_path])))


def test_replicas_are_told_apart_by_the_settings_that_differ_and_no_others(tmp_path):
    for hidden, p in ((8, 0.0), (8, 0.2), (16, 0.0), (16, 0.2)):
        write(tmp_path, f"{hidden},{p}", p=p, **model(hidden=hidden))
    assert compared(tmp_path).keys == ["model.hidden", "noise.p"]


def test_a_part_that_differs_stands_for_all_that_comes_with_it(tmp_path):
    write(tmp_path, "0", **model())
    write(tmp_path, "1", **{"model": {"_target_": "noisereg.models.ResNet", "depth": 20}, "dataset": {"root": "d"}})
    found = compared(tmp_path)
    assert found.keys == ["model"]
    assert found.rows["model"].unique().tolist() == ["TwoLayer", "ResNet-20"]
    assert found.column("model.depth").dropna().unique().tolist() == [20]


def test_networks_of_one_class_and_several_depths_differ_by_their_names(tmp_path):
    for depth in (20, 32):
        write(tmp_path, str(depth), **{"model": {"_target_": "noisereg.models.ResNet", "depth": depth}})
    assert compared(tmp_path).rows["model"].unique().tolist() == ["ResNet-20", "ResNet-32"]


def test_runs_without_noise_are_p_zero_of_every_rule(tmp_path):
    write(tmp_path, "0", p=0, **QUIET)
    write(tmp_path, "1")
    write(tmp_path, "2", **{"noise": {"_target_": "noisereg.noise.Flip", "p": 0.2}})
    found = compared(tmp_path)
    cells = found.means[["noise", "noise.p", "n"]].values.tolist()
    assert cells == [["Resample", 0.0, 3], ["Resample", 0.2, 3], ["Flip", 0.0, 3], ["Flip", 0.2, 3]]


def test_a_difference_is_over_the_seeds_that_both_have_with_the_interval_of_a_paired_t_test(tmp_path):
    errors = {8: [0.31, 0.35, 0.36, 0.4], 16: [0.33, 0.3, 0.41, 0.9]}
    write(tmp_path, "a", error=lambda seed: errors[8][seed], **model(hidden=8))
    write(tmp_path, "b", seeds=(0, 1, 2, 3), error=lambda seed: errors[16][seed], **model(hidden=16))
    (row,) = compared(tmp_path).differences.to_dict("records")
    change = np.subtract(errors[16][:3], errors[8][:3])
    interval = stats.ttest_rel(errors[16][:3], errors[8][:3]).confidence_interval(0.95)
    assert (row["key"], row["than"], row["model.hidden"], row["pairs"]) == ("model.hidden", 8, 16, 3)
    ends = (row["difference"], row["difference_low"], row["difference_high"])
    assert ends == pytest.approx((change.mean(), interval.low, interval.high))


def test_runs_that_differ_in_more_than_a_key_are_not_subtracted_and_what_else_differs_is_named(tmp_path):
    other = {"_target_": "noisereg.models.MLP", "hidden": 8}
    write(tmp_path, "a", **model(hidden=8), dataset={"_target_": "noisereg.datasets.Hypercube"})
    write(tmp_path, "b", model=other, dataset={"_target_": "noisereg.datasets.Mnist"})
    write(
        tmp_path,
        "c",
        model=other,
        dataset={"_target_": "noisereg.datasets.Mnist"},
        loss={"_target_": "noisereg.losses.Hinge"},
    )
    found = compared(tmp_path)
    assert found.keys == ["model", "loss"]
    assert found.differences["key"].unique().tolist() == ["loss"]
    assert found.also_differing == ["dataset._target_"]


def test_how_often_runs_are_measured_keeps_none_from_being_subtracted(tmp_path):
    for hidden in (8, 16):
        write(tmp_path, str(hidden), **model(hidden=hidden), callbacks={"sparsity": {"every_n_epochs": hidden}})
    found = compared(tmp_path)
    assert found.differences["key"].unique().tolist() == ["model.hidden"] and not found.also_differing


def test_only_those_are_subtracted_that_differ_in_one_key(tmp_path):
    for hidden, p in ((8, 0.0), (8, 0.2), (16, 0.0), (16, 0.2), (32, 0.2)):
        write(tmp_path, f"{hidden},{p}", p=p, **model(hidden=hidden))
    found = compared(tmp_path).differences
    rows = found[["model.hidden", "noise.p", "key", "than"]].values.tolist()
    assert sorted(rows) == sorted([
        [16, 0.0, "model.hidden", 8], [16, 0.2, "model.hidden", 8], [32, 0.2, "model.hidden", 8],
        [32, 0.2, "model.hidden", 16], [8, 0.2, "noise.p", 0.0], [16, 0.2, "noise.p", 0.0],
    ])  # fmt: skip
    first = compared(tmp_path).differences_to_the_first
    assert len(first) == len(found) - 1 and 16 not in first.loc[first["key"] == "model.hidden", "than"].tolist()


def test_runs_that_share_no_seed_have_no_difference(tmp_path):
    write(tmp_path, "a", seeds=(0, 1), **model(hidden=8))
    write(tmp_path, "b", seeds=(2, 3), **model(hidden=16))
    assert compared(tmp_path).differences.empty


def test_two_replicas_of_a_seed_are_not_averaged_as_two(tmp_path):
    write(tmp_path, "a", **model(hidden=8))
    write(tmp_path, "b", **model(hidden=8), new=1)
    assert not compared(tmp_path).has_doubles
    assert compared(tmp_path).keys == ["new"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.hiden", "model.hiden is no setting of these runs and was not measured; did you mean model.hidden?"),
        ("test/eror", "did you mean test/error?"),
        ("group", "group is no setting of these runs"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(name, message, tmp_path):
    write(tmp_path, "a")
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        compared(tmp_path).column(name)


def test_rules_that_share_the_runs_without_noise_are_not_compared_at_p_zero(tmp_path):
    """There a replica would be subtracted from itself."""
    write(tmp_path, "none", p=0, **QUIET)
    for name in ("Flip", "Resample"):
        write(tmp_path, name, **{"noise": {"_target_": f"noisereg.noise.{name}", "p": 0.2}})
    found = compared(tmp_path)
    assert found.rows.groupby(["noise", "noise.p"]).size().tolist() == [3, 3, 3, 3]
    assert found.differences[["noise", "noise.p", "key", "than"]].values.tolist() == [
        ["Resample", 0.2, "noise", "Flip"],
        ["Flip", 0.2, "noise.p", 0.0],
        ["Resample", 0.2, "noise.p", 0.0],
    ]
