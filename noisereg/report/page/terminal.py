"""Results and verdicts as tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisereg.labels import INTERVAL, in_words, is_even, label_of
from noisereg.report.claims.correction import changed_by_holm
from noisereg.report.claims.verdicts import VERDICTS, Judgement
from noisereg.report.groups.run_group import RunGroup, describe_ends
from noisereg.report.page.cells import claim_cells, count_by_kind, count_verdicts, number, replicas_in_words
from noisereg.report.page.means_table import cells_of_metrics
from noisereg.runs.summary import LESS, summary_metrics, table_of_lines
from noisereg.statistics import CELL, DIFFERENCE, MEAN

_DIFFERENCE = f"{LESS} p = 0"
WITHOUT_ROOM = "train/associated_neurons"  # beside the words for the differences, in 80 columns
_STYLES = {
    "reproduced": "green",
    "direction only": "yellow",
    "not reproduced": "red",
    "undecided": "magenta",
    "not judged": "cyan",
    "not applicable": "dim",
}


def judgement_table(judgements: Iterable[Judgement]) -> Table:
    """Return a row for each claim: the paper's number beside ours, and the verdict; why, where it is not judged."""
    table = Table(box=SIMPLE, caption=f"ours: {INTERVAL}", padding=(0, 1, 0, 0))
    table.add_column("claim", min_width=22)
    for name in ("paper or\ntheory", "ours", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=max(map(len, VERDICTS)))
    for judgement in judgements:
        cells = claim_cells(judgement)
        numbers = (cells["paper"] or cells["theory"], _ours(judgement), cells["n"])
        why = f": {judgement.why}" if judgement.verdict == "not judged" else ""
        verdict = Text(f"{judgement.verdict}{why}", style=_STYLES[judgement.verdict])
        of_code = " (a check of the code)" if judgement.kind == "identity" else ""
        first = " (primary)" if judgement.role == "primary" else ""
        table.add_row(Text(f"{judgement.id}{first} {judgement.says}{of_code}"), *map(Text, numbers), verdict)
    return table


def means_table(group: RunGroup) -> Table:
    """Return the means of a few metrics with half their intervals: a row for each p, rate and arm, and its difference.

    Below each p that shares seeds with p = 0 stands the mean of the differences, seed by seed, and over how many.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> rows = [{"p": p, "seed": seed, "test/error": 0.4 - p} for p in (0.0, 0.2) for seed in range(3)]
        >>> group = RunGroup("A sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": rows})])
        >>> means_table(group).row_count
        3
    """
    means = group.means
    cells = [column for column in CELL if column in means]
    shown = [metric for metric in summary_metrics(means["metric"].unique()) if metric != WITHOUT_ROOM]
    lines = []
    for values, rows in means.groupby(cells, dropna=False, sort=False):
        (n, own), (pairs, changes) = (cells_of_metrics(rows, shown, names) for names in (MEAN, DIFFERENCE))
        count = replicas_in_words(n, *rows[["replicas", "diverged"]].iloc[0])
        lines.append([*map(in_words, values), count, *own])
        if pairs:
            lines.append([*[""] * (len(cells) - 1), _DIFFERENCE, str(pairs), *changes])
    headings = (*cells, "n", *(label_of(metric).title for metric in shown))
    return table_of_lines(lines, headings, title=group.title, settings=len(cells))


def print_table(table: Table, console: Console) -> None:
    """Print a table of metrics, on a terminal without the last ones if it has no room for them: no number is cut.

    Args:
        table: as `table_of_lines` builds it; columns are taken from it.
        console: to print on; a file or a pipe has room for all.

    Example:
        >>> from io import StringIO
        >>> lines = [["0.2", "3", "25.00±1.00", "7±1"]]
        >>> table = table_of_lines(lines, ["p", "n", "error", "norm"], settings=1)
        >>> print_table(table, Console(width=18, force_terminal=True, color_system=None, file=StringIO()))
        >>> [column.header for column in table.columns]
        ['p', 'n', 'error']
    """
    room, left_out = console.options.update(max_width=10_000), []
    metrics = [column for column in table.columns if column.max_width]
    while console.is_terminal and len(metrics) > 1 and console.measure(table, options=room).minimum > console.width:
        left_out.append(str(metrics.pop().header))
        table.columns.pop()
    console.print(table, crop=False)
    if left_out:
        console.print(Text(f"no room for {'; '.join(reversed(left_out))}"), soft_wrap=True)


def overview_table(groups: Sequence[RunGroup]) -> Table:
    """Return a row for each group of runs, with the number of its claims that have each verdict.

    What holds by construction is counted apart. Below stands how many replicas diverged or ended early, if any
    did, and how many directions would change under a correction for many claims.
    """
    table = Table(
        "experiment",
        "runs",
        "verdicts",
        caption="\n".join(filter(None, (describe_ends(groups), holm_in_words(groups)))) or None,
    )
    for group in groups:
        claims = [judgement for judgement in group.judgements if judgement.kind != "identity"]
        of_code = [judgement.verdict for judgement in group.judgements if judgement.kind == "identity"]
        verdicts = _coloured(count_verdicts(claims))
        if of_code:
            words = f"{of_code.count('reproduced')} of {len(of_code)} checks of the code hold"
            if undecided := of_code.count("undecided"):
                words += f", {undecided} undecided"
            style = "red" if "not reproduced" in of_code else ""
            verdicts = Text("; ").join([*([verdicts] if claims else []), Text(words, style)])
        table.add_row(Text(group.title), str(len(group.runs)), verdicts)
    return table


def holm_in_words(groups: Iterable[RunGroup]) -> str:
    """Return how many directions would change under Holm's correction within each experiment, in words; or nothing."""
    changes = [changed_by_holm(group.judgements) for group in groups]
    decided, changed = sum(number for _, number in changes), [name for names, _ in changes for name in names]
    if not decided:
        return ""
    which = f": {', '.join(changed)}" if changed else ""
    return f"under Holm's correction within each experiment {len(changed)} of {decided} directions change{which}"


def kinds_table(groups: Sequence[RunGroup]) -> Table:
    """Return a row for each kind of claim, with the number of claims of it that have each verdict."""
    table = Table("kind of claim", "claims", "verdicts")
    counts = count_by_kind(judgement for group in groups for judgement in group.judgements)
    for words, own in counts.items():
        table.add_row(words, str(sum(own.values())), _coloured(own))
    return table


def _coloured(counts: Mapping[str, int]) -> Text:
    return Text(", ").join(Text(f"{n} {verdict}", _STYLES[verdict]) for verdict, n in counts.items() if n)


def _ours(judgement: Judgement) -> str:
    """Return the mean and half its interval, or the ends of one that does not lie evenly about it, as a check's."""
    shown = {name: number(judgement.shown[name]) for name in ("mean", "low", "high")}
    if not shown["mean"]:
        return ""
    words = [shown["mean"]]
    if shown["low"] and shown["high"]:
        half = judgement.factor * (judgement.high - judgement.low) / 2
        digits = ",.0f" if 99.5 <= half < 1e7 else ".2g"
        lies_evenly = is_even(judgement.mean, judgement.low, judgement.high)
        words.append(f"± {half:{digits}}" if lies_evenly else f"[{shown['low']}, {shown['high']}]")
    return " ".join([*words, judgement.unit]).rstrip()
