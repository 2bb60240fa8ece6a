"""What the report says, as tables: a row for each claim, and a row for each p of a sweep."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.report.groups import Group
from noisereg.report.verdicts import Judgement
from noisereg.statistics import bands

_CELL = ("arm", "lr", "p")
_NUMBERS = ("mean", "low", "high", "n")
_DIFFERENCES = ("difference", "difference_low", "difference_high", "pairs")
RESULT_COLUMNS = (
    "experiment",
    "title",
    "claim",
    "says",
    "place",
    "paper",
    "theory",
    "ours",
    "low",
    "high",
    "unit",
    "n",
    "verdict",
    "why",
    "of",
    "command",
    "commit",
    "seconds",
    "device",
)


def result_rows(groups: Iterable[Group]) -> pd.DataFrame:
    """Set every judgement of some groups in a row, with the runs that it comes from.

    Args:
        groups: of runs; those without claims and checks have no row.

    Returns:
        Columns `RESULT_COLUMNS`; numbers in the unit that is shown, nan where there is none.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.report.runs import Run
        >>> claim = {"id": "F1", "metric": "test/error", "below": 0.5, "factor": 100, "unit": "%"}
        >>> record = {"replicas": [{"p": 0.2, "seed": 0, "test/error": 0.21}], "experiment": {"claims": [claim]}}
        >>> group = Group("Figure 1", "F1", [Run(Path("run"), "finished", record=record)])
        >>> result_rows([group])[["claim", "ours", "unit", "verdict"]]
          claim  ours unit     verdict
        0    F1  21.0    %  reproduced
    """
    rows = [_result_row(group, judgement) for group in groups for judgement in group.judgements]
    table = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    numbers = ["paper", "theory", "ours", "low", "high", "seconds"]
    return table.astype(dict.fromkeys(numbers, "float64"))


def csv_text(table: pd.DataFrame) -> str:
    """Write a table as the text of a csv file, in which no text of a stranger is a formula to a spreadsheet.

    A text that begins as a formula does gets a ' in front; numbers stay as they are.

    Example:
        >>> print(csv_text(pd.DataFrame({"title": ["=1+1", "plain"], "ours": [-0.5, 1.0]})), end="")
        title,ours
        '=1+1,-0.5
        plain,1.0
    """
    texts = table.select_dtypes(exclude="number").map(lambda cell: f"'{cell}" if _is_formula(cell) else cell)
    return table.assign(**dict(texts.items())).to_csv(index=False)


def sweep_rows(group: Group) -> pd.DataFrame:
    """Set the mean of each metric in a row for each p, beside its paired difference to p = 0.

    Metrics are the errors (last, best, and selected by the validation samples), the active fractions of the layers and
    the norms.

    Args:
        group: of runs.

    Returns:
        Columns arm and lr if there are several, p, metric, mean, low, high and n, then difference, difference_low,
        difference_high and pairs: the interval over seeds that have both, nan and 0 where there is no p = 0 or where
        it is p = 0 itself. In the unit of the metric.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.report.runs import Run
        >>> replicas = [{"p": p, "seed": s, "test/error": 0.5 - p + s / 10} for p in (0.0, 0.2) for s in range(3)]
        >>> group = Group("Sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": replicas})])
        >>> sweep_rows(group)[["p", "metric", "mean", "difference", "pairs"]].round(3)
             p      metric  mean  difference  pairs
        0  0.0  test/error   0.6         NaN      0
        1  0.2  test/error   0.4        -0.2      3
    """
    replicas = group.replicas
    cells = [column for column in _CELL if column in replicas]
    metrics = sweep_metrics(replicas)
    if not metrics or not {"p", "seed"} <= set(replicas):
        return pd.DataFrame(columns=[*cells, "metric", *_NUMBERS, *_DIFFERENCES])
    changes = _changes(replicas, metrics, [*(cell for cell in cells if cell != "p"), "seed"])
    parts = [
        bands(replicas, metric, by=cells)
        .merge(bands(changes, metric, by=cells).set_axis([*cells, *_DIFFERENCES], axis=1), on=cells, how="left")
        .assign(metric=metric)
        for metric in metrics
    ]
    table = pd.concat(parts).sort_values(cells, kind="stable", ignore_index=True)
    table["pairs"] = table["pairs"].fillna(0).astype(int)
    return table[[*cells, "metric", *_NUMBERS, *_DIFFERENCES]]


def sweep_metrics(replicas: pd.DataFrame) -> list[str]:
    """Name the metrics that are shown of a sweep: errors (last, best and selected), active fractions, norms.

    Example:
        >>> sweep_metrics(pd.DataFrame({"p": [0.1], "test/error": 0.2, "norm/hidden": 9.0, "test/loss": 0.3}))
        ['test/error', 'norm/hidden']
    """
    kinds = (
        lambda name: name.endswith("/error"),
        lambda name: "/active_fraction" in name,
        lambda name: name.startswith("norm/"),
    )
    return [name for fits in kinds for name in replicas.select_dtypes("number") if fits(name)]


def _is_formula(cell: Any) -> bool:
    return isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def _result_row(group: Group, judgement: Judgement) -> dict[str, Any]:
    shown = judgement.shown
    last = group.runs[-1]
    seconds = [run.seconds for run in group.runs if run.seconds is not None]
    return {
        "experiment": (group.experiment or {}).get("id") or group.name,
        "title": group.title,
        "claim": judgement.id,
        "says": judgement.says,
        "place": judgement.place,
        "paper": shown["paper"],
        "theory": shown["theory"],
        "ours": shown["mean"],
        "low": shown["low"],
        "high": shown["high"],
        "unit": judgement.unit,
        "n": judgement.n,
        "verdict": judgement.verdict,
        "why": judgement.why,
        "of": judgement.of,
        "command": "; ".join(dict.fromkeys(run.command for run in group.runs if run.command)),
        "commit": ", ".join(dict.fromkeys(commit_of(run.environment) for run in group.runs)),
        "seconds": sum(seconds) if seconds else None,
        "device": str(last.environment.get("device") or ""),
    }


def commit_of(environment: Mapping[str, Any]) -> str:
    """Name the commit that a run was made with, and say if there were changes beside it.

    Example:
        >>> commit_of({"commit": "86960275", "uncommitted_changes": True})
        '86960275 with uncommitted changes'
    """
    commit = str(environment.get("commit") or "")
    return f"{commit} with uncommitted changes" if commit and environment.get("uncommitted_changes") else commit


def _changes(replicas: pd.DataFrame, metrics: Sequence[str], pair: Sequence[str]) -> pd.DataFrame:
    """Replace the metrics of each replica with p > 0 by their difference to its partner at p = 0."""
    noisy = replicas[replicas["p"] != 0]
    quiet = replicas[replicas["p"] == 0].set_index(list(pair))[list(metrics)]
    partners = quiet.reindex(pd.MultiIndex.from_frame(noisy[list(pair)]) if len(pair) > 1 else noisy[pair[0]])
    return noisy.assign(**{metric: noisy[metric] - partners[metric].to_numpy() for metric in metrics})
