"""`noisereg plot SWEEP --x KEY --y METRIC,...`: what was measured against anything in which runs differ."""

import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisereg.files.atomic import write_atomically
from noisereg.labels import INTERVAL, in_words, label_of
from noisereg.parsers import plot_parser
from noisereg.report.figures.figure import draw_figure
from noisereg.report.figures.files import specification_of
from noisereg.report.figures.line_panel import FEWEST_FOR_AN_INTERVAL
from noisereg.report.figures.panel import Kind, PanelSpec
from noisereg.report.figures.panel_values import WITHOUT_CURVES, evenly_spaced, panel_means
from noisereg.report.figures.paper import IMAGES, Form, paper_specification, width_of
from noisereg.report.figures.usual import panel_of
from noisereg.report.groups.comparison import ABSENT, Comparison, setting_in_words, varies_within
from noisereg.report.groups.reading import find_finished
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import replicas_in_words
from noisereg.terminal import run_command

_OVER_TRAINING = ("epoch", "step")
_OF_PANELS = {"noise.p": "p", "optimizer.lr": "lr"}  # what figures have colours from dark to light for
_ARMS = "arms"  # along the axis, as the column of that name has what tells lines apart
_BAR = 32  # characters
_MOST_ROWS = 24  # of the terminal for each line of a plot


def main(arguments: Sequence[str] | None = None) -> int:
    """Plot the runs in some folders, and return the exit code, as `run_command` does."""
    return run_command(_plot, parser=plot_parser(), arguments=arguments)


def _plot(asked: Namespace, console: Console) -> None:
    if asked.output and asked.output.suffix.removeprefix(".") not in IMAGES:
        raise ValueError(f"--output must end in .{', .'.join(IMAGES)}, got {asked.output}")
    y = _names(asked.y)
    if not y:
        raise ValueError(f"--y must name what was measured, such as test/error, got {asked.y!r}")
    width = width_of(asked.width or ("page" if len(y) > 1 else "column"))
    form = Form(width, asked.font) if asked.output else None
    groups, left_out = find_finished(asked.paths, console)
    by = None if asked.by is None else _names(asked.by)
    plot = Plot.of(groups, x=asked.x, y=y, by=by, where=asked.where)
    if form:
        write_atomically(asked.output, plot.image(asked.output.suffix.removeprefix("."), form))
        console.print(str(asked.output), soft_wrap=True)
    else:
        for table in plot.tables():
            console.print(table, crop=False)
        console.print(plot.interval_in_words)
    if asked.x in _OVER_TRAINING:
        left_out += [fault for group in groups for fault in group.curve_faults]
    for line in left_out:
        console.print(line, soft_wrap=True)


