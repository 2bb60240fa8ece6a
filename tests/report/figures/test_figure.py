import io
from pathlib import Path

import numpy as np
import pytest
import vl_convert
from PIL import Image
from report.analysis_material import arrays_of
from report.panel_rows import ends, training

from noisereg.report.claims.selection import Selection
from noisereg.report.figures.figure import draw_figure, figure_of
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.groups.naming import AnalysedNetwork
from noisereg.report.groups.run_group import group_runs
from noisereg.runs.reading import find_runs

ERROR = {"test/error": "test"}
CURVES = PanelSpec(title="error", metrics=ERROR)
NORMS = PanelSpec(title="norms", metrics={"norm/hidden": "W1", "norm/output": "W2"}, of=Selection({"p": 0.2}))
END = PanelSpec(title="end", kind="end", metrics=ERROR)
CHECK = PanelSpec(title="T2", kind="check", check="T2")
RELIABILITY = PanelSpec(title="reliability", kind="reliability")
PLANE = PanelSpec(title="test", kind="plane")
HISTOGRAMS = PanelSpec(title="neurons", kind="histograms")
CHECKS = [{"id": "T2", "curve": {"x": [1], "measured": [1], "predicted": [1], "x_title": "h", "y_title": "norm"}}]


def figure(*panels, replicas=None, **more):
    replicas = ends() if replicas is None else replicas
    return draw_figure(panels, replicas=replicas, curves=training(replicas), checks=CHECKS, **more).to_dict()


def titles(spec):
    return [[panel["title"] for panel in row["hconcat"]] for row in spec["vconcat"]]


def lines_drawn(spec):
    return vl_convert.vegalite_to_svg(spec).count('aria-roledescription="line mark"')


def fires(selection):
    return np.full((1, 10, 8), 1 + selection.where["seed"] + int(10 * selection.where["p"]))


def test_up_to_three_panels_stand_in_a_row():
    assert titles(figure(CURVES, END, CHECK)) == [["error", "end", "T2"]]
    assert titles(figure(CURVES, CURVES, CURVES, END)) == [["error", "error", "error"], ["end"]]


def test_histograms_of_each_p_stand_in_a_row_of_their_own():
    spec = figure(END, HISTOGRAMS, fires=fires)
    first, second = (f"neurons, p = {p}: 0 of 8 neurons associated with a class" for p in ("0", "0.2"))
    assert titles(spec) == [["end"], [first, second]]
    drawn = [text for text in spec["datasets"].values() if text.startswith("neuron")]
    assert [text.splitlines()[1].split(",")[3] for text in drawn] == ["1", "3"]  # of seed 0, the first


def test_panels_of_one_kind_share_a_legend_and_a_choice():
    spec = figure(CURVES, PanelSpec(title="norm", metrics={"norm/hidden": "W1"}))
    (choice,) = spec["params"]
    assert lines_drawn(spec) == 4
    choice["value"] = [{"p": 0.2}]
    assert lines_drawn(spec) == 2


def test_panels_of_several_kinds_have_legends_of_their_own():
    spec = figure(CURVES, NORMS)
    first, second = spec["params"]
    assert spec["resolve"]["scale"]["color"] == "independent"
    assert lines_drawn(spec) == 4
    first["value"] = [{"p": 0.2}]
    assert lines_drawn(spec) == 3
    second["value"] = [{"quantity": "W1"}]
    assert lines_drawn(spec) == 2


def networks(selection):
    arms = [("none", 0.0), ("smoothing", 0.1)]
    return [AnalysedNetwork({"arm": arm, "p": p, "seed": 0}, arrays_of(place)) for place, (arm, p) in enumerate(arms)]


def test_planes_stand_in_a_row_of_their_own():
    spec = figure(END, RELIABILITY, PLANE, analyses=networks)
    assert titles(spec) == [["end", "reliability"], ["test, none", "test, smoothing"]]
    assert spec["resolve"]["scale"]["color"] == "independent"


def test_a_panel_shows_the_networks_it_selects():
    asked = []
    figure(
        PanelSpec(title="reliability", kind="reliability", of=Selection({"arm": "none"})),
        analyses=lambda selection: asked.append(selection.where) or networks(selection),
    )
    assert asked == [{"arm": "none"}]


def test_panels_that_cannot_be_drawn_are_named_and_the_others_drawn():
    unknown = PanelSpec(title="loss", metrics={"test/loss": "loss"})
    spec = figure(unknown, END, RELIABILITY)
    assert titles(spec) == [["end"]]
    assert spec["title"]["subtitle"][1:] == [
        "not drawn: panel 'loss' needs test/loss; no run measured it",
        "not drawn: panel 'reliability' needs analysis.npz, which no run has",
    ]


