"""Verdicts as tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from noisereg.report.claims.verdicts import VERDICTS, Judgement
from noisereg.report.groups.run_group import RunGroup, count_diverged
from noisereg.report.page.cells import claim_cells, count_by_kind, count_verdicts, number

_STYLES = {
    "reproduced": "green",
    "direction only": "yellow",
    "not reproduced": "red",
    "undecided": "magenta",
    "not judged": "cyan",
    "not applicable": "dim",
}


def judgement_table(judgements: Iterable[Judgement]) -> Table:
    """Return a row for each claim: the paper's number beside ours, and the verdict; why, where it is not judged.

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
        why = f": {judgement.why}" if judgement.verdict == "not judged" else ""
        verdict = Text(f"{judgement.verdict}{why}", style=_STYLES[judgement.verdict])
        of_code = " (a check of the code)" if judgement.kind == "identity" else ""
        table.add_row(Text(f"{judgement.id} {judgement.says}{of_code}"), *map(Text, numbers), verdict)
    return table


def overview_table(groups: Sequence[RunGroup]) -> Table:
    """Return a row for each group of runs, with the number of its claims that have each verdict.

    What holds by construction is counted apart. Below stands how many replicas diverged, if any did.

    Example:
        >>> overview_table([]).row_count
        0
    """
    table = Table("experiment", "runs", "verdicts", caption=count_diverged(groups) or None)
    for group in groups:
        claims = [judgement for judgement in group.judgements if judgement.kind != "identity"]
        of_code = [judgement.verdict for judgement in group.judgements if judgement.kind == "identity"]
        verdicts = _coloured(count_verdicts(claims))
        if of_code:
            words = f"{of_code.count('reproduced')} of {len(of_code)} checks of the code hold"
            style = "red" if "not reproduced" in of_code else ""
            verdicts = Text("; ").join([*([verdicts] if claims else []), Text(words, style)])
        table.add_row(Text(group.title), str(len(group.runs)), verdicts)
    return table


def kinds_table(groups: Sequence[RunGroup]) -> Table:
    """Return a row for each kind of claim, with the number of claims of it that have each verdict.

    Example:
        >>> kinds_table([]).row_count
        0
    """
    table = Table("kind of claim", "claims", "verdicts")
    counts = count_by_kind(judgement for group in groups for judgement in group.judgements)
    for words, own in counts.items():
        table.add_row(words, str(sum(own.values())), _coloured(own))
    return table


def _coloured(counts: Mapping[str, int]) -> Text:
    return Text(", ").join(Text(f"{n} {verdict}", _STYLES[verdict]) for verdict, n in counts.items() if n)


def _ours(judgement: Judgement) -> str:
    """Return the mean and half its interval; a check's need not lie evenly about what was measured."""
    if not (mean := number(judgement.shown["mean"])):
        return ""
    half = judgement.factor * (judgement.high - judgement.low) / 2
    return " ".join([mean, *([f"± {half:.2g}"] if number(half) else []), judgement.unit]).rstrip()
