"""The panels as a W&B workspace. It needs wandb-workspaces, which nothing else does."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import wandb

from noisereg.dashboard.workspace_panels import STEP, STRENGTH, WorkspacePanel, WorkspaceSection
from noisereg.errors import ConfigError

_TABLE = "replicas"
_P = STRENGTH.removeprefix("config.")
_MOST_RUNS = 100  # in a panel


def build_workspace(
    sections: Sequence[WorkspaceSection], *, entity: str, project: str, name: str, group: str | None = None
) -> Any:
    """Build the workspace of a project, or of one group of its runs, which W&B does not know of before it is saved.

    Returns:
        A `wandb_workspaces.workspaces.Workspace`.

    Raises:
        ConfigError: if wandb-workspaces is not installed.
    """
    ws, wr = _libraries()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(
                name=section.title, panels=[_panel(panel, wr) for panel in section.panels], is_open=section.is_open
            )
            for section in sections
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=_MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(_P)],
            filters=f"Metric('Group') == {group!r}" if group else "",
        ),
    )


def save_workspace(workspace: Any) -> str:
    """Save a workspace on W&B as a new view of its project, and return its URL.

    Raises:
        ConfigError: if there is no key, or W&B does not take it.
    """
    with _refusals_in_one_line():
        return workspace.save().url


def own_entity() -> str:
    """Return the name of the account that the key is of, as W&B has it.

    Raises:
        ConfigError: if there is no key, or W&B does not answer.
    """
    with _refusals_in_one_line():
        return wandb.Api().default_entity or ""


@contextmanager
def _refusals_in_one_line() -> Iterator[None]:
    """Raise in one line what W&B objects to."""
    try:
        if not wandb.login(prompt=False, verify=False):
            raise ConfigError("--save needs a key of W&B, and there is none: run wandb login")
        yield
    except wandb.errors.Error as error:
        raise ConfigError(f"--save: W&B does not take the workspace: {' '.join(str(error).split())}") from None


def _panel(panel: WorkspacePanel, wr: ModuleType) -> Any:
    by_p = {"groupby": wr.Config(_P), "groupby_aggfunc": "mean", "groupby_rangefunc": "stderr"}
    match panel.kind:
        case "lines" | "replicas":
            drawn = {"metric_regex": panel.pattern} if panel.pattern else {"y": list(panel.y)}
            return wr.LinePlot(title=panel.title, x=panel.x, **drawn, **(by_p if panel.kind == "lines" else {}))
        case "bars":
            return wr.BarPlot(title=panel.title, metrics=list(panel.y), orientation="v", **by_p)
        case "points":
            ends = {"running_ymin": True, "running_ymax": True, "running_ymean": True}
            return wr.ScatterPlot(title=panel.title, x=_axis(panel.x, wr), y=_axis(panel.y[0], wr), **ends)
        case "networks":
            return wr.CustomChart(
                query={"summaryTable": {"tableKey": _TABLE}},
                chart_name="wandb/scatter/v0",
                chart_fields={"x": panel.x, "y": panel.y[0]},
                chart_strings={"title": panel.title},
            )
        case "table":
            return wr.WeavePanelSummaryTable(table_name=panel.y[0])
        case "pictures":
            return wr.MediaBrowser(title=panel.title, media_keys=list(panel.y))


def _axis(name: str, wr: ModuleType) -> Any:
    """Return an axis: a key of the configuration, or the last value of a metric."""
    return wr.Config(name.removeprefix("config.")) if name.startswith("config.") else wr.SummaryMetric(name)


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of pydantic
            import wandb_workspaces.reports.v2 as wr  # noqa: PLC0415 - an extra
            import wandb_workspaces.workspaces as ws  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"there is no module {error.name}: pip install 'noisereg[dashboard]'") from None
    return ws, wr