@dataclass(frozen=True)
class Plot:
    """Panels of what was measured against something in which replicas differ.

    Args:
        panels: one for each metric.
        replicas: a row for each replica, with the column of the axis; p, lr and arm tell lines apart.
        curves: a row for each replica and measurement; empty unless the axis is that of the training.
    """

    panels: Sequence[PanelSpec]
    replicas: pd.DataFrame
    curves: pd.DataFrame

    @classmethod
    def of(
        cls,
        groups: Sequence[RunGroup],
        *,
        x: str,
        y: Sequence[str],
        by: Sequence[str] | None = None,
        where: Sequence[str] = (),
    ) -> "Plot":
        """Choose what is drawn of some groups of runs.

        Args:
            groups: of runs.
            x: along the axis: a setting, such as noise.p, a part, such as model, epoch, step, or what was measured.
            y: what was measured, a panel each.
            by: settings and parts that tell lines apart; None: all others in which the replicas differ.
            where: lines KEY=VALUE: other replicas are left out.

        Raises:
            ValueError: if there is no such name or value, or if replicas of one mean differ in more than their seed.

        Example:
            >>> from pathlib import Path
            >>> from noisereg.runs.reading import Run
            >>> rows = [{"p": p, "seed": seed, "test/error": 0.4 - p} for p in (0.0, 0.2) for seed in range(3)]
            >>> group = RunGroup("A sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": rows})])
            >>> [panel.title for panel in Plot.of([group], x="noise.p", y=["test/error"]).panels]
            ['test error (%)']
        """
        compared = Comparison([group for group in groups if not group.replicas.empty])
        if not compared.groups:
            raise ValueError("the records of these runs hold no replica, and so nothing to plot")
        x, by = compared.full_name(x), None if by is None else [compared.full_name(key) for key in by]
        rows = _chosen(compared, compared.rows, where)
        is_over_training = x in _OVER_TRAINING
        curves = _chosen(compared, compared.curves, where) if is_over_training else rows[:0]
        if is_over_training and curves.empty:
            faults = [fault for group in groups for fault in group.curve_faults]
            raise ValueError(f"--x {x} needs metrics.csv, {faults[0] if faults else WITHOUT_CURVES}")
        along = _known("--x", x, compared, curves if is_over_training else rows)
        is_measured = x in compared.metrics
        settings = {key: _known("--by", key, compared, rows) for key in (compared.keys if by is None else by)}
        if by is None:
            cells = [] if is_over_training or is_measured else [along]
            settings = {key: values for key, values in settings.items() if key != x and varies_within(values, cells)}
        if not (is_over_training or is_measured) and along.nunique(dropna=False) < 2:
            value = in_words(along.iloc[0])
            raise ValueError(f"--x {x} is {value} in all replicas; they differ in {_listed(compared)}")
        if not is_measured:
            _check_alone(compared, rows, [*settings.values(), *([] if is_over_training else [along])])
        kind: Kind = "curves" if is_over_training else "scatter" if is_measured else "end"
        column = _OF_PANELS.get(x, x) if x != "arm" else _ARMS
        frames = [_for_panels(compared, frame, x=x, by=[*settings]) for frame in (rows, curves)]
        for metric in y:
            _check_measured(metric, compared, curves if is_over_training else rows)
        lines = list(dict.fromkeys(_OF_PANELS.get(key, "arm") for key in settings))
        return cls([panel_of(metric, kind, x=column, by=lines) for metric in y], *frames)

    @property
    def interval_in_words(self) -> str:
        """What the numbers and the bars of the terminal are."""
        if any(panel.kind == "scatter" for panel in self.panels):
            return "a row for each replica"
        return f"{INTERVAL}, over n seeds; no interval of fewer than {FEWEST_FOR_AN_INTERVAL}"

    def image(self, suffix: str, form: Form) -> bytes:
        """Draw a figure.

        Args:
            suffix: pdf, svg or png.
            form: of the figure.
        """
        figure = draw_figure(self.panels, replicas=self.replicas, curves=self.curves)
        return IMAGES[suffix](paper_specification(specification_of(figure), form), form.width)

    def tables(self) -> list[Table]:
        """Return a drawing of each panel for the terminal, as a table with a row for each point."""
        return [self._table(panel) for panel in self.panels]

    def _table(self, panel: PanelSpec) -> Table:
        means = panel_means(panel, replicas=self.replicas, curves=self.curves)
        lines = [name for name in panel.by if name in means and means[name].nunique() > 1]
        means = means.sort_values([*lines, "x"], kind="stable") if panel.kind == "scatter" else means
        parts = [part for _, part in means.groupby(lines, sort=False)] if lines else [means]
        rows = pd.concat([part.iloc[evenly_spaced(len(part), _MOST_ROWS)] for part in parts])
        left_out = f"; {len(rows)} of {len(means)} rows, evenly spaced" if len(rows) < len(means) else ""
        label = label_of(next(iter(panel.metrics)))
        has_interval = (rows["n"] >= FEWEST_FOR_AN_INTERVAL) & rows["low"].notna()
        low, high = rows["low"].where(has_interval, rows["mean"]), rows["high"].where(has_interval, rows["mean"])
        table = Table(title=Text(f"{panel.title}{left_out}"), title_justify="left", box=SIMPLE, padding=0)
        for name in (*lines, panel.along):
            table.add_column(label_of(name).title if name != "arm" else "", justify="right")
        for name in ("n", "mean"):
            table.add_column(name, justify="right", no_wrap=True)
        ends = [f"{value:,.{label.digits}f}" for value in (low.min(), high.max())]
        table.add_column(f"{ends[0]}{ends[1]:>{_BAR - len(ends[0])}}", no_wrap=True)
        for row, first, last in zip(rows.to_dict("records"), low, high, strict=True):
            mean = row["mean"] / label.factor
            interval = (first / label.factor, last / label.factor) if last > first else (math.nan, math.nan)
            table.add_row(
                *(Text(in_words(row[name])) for name in lines),
                f"{row['x']:.6g}" if panel.kind == "scatter" else Text(in_words(row["x"])),
                replicas_in_words(int(row["n"]), int(row["replicas"])),
                label.format_mean(mean, *interval).replace(" [", "\n["),
                bar(row["mean"], first, last, within=(low.min(), high.max())),
            )
        return table


