import io
import json
import math

import numpy as np
import pandas as pd
import pytest
import vl_convert
from PIL import Image

from noisereg.report import run_figures, save
from noisereg.report.figures.figure import draw_figure
from noisereg.report.figures.usual import curve_panels, usual_panels

METRICS = ("test/error", "train/error", "train/active_neurons", "test/active_neurons", "norm/hidden", "norm/output")


def run(*, strengths=(0.0, 0.2), seeds=3, epochs=3, rates=(0.1,), metrics=METRICS):
    """Make up the curves of a run."""
    index = pd.MultiIndex.from_product(
        [rates, strengths, range(seeds), range(epochs)], names=["lr", "p", "seed", "epoch"]
    )
    frame = index.to_frame(index=False)
    values = np.random.default_rng(0).random((len(frame), len(metrics)))
    return pd.concat([frame.assign(step=240 * frame["epoch"]), pd.DataFrame(values, columns=list(metrics))], axis=1)


def ends(frame):
    """Return the result rows of a run."""
    return frame[frame["epoch"] == frame["epoch"].max()].to_dict("records")


def curves(frame, **words):
    """Return the figure of the curves alone."""
    return run_figures([], frame, **words)["curves"]


def against_p(rows):
    """Return the figure of the end alone."""
    return run_figures(rows, pd.DataFrame())["against_p"]


def panels(chart):
    """List the panels of each row of a figure by their titles."""
    return [[panel["title"] for panel in row["hconcat"]] for row in chart.to_dict()["vconcat"]]


def tables(chart, title):
    """Read the data of the layers of a panel."""
    spec = chart.to_dict()
    (panel,) = (panel for row in spec["vconcat"] for panel in row["hconcat"] if panel["title"] == title)
    data = [layer.get("data", panel.get("data")) for layer in panel["layer"]]
    return [pd.read_csv(io.StringIO(spec["datasets"][part["name"]])) for part in data]


def lines_drawn(spec):
    return vl_convert.vegalite_to_svg(spec).count('aria-roledescription="line mark"')


SHAPES = {
    "one replica": {"strengths": (0.1,), "seeds": 1},
    "one p": {"strengths": (0.1,)},
    "one seed": {"seeds": 1},
    "one evaluation": {"epochs": 1},
    "one value": {"strengths": (0.1,), "seeds": 1, "epochs": 1},
    "many p": {"strengths": tuple(p / 29 for p in range(30)), "seeds": 2},
    "two learning rates": {"rates": (0.01, 0.1)},
    "a neuron": {"metrics": ("test/error", "train/error")},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_run_of_any_shape_has_its_figures(shape, tmp_path):
    frame = run(**shape)
    for name, figure in run_figures(ends(frame), frame, title="Any", subtitle="shape").items():
        save(figure, tmp_path / name)
        image = Image.open(tmp_path / f"{name}.png")
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(2**24)) > 20  # a page without marks has fewer


def test_curves_holds_the_mean_in_percent_and_its_interval():
    frame = run(seeds=5)
    table = tables(curves(frame), "test error (%)")[0]
    found = table[(table["p"] == 0.2) & (table["x"] == 1)].iloc[0]
    values = 100 * frame[(frame["p"] == 0.2) & (frame["epoch"] == 1)]["test/error"]
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert found["mean"] - found["low"] == pytest.approx(2.776 * values.std() / math.sqrt(5), rel=1e-3)
    assert found["high"] == 100  # as no error is larger
    assert found["n"] == 5
    assert len(table) == 2 * 3  # two p, three epochs


def test_against_p_holds_means_and_single_replicas():
    rows = [{"p": p, "seed": s, "train/active_neurons": 10 * p + s} for p in (0, 1, 2) for s in (1, 2, 6)]
    singles, *means = tables(against_p(rows), "active neurons, train")
    assert sorted(singles["value"]) == [1, 2, 6, 11, 12, 16, 21, 22, 26]
    assert means[0]["mean"].tolist() == [3, 13, 23]


def test_a_quantity_that_was_not_measured_has_no_panel():
    frame = run(metrics=("test/error", "train/error"))
    assert panels(curves(frame)) == [["test error (%)", "train error, clean labels (%)"]]
    assert panels(against_p(ends(frame))) == panels(curves(frame))


def test_panels_stand_three_in_a_row():
    assert [len(row) for row in panels(curves(run(metrics=METRICS[:4])))] == [3, 1]


