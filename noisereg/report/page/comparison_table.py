"""Groups of runs side by side as tables: means for each combination of what differs, and paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from noisereg.labels import INTERVAL, label_of
from noisereg.report.groups.comparison import Comparison, setting_in_words
from noisereg.report.groups.reading import read_groups
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import replicas_in_words
from noisereg.report.page.means_table import cells_of_metrics, page_table, with_interval
from noisereg.report.page.terminal import WITHOUT_ROOM, means_table, print_table
from noisereg.runs.reading import Run
from noisereg.runs.summary import LESS, summary_metrics, table_of_lines
from noisereg.statistics import DIFFERENCE, MEAN

_MOST_KEYS = 5  # of a table: groups that differ in more have little to do with one another
_MOST_LINES = 120  # of the terminal
_MOST_NAMES = 6  # of settings that differ besides; of more, their parts
_MOST_TABLES = 12  # at the end of a sweep
LESS_THE_SAME = "less the same with"  # heading of what a difference is to


def compare_groups(groups: Sequence[RunGroup]) -> Comparison | None:
    """Return groups without claims side by side; None where they differ in nothing, or in too much for a table."""
    compared = Comparison([group for group in groups if not group.replicas.empty])
    is_of_use = compared.groups and 0 < len(compared.keys) <= _MOST_KEYS and compared.metrics
    return compared if is_of_use and not compared.has_doubles else None


def result_tables(groups: Sequence[RunGroup]) -> list[Table]:
    """Return for the terminal one table of groups without claims side by side, or else one for each group."""
    compared = compare_groups(groups)
    if compared and compared.has_several_settings:
        return [comparison_table(compared)]
    return [means_table(group) for group in groups if not group.means.empty]


def print_results(runs: Sequence[Run], console: Console) -> None:
    """Print the means of a sweep's runs, as `print_means` does; those that cannot be read are left out."""
    print_means(read_groups(runs)[0], console, most=_MOST_TABLES, elsewhere="by noisereg report")


def print_means(groups: Sequence[RunGroup], console: Console, *, most: int, elsewhere: str) -> None:
    """Print the means of groups without claims by what differs between them, with intervals and paired differences.

    Args:
        groups: of runs; those with claims are left out.
        console: to print on.
        most: tables that are printed.
        elsewhere: where the others are, in words.
    """
    tables = result_tables([group for group in groups if not group.judgements])
    for table in tables[:most]:
        print_table(table, console)
    if tables:
        more = f"; {len(tables) - most} more tables {elsewhere}" if len(tables) > most else ""
        console.print(f"{INTERVAL}; differences seed by seed{more}", soft_wrap=True)


def comparison_table(compared: Comparison) -> Table:
    """Return a row for each combination of what differs, and below it its paired differences to the first values.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> def group(hidden):
        ...     config = {"model": {"_target_": "noisereg.models.MLP", "hidden": hidden}}
        ...     rows = [{"p": 0.2, "seed": seed, "test/error": seed / hidden} for seed in range(3)]
        ...     return RunGroup("a", "a", [Run(Path("run"), "finished", record={"config": config, "replicas": rows})])
        >>> comparison_table(Comparison([group(8), group(16)])).row_count
        3
    """
    keys, means, changes = compared.keys, compared.means, compared.differences_to_the_first
    shown = [metric for metric in summary_metrics(compared.metrics) if metric != WITHOUT_ROOM]
    changes = changes[changes["metric"].isin(shown)]
    of_cell: dict[tuple[str, ...], list[int]] = {}
    for number, words in enumerate(zip(*(changes[key].map(setting_in_words) for key in keys), strict=True)):
        of_cell.setdefault(words, []).append(number)
    lines: list[list[str]] = []
    for cell, own in means.groupby(keys, dropna=False, sort=False):
        n, cells = cells_of_metrics(own, shown, MEAN)
        place = [setting_in_words(value) for value in cell]
        lines.append([*place, replicas_in_words(n, int(own["replicas"].iloc[0])), *cells])
        less_others = changes.iloc[of_cell.get(tuple(place), [])]
        for (key, than), part in less_others.groupby(["key", "than"], sort=False):
            pairs, cells = cells_of_metrics(part, shown, DIFFERENCE)
            less = [f"{LESS} {setting_in_words(than)}" if name == key else "" for name in keys]
            lines.append([*less, f"{pairs} pairs", *cells])
        if len(lines) > _MOST_LINES:
            break
    headings = (*keys, "n", *(label_of(metric).title for metric in shown))
    left_out = f", the first {_MOST_LINES} lines" if len(lines) > _MOST_LINES else ""
    title = f"by what differs: {', '.join(keys)}{left_out}{besides_in_words(compared)}"
    return table_of_lines(lines[:_MOST_LINES], headings, title=title, settings=len(keys))


def besides_in_words(compared: Comparison) -> str:
    """Name what else differs than the keys, so that nobody takes a difference for that of one key; often nothing."""
    names = compared.also_differing
    if len(names) > _MOST_NAMES:
        names = list(dict.fromkeys(name.partition(".")[0] for name in names))
    return f"; besides {', '.join(names)}: what differs in more than one is not subtracted" if names else ""


def comparison_cells(compared: Comparison) -> dict[str, Any]:
    """Return the means as a table of the page: a row for each metric and combination."""

    def row_of(row: Mapping[str, Any]) -> list[str]:
        place = [setting_in_words(row[key]) for key in compared.keys]
        return [*place, *with_interval(row, MEAN), replicas_in_words(row["n"], row["replicas"])]

    header = [*compared.keys, "mean", "95 % interval", "n"]
    return page_table(compared.means, header, row_of, file="comparison.csv")


def difference_cells(compared: Comparison) -> dict[str, Any]:
    """Return the paired differences to the first values as a table of the page."""

    def row_of(row: Mapping[str, Any]) -> list[str]:
        place = [
            *(setting_in_words(row[key]) for key in compared.keys),
            f"{row['key']} = {setting_in_words(row['than'])}",
        ]
        return [*place, *with_interval(row, DIFFERENCE), f"{row['pairs']:,}"]

    header = [*compared.keys, LESS_THE_SAME, "difference", "95 % interval", "pairs"]
    return page_table(compared.differences_to_the_first, header, row_of, file="differences.csv")
