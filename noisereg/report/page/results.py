"""What a report keeps as csv files: the means of all groups of runs, and the verdicts on claims and checks."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import pandas as pd

from noisereg.report.claims.verdicts import Judgement
from noisereg.report.groups.comparison import Comparison
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import commit_of
from noisereg.report.page.means_table import shown_means
from noisereg.statistics import CELL, DIFFERENCE, MEAN
from noisereg.terminal import plain_text

RESULT_COLUMNS = ("experiment", "title", *CELL, "metric", "unit", *MEAN, "diverged", *DIFFERENCE)
_DIGITS = "%.10g"  # of numbers in other units than the record has them in, the last digits are rounding


def result_rows(groups: Iterable[RunGroup]) -> pd.DataFrame:
    """Return a row for each group of runs, arm, learning rate, p and metric; groups without replicas have none.

    Returns:
        Columns `RESULT_COLUMNS`; arm and lr are empty in groups that have one of them. Means, intervals and paired
        differences to p = 0 are in the unit that is shown, nan where there is none; n of the replicas have a value.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> replicas = [{"p": p, "seed": seed, "test/error": 0.25 + p} for p in (0.0, 0.5) for seed in range(3)]
        >>> group = RunGroup("A sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": replicas})])
        >>> result_rows([group])[["p", "metric", "mean", "n", "difference", "pairs"]]
             p      metric  mean  n  difference  pairs
        0  0.0  test/error  25.0  3         NaN      0
        1  0.5  test/error  75.0  3        50.0      3
    """
    tables = [group.means.assign(experiment=_name_of(group), title=group.title) for group in groups]
    filled = [table for table in tables if not table.empty]
    together = shown_means(pd.concat(filled, ignore_index=True)) if filled else pd.DataFrame()
    return together.reindex(columns=list(RESULT_COLUMNS))


def claim_rows(groups: Iterable[RunGroup]) -> pd.DataFrame:
    """Return a row for every judgement of some groups, with the runs that it comes from.

    Returns:
        Numbers in the unit that is shown, nan where there is none; no columns if there is no row.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> claim = {"id": "F1", "metric": "test/error", "below": 0.5, "factor": 100, "unit": "%"}
        >>> replicas = [{"p": 0.2, "seed": seed, "test/error": 0.21} for seed in range(3)]
        >>> record = {"replicas": replicas, "experiment": {"claims": [claim]}}
        >>> group = RunGroup("Figure 1", "F1", [Run(Path("run"), "finished", record=record)])
        >>> claim_rows([group])[["claim", "ours", "unit", "verdict"]]
          claim  ours unit     verdict
        0    F1  21.0    %  reproduced
    """
    table = pd.DataFrame([_claim_row(group, judgement) for group in groups for judgement in group.judgements])
    numbers = ("paper", "theory", "ours", "low", "high", "seconds")
    return table.astype({name: "float64" for name in numbers if name in table})


def comparison_rows(compared: Comparison) -> pd.DataFrame:
    """Return a row for each combination of what differs and metric: its mean, in the unit that is shown."""
    columns = [*compared.keys, "metric", "unit", *MEAN]
    return shown_means(compared.means)[columns]


def difference_rows(compared: Comparison) -> pd.DataFrame:
    """Return a row for each two combinations that differ in one key, and each metric: their paired difference.

    Returns:
        The settings of the later combination; key and than, what the earlier one has there instead; metric, unit; the
        difference, later less earlier, with its 95 % t interval over the pairs, those seeds that both have.
    """
    columns = [*compared.keys, "key", "than", "metric", "unit", *DIFFERENCE]
    return shown_means(compared.differences)[columns]


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as the text of a csv file, in which no text of a stranger is a formula to a spreadsheet.

    A text that begins as a formula does gets a ' in front; numbers stay as they are.

    Example:
        >>> print(csv_text(pd.DataFrame({"title": ["=1+1", "plain"], "ours": [-0.5, 1.0]})), end="")
        title,ours
        '=1+1,-0.5
        plain,1
    """
    harmless = cache(_escape_formula)  # a title stands in many rows
    texts = {
        name: column.map(lambda cell: harmless(cell) if isinstance(cell, str) else cell)
        for name, column in table.select_dtypes(exclude="number").items()
    }
    return table.assign(**texts).to_csv(index=False, float_format=_DIGITS)


def _escape_formula(cell: str) -> str:
    text = plain_text(cell)
    return f"'{text}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _name_of(group: RunGroup) -> str:
    return str(group.experiment.get("id") or group.name)


def _claim_row(group: RunGroup, judgement: Judgement) -> dict[str, Any]:
    shown = judgement.shown
    last = group.runs[-1]
    seconds = [run.seconds for run in group.runs if run.seconds is not None]
    return {
        "experiment": _name_of(group),
        "title": group.title,
        "claim": judgement.id,
        "says": judgement.says,
        "place": judgement.place,
        "kind": judgement.kind,
        "role": judgement.role,
        "paper": shown["paper"],
        "theory": shown["theory"],
        "ours": shown["mean"],
        "low": shown["low"],
        "high": shown["high"],
        "unit": judgement.unit,
        "n": judgement.n,
        "replicas": judgement.num_replicas or judgement.n,
        "verdict": judgement.verdict,
        "why": judgement.why,
        "beside": judgement.beside,
        "of": judgement.of,
        "command": "; ".join(dict.fromkeys(run.command for run in group.runs if run.command)),
        "commit": ", ".join(dict.fromkeys(commit_of(run.environment) for run in group.runs)),
        "seconds": sum(seconds) if seconds else None,
        "device": str(last.environment.get("device") or ""),
    }