def test_a_learning_rate_has_its_column():
    chart = curves(run(rates=(0.01, 0.1), metrics=METRICS[:2]))
    assert panels(chart) == [
        ["test error (%), lr 0.01", "test error (%), lr 0.1"],
        ["train error, clean labels (%), lr 0.01", "train error, clean labels (%), lr 0.1"],
    ]
    assert {row["resolve"]["scale"]["y"] for row in chart.to_dict()["vconcat"]} == {"shared"}


@pytest.mark.parametrize("rates", [(0.1, 1e30), (1e29, 1e30)])
def test_rates_whose_replicas_all_diverged_do_not_stop_the_figures(rates):
    frame = run(rates=rates)
    failed = frame["lr"] > 1
    frame.loc[failed & (frame["epoch"] > 0), list(METRICS)] = math.nan
    rows = [row | {"ended_by": "non-finite loss" if row["lr"] > 1 else "budget"} for row in ends(frame)]
    number = int(failed.sum()) // 3
    drawn = run_figures(rows, frame)
    assert "curves" in drawn
    for figure in drawn.values():
        assert f"{number} of 12 replicas diverged" in figure.to_dict()["title"]["subtitle"]


def test_the_subtitle_says_what_is_drawn():
    frame = run(seeds=4)
    frame = frame[(frame["seed"] > 0) | (frame["epoch"] == 0)]
    chart = curves(frame, title="Figure 1", subtitle="hypercube")
    assert chart.to_dict()["title"]["text"] == "Figure 1"
    assert chart.to_dict()["title"]["subtitle"] == [
        "hypercube",
        "band or bar: 95 % t interval of the mean over 4 seeds",
        "replicas that stopped early keep their last values",
    ]


def test_between_two_values_of_p_no_band_is_drawn():
    for strengths, lines in (((0, 1), 0), ((0, 0.5, 1), 5)):  # a panel for each of five quantities
        spec = against_p(ends(run(strengths=strengths))).to_dict()
        assert spec["title"]["subtitle"] == ["band or bar: 95 % t interval of the mean over 3 seeds"]
        assert lines_drawn(spec) == lines


@pytest.mark.parametrize(("draw", "key", "curves_in_all"), [("curves", "p", 3 * 4 * 2), ("against_p", "lr", 2 * 3)])
def test_a_choice_in_the_legend_leaves_one_curve_in_every_panel(draw, key, curves_in_all):
    frame = run(strengths=(0.0, 0.1, 0.2), rates=(0.01, 0.1), metrics=METRICS[:4])
    spec = (curves(frame) if draw == "curves" else against_p(ends(frame))).to_dict()
    assert lines_drawn(spec) == curves_in_all
    (choice,) = spec["params"]
    assert (choice["bind"], choice["select"]["fields"]) == ("legend", [key])
    choice["value"] = [{key: 0.1}]
    assert lines_drawn(spec) == curves_in_all / frame[key].nunique()


@pytest.mark.parametrize(("strengths", "seeds"), [(10, 20), (200, 1)])
def test_two_hundred_replicas_stay_below_a_megabyte(strengths, seeds):
    frame = run(strengths=tuple(p / (strengths - 1) for p in range(strengths)), seeds=seeds, epochs=100)
    chart = curves(frame)
    assert len(json.dumps(chart.to_dict())) < 1e6
    thinner = "evenly spaced evaluations, not all" in chart.to_dict()["title"]["subtitle"]
    assert thinner == (strengths == 200)


def test_the_same_rows_give_the_same_figure():
    frame = run()
    assert curves(frame).to_dict() == curves(frame.sample(frac=1, random_state=0)).to_dict()


def test_curves_of_less_than_an_epoch_are_drawn_over_steps():
    rows = run().assign(epoch=0)
    assert {panel.x for panel in curve_panels(rows)} == {"step"}
    assert {panel.x for panel in curve_panels(run())} == {""}


def test_replicas_of_one_cell_without_curves_are_refused_with_that_reason():
    rows = pd.DataFrame({"p": 0.2, "seed": [0, 1], "test/error": [0.3, 0.4]})
    with pytest.raises(ValueError, match=r"have one p, learning rate and arm, and there are no curves"):
        draw_figure(usual_panels(rows, rows[:0]), replicas=rows, curves=rows[:0])


def titles(panels):
    return [(panel.kind, panel.along, panel.title) for panel in panels]


