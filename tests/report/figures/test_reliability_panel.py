import numpy as np
import pytest
import torch
from report.analysis_material import bins_of, drawn
from report.panel_rows import panel_data
from torchmetrics.functional.classification import multiclass_calibration_error

from noisereg.report.figures.reliability_panel import calibration_error, reliability_chart, reliability_rows
from noisereg.report.groups.naming import AnalysedNetwork


def network(seed, **replica):
    return AnalysedNetwork({"seed": seed, "p": 0.0, **replica}, bins_of(*drawn(seed)))


def test_the_bins_of_one_network_are_drawn_as_they_are_without_the_empty_ones():
    rows, bins = reliability_rows([network(0)]), bins_of(*drawn(0))
    filled = bins["reliability_count"] > 0
    assert 0 < filled.sum() < 15
    assert rows["accuracy"].tolist() == pytest.approx(bins["reliability_accuracy"][filled].tolist())
    assert rows["share"].tolist() == pytest.approx((bins["reliability_count"][filled] / 200).tolist())


def test_seeds_are_pooled_as_if_their_samples_were_those_of_one_network():
    parts = [drawn(seed) for seed in (0, 1, 2)]
    all_samples = bins_of(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    pooled, together = (
        reliability_rows(networks)
        for networks in ([network(seed) for seed in (0, 1, 2)], [AnalysedNetwork({}, all_samples)])
    )
    for name in ("confidence", "accuracy", "share"):
        assert pooled[name].tolist() == pytest.approx(together[name].tolist())


def test_the_calibration_error_is_that_of_torchmetrics_and_a_mean_over_seeds():
    expected = [
        multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), num_classes=4, n_bins=15)
        for probabilities, labels in map(drawn, (0, 1))
    ]
    assert calibration_error([network(0)]) == pytest.approx(float(expected[0]), abs=1e-6)
    assert calibration_error([network(0), network(1)]) == pytest.approx(float(sum(expected)) / 2, abs=1e-6)


def test_each_arm_has_a_line_in_its_colour_beside_the_diagonal():
    networks = [network(0, arm="none"), network(1, arm="smoothing", p=0.1), network(2, arm="smoothing", p=0.1)]
    panel = reliability_chart("reliability", networks).to_dict()
    diagonal, line, points = panel["layer"]
    assert panel_data(panel, panel)[0].to_numpy().tolist() == [[0, 0], [1, 1]]
    names = line["encoding"]["color"]["scale"]["domain"]
    assert [name.partition(": ECE ")[0] for name in names] == ["none", "smoothing"]
    assert [name.rpartition(" % ")[2] for name in names] == ["(n 1)", "(n 2)"]
    assert set(panel_data(panel, panel)[1]["network"]) == set(names)
    assert points["encoding"]["size"]["field"] == "share"
    assert [layer["encoding"]["x"]["scale"]["domain"] for layer in (diagonal, line, points)] == [[0, 1]] * 3


def test_a_network_without_bins_is_named():
    with pytest.raises(ValueError, match=r"its analysis\.npz has no reliability_count"):
        reliability_rows([AnalysedNetwork({}, {"other": np.zeros(1)})])
