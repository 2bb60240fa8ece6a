"""What the page says of each group of runs, as plain values: no chart library and no HTML."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.report.groups import Group
from noisereg.report.metric_names import metric_in_words
from noisereg.report.rows import commit_of, sweep_rows
from noisereg.report.runs import Run
from noisereg.report.verdicts import VERDICTS, Judgement

_MOST_ROWS = 400  # of the table of a sweep; results of more are in result.json


def counted(judgements: Sequence[Judgement]) -> dict[str, int]:
    """Count verdicts, in the order from reproduced to not applicable.

    Example:
        >>> counted([])
        {'reproduced': 0, 'direction only': 0, 'not reproduced': 0, 'not applicable': 0}
    """
    found = Counter(judgement.verdict for judgement in judgements)
    return {verdict: found[verdict] for verdict in VERDICTS}


def in_words(counts: Mapping[str, int]) -> str:
    """Say how many claims have which verdict.

    Example:
        >>> in_words({"reproduced": 2, "direction only": 0, "not reproduced": 1})
        '2 reproduced, 1 not reproduced'
    """
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)


def number(value: float | None) -> str:
    """Write a number with four digits, and nothing for none.

    Example:
        >>> [number(value) for value in (0.6543210, 14881, 1.5e-7, 40.0, None, float("nan"))]
        ['0.6543', '14,881', '1.5e-07', '40', '', '']
    """
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def claim_cells(judgement: Judgement) -> dict[str, str]:
    """Write a judgement as the cells of a table, in the units that are shown.

    Example:
        >>> judgement = Judgement(id="F1", says="It falls.", place="figure 1", paper=0.21, theory=None, mean=0.2,
        ...                       low=0.18, high=0.22, n=5, verdict="reproduced", why="", unit="%", factor=100)
        >>> cells = claim_cells(judgement)
        >>> cells["paper"], cells["ours"], cells["interval"]
        ('21 %', '20 %', '18 to 22')
    """
    shown = {key: number(value) for key, value in judgement.shown.items()}
    unit = f" {judgement.unit}" if judgement.unit else ""
    single = {key: f"{shown[key]}{unit}" if shown[key] else "" for key in ("paper", "theory", "mean")}
    interval = f"{shown['low']} to {shown['high']}" if shown["low"] and shown["high"] else ""
    return {
        "id": judgement.id,
        "says": judgement.says,
        "place": judgement.place,
        "paper": single["paper"],
        "theory": single["theory"],
        "ours": single["mean"],
        "interval": interval,
        "n": f"{judgement.n:,}" if judgement.n else "",
        "verdict": judgement.verdict,
        "why": judgement.why,
    }


def means_table(group: Group) -> dict[str, list[Any]] | None:
    """Set the means of a sweep in a table: a row for each metric and p, beside the paired difference to p = 0.

    Returns:
        Header and rows of cells; None if no replica has a metric that is shown.
    """
    table = sweep_rows(group)
    if table.empty:
        return None
    cells = list(table.columns[: table.columns.get_loc("metric")])
    place = {metric: place for place, metric in enumerate(dict.fromkeys(table["metric"]))}
    table = table.sort_values("metric", key=lambda names: names.map(place), kind="stable").head(_MOST_ROWS)
    rows = [
        [
            metric_in_words(str(row["metric"])),
            *(number(row[cell]) if isinstance(row[cell], int | float) else str(row[cell]) for cell in cells),
            *_with_interval(row, ("mean", "low", "high", "n")),
            *_with_interval(row, ("difference", "difference_low", "difference_high", "pairs")),
        ]
        for row in table.to_dict("records")
    ]
    last = ("mean", "95 % interval", "n", "difference to p = 0", "95 % interval", "pairs")
    return {"header": ["metric", *cells, *last], "rows": rows}


def run_facts(run: Run) -> dict[str, str]:
    """Say how a run was made: folder, command, and what else is known in a line.

    Example:
        >>> from pathlib import Path
        >>> run = Run(Path("run"), "finished", record={"seconds": 12.5, "environment": {"commit": "86960"}})
        >>> run_facts(run)["facts"]
        '12.5 s; commit 86960'
    """
    packages = run.environment.get("packages")
    known = {
        "": "" if run.seconds is None else f"{run.seconds:,.1f} s",
        "commit": commit_of(run.environment),
        "device": run.environment.get("device"),
        "platform": run.environment.get("platform"),
        "threads": run.environment.get("threads"),
        "torch": packages.get("torch") if isinstance(packages, Mapping) else None,
    }
    facts = "; ".join(f"{name} {value}".strip() for name, value in known.items() if value)
    return {"folder": str(run.folder), "command": run.command, "facts": facts}


def settings_of(run: Run, defaults: Mapping[str, str] | None) -> dict[str, Any]:
    """Give the configuration of a run: what differs from the defaults, and the whole.

    Args:
        run: a run.
        defaults: the default of each dotted key, as JSON; None if they are not known.

    Example:
        >>> from pathlib import Path
        >>> run = Run(Path("run"), "finished", record={"config": {"seed": 0, "noise": {"p": 0.1}}})
        >>> settings_of(run, {"seed": "0", "noise.p": "0"})["differing"]
        [('noise.p', '0.1')]
    """
    own = list(flat(run.config))
    differing = [] if defaults is None else [(key, value) for key, value in own if defaults.get(key, "null") != value]
    return {"differing": differing, "config": json.dumps(run.config, indent=2, default=str)}


def flat(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """List the settings of a configuration by dotted key, each value as JSON; without what describes the experiment.

    Example:
        >>> list(flat({"noise": {"p": [0, 0.2]}, "seed": 0, "experiment": {"id": "F1"}}))
        [('noise.p', '[0, 0.2]'), ('seed', '0')]
    """
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            if key or name != "experiment":
                yield from flat(value, f"{key}.{name}" if key else str(name))
    elif key:
        yield key, json.dumps(node, default=str)


def _with_interval(row: Mapping[str, Any], names: tuple[str, str, str, str]) -> list[str]:
    mean, low, high, n = (row[name] for name in names)
    interval = f"{number(low)} to {number(high)}" if not pd.isna(low) else ""
    return [number(mean), interval, f"{n:g}" if n else ""]