def test_many_networks_are_compared_against_p_and_over_training():
    replicas = pd.DataFrame({"p": [0.0, 0.2], "test/error": 0.5, "train/active_neurons": 100.0})
    frame = pd.DataFrame({"p": [0.0], "epoch": 0, "test/error": 0.5, "norm/hidden": 1.0})
    assert titles(usual_panels(replicas, frame)) == [
        ("end", "p", "test error (%)"),
        ("end", "p", "active neurons, train"),
        ("curves", "epoch", "test error (%)"),
        ("curves", "epoch", "weight norm, hidden"),
    ]


def test_networks_of_one_p_are_compared_against_their_rates_or_arms():
    rows = pd.DataFrame({"p": 0.1, "lr": [0.1, 0.2], "test/error": 0.5})
    (panel,) = usual_panels(rows, rows[:0])
    assert (panel.along, panel.log_x) == ("lr", True)
    (panel,) = usual_panels(rows.assign(lr=0.1, arm=["none", "smoothing"]), rows[:0])
    assert (panel.along, panel.log_x) == ("arm", False)


def test_one_network_has_curves_alone():
    frame = run(strengths=(0.1,), seeds=1)
    assert {panel.kind for panel in usual_panels(pd.DataFrame(ends(frame)), frame)} == {"curves"}


def test_a_metric_that_is_missing_or_empty_has_no_panel():
    frame = pd.DataFrame({"test/error": [0.5], "test/active_neurons": [None], "val/error": [0.5]})
    assert [panel.title for panel in curve_panels(frame)] == ["test error (%)"]


@pytest.mark.parametrize(("layers", "panels"), [(4, ["active fraction, test, each layer (%)"]), (19, [])])
def test_a_deep_network_shows_shares_and_its_layers(layers, panels):
    per_layer = {f"test/active_fraction/relu{place}": 0.5 for place in range(layers)}
    norms = {f"norm/conv{place}": 2.0 for place in range(layers)}
    whole = {"test/error": 0.1, "train/error": 0.1, "test/active_neurons": 9.0, "test/active_fraction": 0.5}
    frame = pd.DataFrame([{"p": 0.1, "seed": 0, "epoch": 0, "step": 0, **whole, **per_layer, **norms}])
    over_training = [panel.title for panel in curve_panels(frame)]
    first = ["test error (%)", "train error, clean labels (%)", "active fraction, test (%)"]
    few = [f"weight norm, conv{place}" for place in range(layers)] if panels else []
    assert over_training == [*first, *few, *panels]
    along = [panel.title for panel in usual_panels(frame, frame) if panel.along == "metric"]
    assert along == ([] if panels else ["active fraction, test, each layer (%)", "weight norm, each layer"])
    assert curves(frame).to_dict()["title"]["subtitle"] == ["one seed, no interval"]


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ({"strengths": (0.1,), "seeds": 1}, ["curves"]),
        ({"strengths": (0.1,)}, ["curves"]),
        ({}, ["curves", "against_p"]),
        ({"strengths": (0.1,), "rates": (0.01, 0.1)}, ["curves", "against_lr"]),
        ({"rates": (0.01, 0.1)}, ["curves", "against_p"]),
        ({"metrics": ("val/error",)}, []),
    ],
)
def test_the_figures_of_a_run_are_those_that_show_something(shape, names):
    frame = run(**shape)
    assert list(run_figures(ends(frame), frame)) == names


def test_a_deep_network_has_a_figure_of_its_layers():
    frame = run(strengths=(0.1,), seeds=1, metrics=[f"test/active_fraction/relu{place}" for place in range(5)])
    assert panels(run_figures(ends(frame), frame)["layers"]) == [["active fraction, test, each layer (%)"]]


def test_the_usual_figures_show_what_is_active_above_a_threshold():
    names = [f"{split}/active_fraction_above_0.1" for split in ("train", "test")]
    one_layer = run(metrics=("test/error", "train/active_neurons_abs_above_0.1_of_rms"))
    titles = [panel.title for panel in usual_panels(one_layer, one_layer)]
    assert "active neurons, train, magnitude above 0.1 of rms" in titles
    few = run(metrics=(*names, *(f"{names[0]}/relu{place}" for place in range(3))))
    found = [panel.title for panel in curve_panels(few)]
    assert found == [
        "active fraction, train, above 0.1 (%)",
        "active fraction, test, above 0.1 (%)",
        "active fraction, train, above 0.1, each layer (%)",
    ]
    many = run(metrics=(*names, *(f"{names[0]}/relu{place}" for place in range(6))))
    rows = pd.DataFrame(ends(many))
    assert ("active fraction, train, above 0.1, each layer (%)", "metric") in [
        (panel.title, panel.x) for panel in usual_panels(rows, rows[:0])
    ]
