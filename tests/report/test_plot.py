import pandas as pd
import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.figures.panel_values import panel_means
from noisereg.report.groups.run_group import group_runs
from noisereg.report.plot import Plot, bar, main
from noisereg.runs.reading import find_runs

SEEDS = range(3)


def value(hidden, p, seed):
    return 0.5 - p + hidden / 100 + seed / 100


@pytest.fixture
def sweep(tmp_path):
    """The folders of a sweep over the width and p, three seeds each, with curves of two epochs."""
    for hidden in (8, 16):
        for p in (0.0, 0.2):
            rows = [
                {"p": p, "seed": s, "test/error": value(hidden, p, s), "train/active_fraction": value(hidden, p, s) / 2}
                for s in SEEDS
            ]
            curves = [{"step": epoch, "epoch": epoch, **row} for row in rows for epoch in (0, 1)]
            folder = tmp_path / "sweep" / f"{hidden},{p}"
            config = {"model": CONFIG["model"] | {"hidden": hidden}, "noise": CONFIG["noise"] | {"p": p}}
            write_run(folder, config=config, replicas=rows, curves=pd.DataFrame(curves).to_csv(index=False))
    return tmp_path / "sweep"


def means(sweep, **asked):
    plot = Plot.of(group_runs(find_runs([sweep])), **{"y": ["test/error"], **asked})
    return panel_means(plot.panels[0], replicas=plot.replicas, curves=plot.curves)


def test_a_plot_has_the_means_of_each_line_along_any_setting(sweep):
    found = means(sweep, x="noise.p", by=["model.hidden"])
    assert found["arm"].tolist() == ["model.hidden = 8"] * 2 + ["model.hidden = 16"] * 2
    assert found["x"].tolist() == [0, 0.2] * 2
    assert found["mean"].tolist() == pytest.approx([59, 39, 67, 47])
    assert found["n"].tolist() == [3] * 4
    along = means(sweep, x="model.hidden", by=["noise.p"])
    assert sorted(along[["p", "x"]].values.tolist()) == [[0, 8], [0, 16], [0.2, 8], [0.2, 16]]


def test_the_band_is_student_s_interval_over_the_seeds(sweep):
    """The deviation of 0, 1, 2 is 1; t of two degrees of freedom is 4.302653."""
    found = means(sweep, x="p")
    assert (found["high"] - found["mean"]).tolist() == pytest.approx([4.302653 / 3**0.5] * 4)


def test_the_terminal_has_the_ends_of_an_interval_that_is_cut_at_what_is_possible(tmp_path, capsys):
    """The errors 0, 0 and 3 % have the deviation √3: 1 ± 4.302653 is cut at 0; the errors 0.5, 0.6, 0.7 are not."""
    for p, errors in ((0.0, (0.0, 0.0, 0.03)), (0.2, (0.5, 0.6, 0.7))):
        rows = [{"p": p, "seed": seed, "test/error": error} for seed, error in enumerate(errors)]
        write_run(tmp_path / str(p), config={"noise": CONFIG["noise"] | {"p": p}}, replicas=rows)
    assert main([str(tmp_path), "--x", "noise.p"]) == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    (at,) = (at for at, words in enumerate(lines) if words[:3] == ["0", "3", "1.00"])
    assert lines[at + 1] == ["[0,", "5.30]"] and "60.00±24.84" in printed


def test_what_differs_beside_the_axis_tells_lines_apart_if_nothing_is_said(sweep):
    assert means(sweep, x="noise.p")["arm"].nunique() == 2
    assert sorted(means(sweep, x="model.hidden")["p"]) == [0, 0, 0.2, 0.2]


def test_a_line_is_told_by_a_setting_that_the_axis_decides(tmp_path):
    for hidden, p in ((8, 0.0), (16, 0.2)):
        config = {"model": CONFIG["model"] | {"hidden": hidden}, "noise": CONFIG["noise"] | {"p": p}}
        write_run(tmp_path / str(p), config=config, replicas=[{"p": p, "seed": 0, "test/error": 0.5}])
    found = means(tmp_path, x="noise.p", by=["model.hidden"])
    assert found[["x", "arm"]].values.tolist() == [[0, "model.hidden = 8"], [0.2, "model.hidden = 16"]]


def test_arms_along_the_axis_and_another_setting_as_lines(tmp_path):
    for hidden in (8, 16):
        rows = [
            {"arm": arm, "p": p, "seed": s, "test/error": value(hidden, p, s)}
            for arm, p in (("none", 0.0), ("noise", 0.2))
            for s in SEEDS
        ]
        config = {"model": CONFIG["model"] | {"hidden": hidden}, "experiment": {"arms": {"none": [], "noise": []}}}
        write_run(tmp_path / str(hidden), config=config, replicas=rows)
    found = means(tmp_path, x="arm", by=["model.hidden"]).set_index(["arm", "x"])["mean"]
    assert found.to_dict() == pytest.approx(
        {
            ("model.hidden = 8", "none"): 59,
            ("model.hidden = 8", "noise"): 39,
            ("model.hidden = 16", "none"): 67,
            ("model.hidden = 16", "noise"): 47,
        }
    )


def test_curves_are_drawn_over_epochs(sweep):
    found = means(sweep, x="epoch", by=["model.hidden", "noise.p"])
    assert len(found) == 8 and found["x"].unique().tolist() == [0, 1]


