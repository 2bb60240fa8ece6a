"""Verdicts as tables for the terminal."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from noisereg.report.claims.verdicts import VERDICTS, Judgement
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import claim_cells, count_verdicts, number

_STYLES = {
    "reproduced": "green",
    "direction only": "yellow",
    "not reproduced": "red",
    "not applicable": "dim",
}


def judgement_table(judgements: Iterable[Judgement]) -> Table:
    """Return a row for each claim: the paper's number beside ours, and the verdict.

    Example:
        >>> judgement = Judgement(id="F1", says="It falls.", place="figure 1", paper=0.2, theory=None, mean=0.2,
        ...                       low=0.1, high=0.3, n=5, verdict="reproduced", why="")
        >>> judgement_table([judgement]).row_count
        1
    """
    table = Table(box=SIMPLE, caption="ours: mean ± 95 % t interval", padding=(0, 1, 0, 0))
    table.add_column("claim", min_width=22)
    for name in ("paper or\ntheory", "ours", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=max(map(len, VERDICTS)))
    for judgement in judgements:
        cells = claim_cells(judgement)
        numbers = (cells["paper"] or cells["theory"], _ours(judgement), cells["n"])
        verdict = Text(judgement.verdict, style=_STYLES[judgement.verdict])
        table.add_row(Text(f"{judgement.id} {judgement.says}"), *map(Text, numbers), verdict)
    return table


def overview_table(groups: Sequence[RunGroup]) -> Table:
    """Return a row for each group of runs, with the number of its claims that have each verdict.

    Example:
        >>> overview_table([]).row_count
        0
    """
    table = Table("experiment", "runs", *VERDICTS)
    for group in groups:
        counts = (
            Text(str(count or ""), style=_STYLES[verdict])
            for verdict, count in count_verdicts(group.judgements).items()
        )
        table.add_row(Text(group.title), str(len(group.runs)), *counts)
    return table


def _ours(judgement: Judgement) -> str:
    """Return the mean and half its interval; a check's need not lie evenly about what was measured."""
    if not (mean := number(judgement.shown["mean"])):
        return ""
    half = judgement.factor * (judgement.high - judgement.low) / 2
    return " ".join([mean, *([f"± {half:.2g}"] if number(half) else []), judgement.unit]).rstrip()