def test_the_subtitle_says_how_many_seeds_an_interval_is_over():
    for seeds, words in ((1, "one seed, no interval"), (3, "band or bar: 95 % t interval of the mean over 3 seeds")):
        assert figure(CURVES, replicas=ends(seeds=seeds), title="Figure 1")["title"]["subtitle"] == [words]
    fewer = ends(seeds=3).drop(index=0)
    assert figure(END, replicas=fewer)["title"]["subtitle"] == [
        "band or bar: 95 % t interval of the mean over 2 to 3 seeds, none of fewer than 3"
    ]
    two = figure(CURVES, replicas=ends(seeds=2))["title"]["subtitle"]
    assert two == ["mean of two seeds, no interval; faint: each seed"]


@pytest.mark.parametrize(("seeds", "drawn"), [(1, []), (2, ["circle"]), (3, ["area"])])
def test_two_seeds_are_points_in_place_of_the_band(seeds, drawn):
    (panel,) = figure(CURVES, replicas=ends(seeds=seeds, strengths=(0.2,)))["vconcat"][0]["hconcat"]
    marks = [layer["mark"] for layer in panel["layer"]]
    assert [mark["type"] for mark in marks if mark.get("opacity") not in (None, 0)] == drawn
    assert [mark["type"] for mark in marks][-2:] == ["line", "circle"]


def test_of_two_seeds_at_the_end_there_are_points_without_a_bar():
    spec = figure(END, replicas=ends(seeds=2))
    assert [layer["mark"]["type"] for layer in spec["vconcat"][0]["hconcat"][0]["layer"]] == ["circle", "point"]


def test_a_figure_is_a_chart_of_altair_and_what_a_notebook_shows():
    replicas = ends()
    drawn = draw_figure([CURVES, END], replicas=replicas, curves=training(replicas), title="Figure 1")
    assert drawn.to_altair().to_dict()["title"] == drawn.to_dict()["title"]
    ((kind, shown),) = drawn._repr_mimebundle_().items()
    assert (kind, shown) == ("application/vnd.vegalite.v6+json", drawn.to_dict())


def test_the_subtitle_says_how_many_replicas_diverged_and_of_how_many_a_mean_is():
    replicas = ends(seeds=3).assign(ended_by="budget")
    curves = training(replicas)
    failed = (replicas["p"] == 0.2) & (replicas["seed"] > 0)
    replicas.loc[failed, "ended_by"], replicas.loc[failed, "test/error"] = "non-finite weights", np.nan
    curves = curves[~((curves["p"] == 0.2) & (curves["seed"] > 0) & (curves["epoch"] > 0))]
    words = [
        "band or bar: 95 % t interval of the mean over 1 to 3 seeds, none of fewer than 3, "
        "1 of 3 replicas where others have no value",
        "2 of 6 replicas diverged",
    ]
    for panel in (CURVES, END):
        assert draw_figure([panel], replicas=replicas, curves=curves).to_dict()["title"]["subtitle"] == words


def test_any_figure_is_drawn_as_an_image():
    panels = (CURVES, NORMS, END, CHECK, RELIABILITY, PLANE, HISTOGRAMS)
    spec = figure(*panels, fires=fires, analyses=networks, title="All")
    image = Image.open(io.BytesIO(vl_convert.vegalite_to_png(spec)))
    assert image.width > 700
    assert len(image.convert("RGB").getcolors(2**24)) > 20  # a page without marks has fewer


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "a figure needs at least one panel, got none"),
        ([RELIABILITY], r"panel 'reliability' needs analysis\.npz, which no run has"),
        ([HISTOGRAMS], "panel 'neurons' needs fires.npz, which the run does not have"),
    ],
)
def test_a_figure_of_nothing_is_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        figure(*panels)


def test_a_report_of_runs_of_an_older_version_draws_and_counts_them():
    folder = Path(__file__).parents[2] / "runs" / "frozen"
    (grid,), (single,) = (group_runs(find_runs([folder / name])) for name in ("grid", "single"))
    assert (len(grid.replicas), len(single.replicas)) == (4, 1)
    assert [panel["title"] for panel in figure_of(single).to_dict()["vconcat"][0]["hconcat"]] == [
        "test error (%)",
        "train error, clean labels (%)",
        "active neurons, train",
    ]
    assert len(figure_of(grid).to_dict()["vconcat"]) == 4
    (both,) = group_runs(find_runs([folder]))  # the engine alone does not part them, and they share a replica
    assert len(both.replicas) == 4
