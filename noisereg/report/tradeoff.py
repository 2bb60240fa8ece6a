"""Methods at equal error and at equal activity, chosen on validation samples and reported on test samples.

python -m noisereg.report.tradeoff RUN [--reference noise]
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from noisereg.labels import label_of
from noisereg.report.figures.tradeoff_panel import split_by_strength
from noisereg.report.groups.reading import find_finished
from noisereg.statistics import mean_interval
from noisereg.terminal import run_command

_ACTIVE, _VAL, _TEST = "train/active_neurons", "val/error", "test/error"
_SHOWN = (_TEST, _ACTIVE)
_CHOSEN = {column: f"selected/{column}" for column in (_ACTIVE, _VAL, _TEST)}  # at the epoch of the lowest val/error


def choose_strengths(replicas: pd.DataFrame, *, reference: str) -> pd.DataFrame:
    """Choose a strength of each method by means over validation samples and training samples alone.

    Three times: the strength with the lowest validation error; of those whose validation error is at most that of the
    reference so chosen, the one with the fewest active neurons; and of those with at most as many active neurons as the
    reference, the one with the lowest validation error. Replicas that diverged are left out, and so are strengths
    without values of both.

    Early stopping is a method too, where the reference has replicas at p = 0 and the columns are there: these replicas
    at the epoch of their lowest validation error.

    Args:
        replicas: one row for each replica, with `val/error`, `test/error`, `train/active_neurons` and arm.
        reference: name of the method that others are compared with.

    Returns:
        One row for each question and method: question, method, strength, then of the test error and the active neurons
        mean, low and high, and n, the fewer values of the two. The strength is "none" where none answers to the
        question.

    Raises:
        ValueError: if a column is missing, or there is no such method.

    Example:
        >>> rows = pd.DataFrame({"arm": ["noise", "l1_1"], "p": [0.2, 0.0], "seed": 0, "val/error": [0.2, 0.3],
        ...                      "test/error": [0.25, 0.35], "train/active_neurons": [40.0, 30.0]})
        >>> choose_strengths(rows, reference="noise")["strength"].tolist()
        ['0.2', '1', '0.2', 'none', '0.2', '1']
    """
    if missing := [column for column in ("arm", "p", _VAL, _TEST, _ACTIVE) if column not in replicas]:
        raise ValueError(f"no replica has the column {missing[0]}")
    cells = [cell for cell in split_by_strength(replicas) if cell[2][[_VAL, _ACTIVE]].notna().any().all()]
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    if reference not in methods:
        raise ValueError(f"reference must be a method with values, one of {', '.join(methods)}, got {reference}")
    mine = [cell for cell in cells if cell[0] == reference]
    best = min(mine, key=lambda cell: cell[2][_VAL].mean())[2]
    error, active = best[_VAL].mean(), best[_ACTIVE].mean()
    if {*_CHOSEN.values()} <= {*replicas}:
        without = [rows for _, strength, rows in mine if strength == "0"]
        stopped = [rows.assign(**{now: rows[then] for now, then in _CHOSEN.items()}) for rows in without]
        cells += [("early stopping", "p = 0", rows) for rows in stopped]
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    questions = {
        "lowest validation error": (_VAL, _VAL, float("inf")),
        "fewest active neurons at that error": (_ACTIVE, _VAL, error),
        "lowest error at that activity": (_VAL, _ACTIVE, active),
    }
    chosen = []
    for question, (smallest, limited, limit) in questions.items():
        for method in methods:
            fit = [cell for cell in cells if cell[0] == method and cell[2][limited].mean() <= limit]
            found = min(fit, key=lambda cell, by=smallest: cell[2][by].mean(), default=None)  # type: ignore[misc]
            chosen.append({"question": question, "method": method, **_values(found)})
    return pd.DataFrame(chosen)


def _values(found: tuple[str, str, pd.DataFrame] | None) -> dict[str, object]:
    if found is None:
        return {"strength": "none"}
    _, strength, rows = found
    values: dict[str, object] = {"strength": strength, "n": int(rows[[*_SHOWN]].count().min())}
    for column in _SHOWN:
        mean, low, high, _ = mean_interval(rows[column])
        values |= {column: mean, f"{column}_low": low, f"{column}_high": high}
    return values


def as_markdown(chosen: pd.DataFrame) -> str:
    """Return a table for each question."""
    parts = []
    for question, rows in chosen.groupby("question", sort=False):
        lines = [
            f"**{question}**",
            "",
            "| method | strength | test error (%) | active neurons | n |",
            "|---|---|---|---|---|",
        ]
        for row in rows.to_dict("records"):
            if row["strength"] == "none":
                lines.append(f"| {row['method']} | none | | | |")
                continue
            error, active = (
                _with_interval(key, *(row[f"{key}{end}"] for end in ("", "_low", "_high"))) for key in _SHOWN
            )
            lines.append(f"| {row['method']} | {row['strength']} | {error} | {active} | {row['n']:.0f} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _with_interval(metric: str, *values: float) -> str:
    """Return a mean and the ends of its interval, cut at what is possible, in the unit that is shown."""
    mean, low, high = (f"{label_of(metric).cut(value):.1f}" for value in values)
    return f"{mean} ({low} to {high})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of a run, and return the exit code, as `run_command` does."""
    parser = ArgumentParser(prog="python -m noisereg.report.tradeoff", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run with arms called method_strength")
    parser.add_argument("--reference", default="noise", help="the method that others are compared with")
    return run_command(_print_tables, parser=parser, arguments=arguments)


def _print_tables(asked: Namespace, console: Console) -> None:
    (group, *others), _ = find_finished([asked.run], console)
    if others:
        raise ValueError(
            f"{asked.run} holds runs of {len(others) + 1} settings, and a table is of one: name one of them"
        )
    console.print(as_markdown(choose_strengths(group.replicas, reference=asked.reference)), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
