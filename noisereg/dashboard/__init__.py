"""The W&B workspace of a project, as code: the panels that answer what noise does, and how to put them up."""

from noisereg.dashboard.panels import SECTIONS, Panel, Section

__all__ = ["SECTIONS", "Panel", "Section"]