def test_curves_that_cannot_be_read_are_a_line(sweep, capsys):
    (sweep / "8,0.0" / "metrics.csv").write_text("step,epoch,p,seed,test/error\n0,0,0,0,low\n")
    assert main([str(sweep), "--x", "epoch"]) == 0
    fault = "metrics.csv cannot be read (its column test/error has more than numbers); delete it, or its run"
    assert f"{sweep / '8,0.0'}/{fault}" in capsys.readouterr().out
    assert main([str(sweep / "8,0.0"), "--x", "epoch"]) == 2
    assert fault in capsys.readouterr().err


def test_of_two_things_that_were_measured_each_replica_is_a_point_in_the_unit_that_is_shown(sweep):
    found = means(sweep, x="train/active_fraction", by=[])
    assert len(found) == 12 and found["n"].eq(1).all()
    assert found["mean"].tolist() == pytest.approx([2 * x for x in found["x"]])


def test_other_replicas_are_left_out(sweep):
    found = means(sweep, x="noise.p", where=["model.hidden=8"])
    assert found["mean"].tolist() == pytest.approx([59, 39])
    assert means(sweep, x="model.hidden", where=["p=0.2"])["mean"].tolist() == pytest.approx([39, 47])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--x", "noise.q"], "--x noise.q is no setting of these runs and was not measured; did you mean noise.p?"),
        (["--x", "p", "--y", "test/eror"], "--y test/eror is no setting of these runs"),
        (["--x", "p", "--by", "modl"], "--by modl is no setting of these runs and was not measured; did you mean mo"),
        (["--x", "p", "--by", "model"], "differ in model.hidden too: name them in --by, or choose one value: --where"),
        (["--x", "loss"], "--x loss is no setting of these runs"),
        (["--x", "optimizer.lr"], "--x optimizer.lr is 0.1 in all replicas; they differ in model.hidden, noise.p"),
        (["--x", "p", "--y", ","], "--y must name what was measured, such as test/error, got ','"),
        (["--x", "p", "--where", "model.hidden"], "--where must be KEY=VALUE, got model.hidden"),
        (["--x", "p", "--where", "model.hidden=9"], "no replica has this; there are 8, 16"),
        (["--x", "p", "--output", "a.jpg"], "--output must end in .pdf, .svg, .png, got a.jpg"),
        (["--x", "epoch", "--y", "best/test/error"], "--y best/test/error is no setting of these runs"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_one_line(asked, message, sweep, capsys):
    assert main([str(sweep), *asked]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_runs_without_replicas_are_refused_in_one_line(tmp_path, capsys):
    write_run(tmp_path, replicas=[])
    assert main([str(tmp_path), "--x", "p"]) == 2
    assert capsys.readouterr().err == "error: the records of these runs hold no replica, and so nothing to plot\n"


def test_a_file_has_the_figure_at_the_width_of_a_column(sweep, tmp_path, capsys):
    path = tmp_path / "figure.svg"
    assert main([str(sweep), "--x", "noise.p", "--output", str(path)]) == 0
    assert 'width="3.25' in path.read_text() and "model.hidden = 16" in path.read_text()
    assert capsys.readouterr().out.split() == [str(path)]


def test_the_terminal_gets_a_drawing_of_each_panel(sweep, capsys):
    assert main([str(sweep), "--x", "noise.p", "--y", "test/error,train/active_fraction"]) == 0
    printed = capsys.readouterr().out
    assert "test error (%)" in printed and "active fraction, train (%)" in printed
    assert "59.00±2.48" in printed and printed.count("|--o--|") + printed.count("|-o-") > 0
    assert max(map(len, printed.splitlines())) <= 80


def test_a_drawing_without_room_for_all_points_says_how_many_it_has(tmp_path, capsys):
    write_run(tmp_path, replicas=[{"p": p / 100, "seed": 0, "test/error": p / 100} for p in range(30)])
    assert main([str(tmp_path), "--x", "p"]) == 0
    assert "test error (%); 24 of 30 rows, evenly spaced" in capsys.readouterr().out


def test_a_bar_stands_where_its_value_is():
    assert bar(float("nan"), 0, 0, within=(0, 1), width=3) == "   "
    assert bar(5, 5, 5, within=(5, 5), width=3) == "o  "
    assert bar(1e308, 1e308, 1e308, within=(-1e308, 1e308), width=3) == "   "
    assert bar(1, 0.5, 1, within=(0, 1), width=5) == "  |-o"


def test_a_setting_that_some_runs_do_not_have_is_named_absent(tmp_path, capsys):
    """A run with a callback beside one without, and a model of no width beside one with: no line is without words."""
    base = {"noise": CONFIG["noise"] | {"p": 0.2}}
    own = {"callbacks": {"own": {"_target_": "mypkg.Own"}}}
    other = {"model": {"_target_": "mypkg.Deep"}}
    for name, config in {"a": {}, "b": own, "c": other}.items():
        write_run(
            tmp_path / name, config=base | config, replicas=[{"p": 0.2, "seed": s, "test/error": 0.5} for s in SEEDS]
        )
    lines = means(tmp_path, x="model", by=["model.hidden", "callbacks.own"])["arm"]
    absent = "no callbacks.own"
    assert {*lines} == {f"model.hidden = 240, {absent}", "model.hidden = 240, Own", f"no model.hidden, {absent}"}
    assert main([str(tmp_path), "--x", "model", "--where", "model.hidden=8"]) == 2
    assert "--where model.hidden=8: no replica has this; there are 240, absent" in capsys.readouterr().err
    assert means(tmp_path, x="model", where=["callbacks.own=absent"])["x"].tolist() == ["TwoLayer", "Deep"]
    assert len(means(tmp_path, x="test/error", where=["model.hidden=absent"])) == len(SEEDS)
