import pandas as pd
import pytest

from noisereg.report.panels import Panel, curve_panels, strength_panels

METRICS = ("test/error", "train/error", "train/active_neurons", "test/active_neurons", "norm/hidden", "norm/output")


def test_a_run_with_everything_has_six_panels_in_order():
    panels = curve_panels(pd.DataFrame(1.0, index=[0], columns=list(METRICS)))
    assert [metric for panel in panels for metric in panel.metrics] == list(METRICS)


def test_a_metric_that_is_missing_or_empty_has_no_panel():
    frame = pd.DataFrame({"test/error": [0.5], "test/active_neurons": [None], "val/error": [0.5]})
    assert [panel.title for panel in curve_panels(frame)] == ["test error (%)"]


def test_many_layers_share_a_panel():
    layers = [f"norm/layer{i}" for i in range(5)]
    assert len(curve_panels(pd.DataFrame(1.0, index=[0], columns=list(layers[:4])))) == 4
    (panel,) = curve_panels(pd.DataFrame(1.0, index=[0], columns=list(layers)))
    assert panel.title == "norm of all weights"
    assert panel.metrics == tuple(layers)


def test_an_error_is_in_percent():
    frame = pd.DataFrame({"test/error": [0.25]})
    (panel,) = curve_panels(frame)
    assert panel.values(frame).tolist() == [25.0]


def test_the_norm_of_all_weights_is_that_of_the_layers_as_one_vector():
    frame = pd.DataFrame({"norm/a": [2.0, 2.0], "norm/b": [3.0, None], "norm/c": [6.0, 6.0]})
    values = Panel("norm", ("norm/a", "norm/b", "norm/c")).values(frame)
    assert values[0] == pytest.approx(7)
    assert values.isna().tolist() == [False, True]


def test_against_p_has_errors_and_active_neurons_of_the_training_samples():
    panels = strength_panels(pd.DataFrame(1.0, index=[0], columns=list(METRICS)))
    assert [panel.metrics[0] for panel in panels] == ["test/error", "train/error", "train/active_neurons"]
