"""The results as a csv file: a row for each claim and check, with the runs that it comes from."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from noisereg.report.claims.verdicts import Judgement
from noisereg.report.groups.run_group import RunGroup

RESULT_COLUMNS = (
    "experiment",
    "title",
    "claim",
    "says",
    "place",
    "kind",
    "paper",
    "theory",
    "ours",
    "low",
    "high",
    "unit",
    "n",
    "replicas",
    "verdict",
    "why",
    "of",
    "command",
    "commit",
    "seconds",
    "device",
)


def result_rows(groups: Iterable[RunGroup]) -> pd.DataFrame:
    """Return a row for every judgement of some groups, with the runs that it comes from.

    Args:
        groups: of runs; those without claims and checks have no row.

    Returns:
        Columns `RESULT_COLUMNS`; numbers in the unit that is shown, nan where there is none.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> claim = {"id": "F1", "metric": "test/error", "below": 0.5, "factor": 100, "unit": "%"}
        >>> replicas = [{"p": 0.2, "seed": seed, "test/error": 0.21} for seed in range(3)]
        >>> record = {"replicas": replicas, "experiment": {"claims": [claim]}}
        >>> group = RunGroup("Figure 1", "F1", [Run(Path("run"), "finished", record=record)])
        >>> result_rows([group])[["claim", "ours", "unit", "verdict"]]
          claim  ours unit     verdict
        0    F1  21.0    %  reproduced
    """
    rows = [_result_row(group, judgement) for group in groups for judgement in group.judgements]
    table = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    numbers = ["paper", "theory", "ours", "low", "high", "seconds"]
    return table.astype(dict.fromkeys(numbers, "float64"))


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as the text of a csv file, in which no text of a stranger is a formula to a spreadsheet.

    A text that begins as a formula does gets a ' in front; numbers stay as they are.

    Example:
        >>> print(csv_text(pd.DataFrame({"title": ["=1+1", "plain"], "ours": [-0.5, 1.0]})), end="")
        title,ours
        '=1+1,-0.5
        plain,1.0
    """
    texts = table.select_dtypes(exclude="number").map(lambda cell: f"'{cell}" if _is_formula(cell) else cell)
    return table.assign(**dict(texts.items())).to_csv(index=False)


def _is_formula(cell: Any) -> bool:
    return isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def _result_row(group: RunGroup, judgement: Judgement) -> dict[str, Any]:
    shown = judgement.shown
    last = group.runs[-1]
    seconds = [run.seconds for run in group.runs if run.seconds is not None]
    return {
        "experiment": (group.experiment or {}).get("id") or group.name,
        "title": group.title,
        "claim": judgement.id,
        "says": judgement.says,
        "place": judgement.place,
        "kind": judgement.kind,
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
        "of": judgement.of,
        "command": "; ".join(dict.fromkeys(run.command for run in group.runs if run.command)),
        "commit": ", ".join(dict.fromkeys(commit_of(run.environment) for run in group.runs)),
        "seconds": sum(seconds) if seconds else None,
        "device": str(last.environment.get("device") or ""),
    }


def commit_of(environment: Mapping[str, Any]) -> str:
    """Return the commit that a run was made with, and whether there were changes beside it, in words.

    Example:
        >>> commit_of({"commit": "86960275", "uncommitted_changes": True})
        '86960275 with uncommitted changes'
    """
    commit = str(environment.get("commit") or "")
    return f"{commit} with uncommitted changes" if commit and environment.get("uncommitted_changes") else commit
