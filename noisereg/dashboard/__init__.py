"""The W&B workspace of a project, as code: the panels that answer what noise does, and how to save them there."""

from noisereg.dashboard.workspace_panels import SECTIONS, WorkspacePanel, WorkspaceSection

__all__ = ["SECTIONS", "WorkspacePanel", "WorkspaceSection"]
