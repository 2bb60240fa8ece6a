import pytest
from report.analysis_material import plane_of
from report.panel_rows import panel_data

from noisereg.report.figures.plane_panel import plane_charts, plane_rows
from noisereg.report.groups.naming import AnalysedNetwork

NAMES = ("airplane", "automobile", "bird", "cat")


def network(seed=0, *, classes=NAMES, **replica):
    return AnalysedNetwork({"p": 0.0, "seed": seed, **replica}, plane_of(seed, classes=(0, 3, 2)), classes)


def test_samples_and_templates_have_the_names_of_their_classes():
    rows = plane_rows(network(), "test")
    samples, templates = (rows[rows["template"] == kind] for kind in (0, 1))
    assert samples["class"].tolist() == ["airplane", "airplane", "cat", "cat", "bird", "bird"]
    assert templates[["x", "y", "class"]].values.tolist() == [[1, 0, "airplane"], [-1, 0, "cat"], [0, 2, "bird"]]
    assert (samples[["x", "y"]].to_numpy()[::2] == templates[["x", "y"]].to_numpy() + 0.125).all()


@pytest.mark.parametrize("known", [(), NAMES[:2]])
def test_a_class_without_a_name_is_a_number(known):
    assert "3" in plane_rows(network(classes=known), "train")["class"].tolist()


def test_each_arm_has_a_panel_of_its_first_seed_with_the_tightness_in_the_title():
    networks = [
        network(1, arm="none", **{"test/tightness": 0.5}),
        network(0, arm="none", **{"test/tightness": 0.25}),
        network(1, arm="smoothing", p=0.1),
    ]
    none, smoothing = (chart.to_dict() for chart in plane_charts("test", networks, split="test"))
    assert (none["title"], smoothing["title"]) == ("test, none: tightness 0.25", "test, smoothing")
    assert [panel_data(panel, panel)[1]["y"].max() for panel in (none, smoothing)] == [2, 3]


def test_both_axes_have_the_same_unit_and_hold_all_points():
    (panel,) = (chart.to_dict() for chart in plane_charts("test", [network()], split="test"))
    assert panel["width"] == panel["height"]
    (left, right), (below, above) = (panel["layer"][0]["encoding"][axis]["scale"]["domain"] for axis in "xy")
    assert right - left == pytest.approx(above - below)
    assert left <= -1
    assert right >= 1.125
    assert below <= 0
    assert above >= 2.125


def test_classes_are_told_by_colour_in_the_order_of_their_templates():
    (panel,) = (chart.to_dict() for chart in plane_charts("test", [network()], split="test"))
    assert panel["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["airplane", "cat", "bird"]


def test_a_network_whose_features_were_not_projected_is_named():
    with pytest.raises(ValueError, match=r"its analysis\.npz has no plane_classes"):
        plane_rows(AnalysedNetwork({}, {}), "test")