def bar(mean: float, low: float, high: float, *, within: tuple[float, float], width: int = _BAR) -> str:
    """Return a mean and its interval drawn in one line of letters.

    Args:
        mean: nan, or what is infinite, for none.
        low: lower end; the mean for no interval.
        high: upper end, likewise.
        within: what the two ends of the line stand for.
        width: in letters.

    Example:
        >>> bar(5, 2, 8, within=(0, 10), width=11), bar(10, 10, 10, within=(0, 10), width=11)
        ('  |--o--|  ', '          o')
    """
    if not all(map(math.isfinite, (mean, low, high, within[1] - within[0]))):
        return " " * width
    reach = within[1] - within[0]
    first, middle, last = (
        round((width - 1) * (value - within[0]) / reach) if reach > 0 else 0 for value in (low, mean, high)
    )
    letters = [" "] * width
    if last > first:
        letters[first : last + 1] = ["|", *"-" * (last - first - 1), "|"]
    letters[middle] = "o"
    return "".join(letters)


def _chosen(compared: Comparison, frame: pd.DataFrame, where: Sequence[str]) -> pd.DataFrame:
    """Return the rows that have given values."""
    for line in where:
        key, sign, value = line.partition("=")
        if not sign:
            raise ValueError(f"--where must be KEY=VALUE, got {line}")
        column = _known("--where", compared.full_name(key), compared, frame)
        kept = frame[[_is_meant(found, value) for found in column]]
        if kept.empty and not frame.empty:
            kinds = column.drop_duplicates()
            kinds = kinds.sort_values() if pd.api.types.is_numeric_dtype(kinds) else kinds
            there = ", ".join(map(setting_in_words, kinds[:10]))
            raise ValueError(f"--where {line}: no replica has this; there are {there}")
        frame = kept
    return frame


def _is_meant(found: Any, value: str) -> bool:
    if isinstance(found, str) or value == ABSENT:
        return setting_in_words(found) == value
    try:
        return math.isclose(float(found), float(value), rel_tol=1e-9)
    except ValueError:
        return False


def _known(option: str, name: str, compared: Comparison, frame: pd.DataFrame) -> pd.Series:
    try:
        return compared.column(name, frame)
    except ValueError as error:
        raise ValueError(f"{option} {error} (the replicas differ in {_listed(compared)})") from None


def _check_measured(name: str, compared: Comparison, frame: pd.DataFrame) -> None:
    """Refuse a metric that has no number."""
    try:
        column = compared.column(name, frame)
    except ValueError as error:
        raise ValueError(f"--y {error}") from None
    if not pd.api.types.is_numeric_dtype(column) or column.isna().all():
        raise ValueError(f"--y {name} has no number to draw")


def _check_alone(compared: Comparison, rows: pd.DataFrame, cells: Sequence[pd.Series]) -> None:
    """Refuse a mean over replicas that differ in more than their seed: it would say nothing of any of them."""
    also = [key for key in compared.keys if varies_within(compared.column(key, rows), cells)]
    if also:
        raise ValueError(
            f"a mean would be over replicas that differ in {', '.join(also)} too: name them in --by, or choose one "
            f"value: --where {also[0]}={setting_in_words(compared.column(also[0], rows).iloc[0])}"
        )


def _for_panels(compared: Comparison, frame: pd.DataFrame, *, x: str, by: Sequence[str]) -> pd.DataFrame:
    """Return rows as panels have them: p and lr by these names, and what else a line is told by in words as its arm."""
    words = [key for key in by if key not in _OF_PANELS]
    texts = [_line_words(key, compared.column(key, frame)) for key in words]
    order = [compared.column(key, frame).rename(key) for key in words if key in frame or key in compared.keys]
    named = frame.rename(columns={**_OF_PANELS, "arm": _ARMS})
    if x not in frame and x not in _OVER_TRAINING:
        named = named.assign(**{x: compared.column(x, frame)})
    if texts:
        named = named.assign(arm=[", ".join(parts) for parts in zip(*texts, strict=True)])
    if order and len(named):
        named = named.loc[pd.concat(order, axis=1).sort_values([column.name for column in order], kind="stable").index]
    return named.reset_index(drop=True)


def _line_words(key: str, values: pd.Series) -> list[str]:
    """Return the values of a setting as words for a line; a number has its key in front."""
    is_number = pd.api.types.is_numeric_dtype(values)
    words = map(setting_in_words, values)
    return [f"no {key}" if text == ABSENT else f"{key} = {text}" if is_number else text for text in words]


def _listed(compared: Comparison) -> str:
    return ", ".join(compared.keys) or "nothing but their seeds"


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
