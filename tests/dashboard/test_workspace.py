import pytest

from noisereg.dashboard import SECTIONS, WorkspacePanel, WorkspaceSection
from noisereg.dashboard.workspace import build_workspace

PANELS = {
    "lines": WorkspacePanel("lines", ("test/error", "train/error"), "trainer/global_step", "Error"),
    "layers": WorkspacePanel("lines", ("norm/<layer>",), "trainer/global_step", "Norms"),
    "replicas": WorkspacePanel("replicas", ("test/error/p=<p>",), "trainer/global_step", "Error"),
    "bars": WorkspacePanel("bars", ("test/error",), "config.noise.p", "Error"),
    "points": WorkspacePanel("points", ("test/error",), "config.noise.p", "Error"),
    "rates": WorkspacePanel("points", ("noise/measured_rate",), "noise/effective_rate", "Rates"),
    "networks": WorkspacePanel("networks", ("test/error",), "p", "Error"),
    "table": WorkspacePanel("table", ("replicas",), title="All"),
    "pictures": WorkspacePanel("pictures", ("figures/curves",), title="Figures"),
}
BY_P = {"groupBy": "noise.value.p", "groupAgg": "mean", "groupArea": "stderr", "aggregate": True}
STEPS = {"xAxis": "trainer/global_step"}


@pytest.fixture(scope="module")
def sent():
    """What W&B is sent of each panel."""
    section = WorkspaceSection("All", tuple(PANELS.values()), is_open=True)
    workspace = build_workspace([section], entity="me", project="mine", name="one", group="it's a sweep")
    return workspace._spec


@pytest.fixture
def panels(sent):
    (section,) = sent["spec"]["section"]["panelBankConfig"]["sections"]
    return dict(zip(PANELS, section["panels"], strict=True))


@pytest.mark.parametrize(
    ("name", "kind", "config"),
    [
        ("lines", "Run History Line Plot", {**STEPS, "metrics": ["test/error", "train/error"], **BY_P}),
        ("layers", "Run History Line Plot", {**STEPS, "metricRegex": "^norm/[^/=]+$", "useMetricRegex": True, **BY_P}),
        ("replicas", "Run History Line Plot", {**STEPS, "metricRegex": "^test/error/p=[^/]+(/lr=[^/]+)?$"}),
        ("bars", "Bar Chart", {"metrics": ["test/error"], "vertical": True, **BY_P}),
        ("points", "Scatter Plot", {"xAxis": "config:noise.value.p", "yAxis": "summary:test/error"}),
        ("rates", "Scatter Plot", {"xAxis": "summary:noise/effective_rate", "yAxis": "summary:noise/measured_rate"}),
        ("networks", "Vega2", {"fieldSettings": {"x": "p", "y": "test/error"}, "panelDefId": "wandb/scatter/v0"}),
        ("pictures", "Media Browser", {"mediaKeys": ["figures/curves"]}),
    ],
)
def test_each_kind_of_panel_is_what_wandb_calls_so(panels, name, kind, config):
    assert panels[name]["viewType"] == kind
    assert panels[name]["config"].items() >= config.items()


def test_the_table_is_that_of_all_networks(panels):
    assert panels["table"]["viewType"] == "Weave"
    assert '"replicas"' in str(panels["table"]["config"]).replace("'", '"')


def test_lines_of_replicas_are_not_averaged(panels):
    assert "groupBy" not in panels["replicas"]["config"]


def test_the_runs_are_those_of_the_group_by_p_over_the_steps(sent):
    section = sent["spec"]["section"]
    (runs,) = section["runSets"]
    (only,) = runs["filters"]["filters"]
    assert (only["key"], only["op"], only["value"]) == ({"section": "run", "name": "group"}, "=", "it's a sweep")
    assert runs["grouping"] == [{"section": "config", "name": "noise.value.p"}]
    assert section["settings"]["xAxis"] == "trainer/global_step"


def test_without_a_group_all_runs_are_shown():
    workspace = build_workspace(SECTIONS, entity="me", project="mine", name="all")
    assert workspace._spec["spec"]["section"]["runSets"][0]["filters"]["filters"] == []
    titles = [section["name"] for section in workspace._spec["spec"]["section"]["panelBankConfig"]["sections"]]
    assert titles == [section.title for section in SECTIONS]
