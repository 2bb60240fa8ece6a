"""`python -m noisereg.dashboard`: the W&B workspace of a project, shown here or saved there."""

import sys
from argparse import Namespace
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisereg.dashboard.workspace_panels import SECTIONS, STRENGTH, WorkspaceSection
from noisereg.parsers import dashboard_parser
from noisereg.terminal import run_command

_CAPTION = f"lines, bars: mean over the runs of each {STRENGTH}, with one standard error"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the workspace holds, or save it, and return the exit code, as `run_command` does."""
    return run_command(_show_or_save, parser=dashboard_parser(), arguments=arguments)


def _show_or_save(asked: Namespace, console: Console) -> None:
    if asked.save:
        console.print(_save(asked.entity, asked.project, asked.group), soft_wrap=True)
        return
    console.print(sections_table(SECTIONS))
    console.print(f"the workspace of {asked.project} on W&B; --save puts it there")


def sections_table(sections: Sequence[WorkspaceSection]) -> Table:
    """Return a row for every panel, below the title of its section."""
    table = Table("panel", box=None, pad_edge=False, padding=(0, 2, 0, 0), caption=_CAPTION, caption_justify="left")
    for name in ("shows", "against", "as"):
        table.add_column(name, no_wrap=True)
    for section in sections:
        table.add_row()
        table.add_row(Text(section.title, style="bold"))
        for panel in section.panels:
            table.add_row(*map(Text, (panel.title, "\n".join(panel.y), panel.x, panel.kind)))
    return table


def _save(entity: str | None, project: str, group: str | None) -> str:
    from noisereg.dashboard.workspace import build_workspace, own_entity, save_workspace  # noqa: PLC0415 - loads W&B

    name = f"noisereg: {group or 'all runs'}"
    return save_workspace(
        build_workspace(SECTIONS, entity=entity or own_entity(), project=project, name=name, group=group)
    )


if __name__ == "__main__":
    sys.exit(main())
