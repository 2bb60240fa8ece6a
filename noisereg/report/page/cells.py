"""What the page says of each group of runs, as plain values: no chart library and no HTML."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from noisereg.config.sections import leaves
from noisereg.report.claims.verdicts import KINDS, VERDICTS, Judgement
from noisereg.runs.reading import Run


def count_verdicts(judgements: Sequence[Judgement]) -> dict[str, int]:
    """Count verdicts, in the order from reproduced to not applicable."""
    found = Counter(judgement.verdict for judgement in judgements)
    return {verdict: found[verdict] for verdict in VERDICTS}


def count_by_kind(judgements: Iterable[Judgement]) -> dict[str, dict[str, int]]:
    """Count verdicts for each kind of claim, under the words for it; a kind without claims is left out.

    Example:
        >>> judgement = Judgement(id="F1", says="It falls.", place="figure 1", paper=0.2, theory=None, mean=0.2,
        ...                       low=0.1, high=0.3, n=5, verdict="reproduced", why="", kind="number")
        >>> count_by_kind([judgement])["numbers of the paper's"]["reproduced"]
        1
    """
    own: dict[str, list[Judgement]] = {kind: [] for kind in KINDS}
    for judgement in judgements:
        own[judgement.kind].append(judgement)
    return {words: count_verdicts(own[kind]) for kind, words in KINDS.items() if own[kind]}


def kinds_in_words(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return how many claims of which kind have which verdict, in words.

    Example:
        >>> kinds_in_words({"directions": {"reproduced": 2, "undecided": 1}, "checks of the code": {"reproduced": 3}})
        'directions: 2 reproduced, 1 undecided; checks of the code: 3 reproduced'
    """
    parts = {kind: [f"{number} {verdict}" for verdict, number in own.items() if number] for kind, own in counts.items()}
    return "; ".join(f"{kind}: {', '.join(words)}" for kind, words in parts.items())


def replicas_in_words(n: int, replicas: int, diverged: int = 0) -> str:
    """Return how many replicas a number is over; of how many, if some have no value, and how many of them diverged.

    Example:
        >>> replicas_in_words(1000, 1000), replicas_in_words(3, 8), replicas_in_words(2, 8, 6), replicas_in_words(0, 0)
        ('1,000', '3 of 8', '2 of 8, 6 diverged', '')
    """
    failed = f", {diverged:,} diverged" if diverged else ""
    if n < replicas or failed:
        return f"{n:,} of {replicas:,}{failed}"
    return f"{n:,}" if n else ""


def number(value: float | None) -> str:
    """Return a number with four digits as text, and nothing for none.

    Example:
        >>> [number(value) for value in (0.6543210, 14881, 1.5e-7, 40.0, None, float("nan"))]
        ['0.6543', '14,881', '1.5e-07', '40', '', '']
    """
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def claim_cells(judgement: Judgement) -> dict[str, str]:
    """Return a judgement as the cells of a table, in the units that are shown.

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
        "n": replicas_in_words(judgement.n, judgement.num_replicas),
        "kind": KINDS[judgement.kind],
        "role": judgement.role,
        "verdict": judgement.verdict,
        "why": judgement.why,
        "beside": judgement.beside,
    }


def run_facts(run: Run) -> dict[str, str]:
    """Return how a run was made: folder, command, and what else is known in a line.

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


def commit_of(environment: Mapping[str, Any]) -> str:
    """Return the commit that a run was made with, and whether there were changes beside it, in words.

    Example:
        >>> commit_of({"commit": "86960275", "uncommitted_changes": True})
        '86960275 with uncommitted changes'
    """
    commit = str(environment.get("commit") or "")
    return f"{commit} with uncommitted changes" if commit and environment.get("uncommitted_changes") else commit


def settings_of(run: Run, defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the configuration of a run: what differs from the defaults, if they are known, and the whole.

    Example:
        >>> from pathlib import Path
        >>> run = Run(Path("run"), "finished", record={"config": {"seed": 0, "noise": {"p": 0.1}}})
        >>> settings_of(run, {"seed": 0, "noise": {"p": 0}})["differing"]
        [('noise.p', '0.1')]
    """
    usual = _settings_as_json(defaults or {})
    own = {} if defaults is None else _settings_as_json(run.config)
    differing = [(key, value) for key, value in own.items() if usual.get(key, "null") != value]
    return {"differing": differing, "config": json.dumps(run.config, indent=2, default=str)}


def _settings_as_json(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the values by dotted key, but for those that describe an experiment."""
    settings = {key: value for key, value in config.items() if key != "experiment"}
    return {key: json.dumps(value, default=str) for key, value in leaves(settings, into=(dict,))}
