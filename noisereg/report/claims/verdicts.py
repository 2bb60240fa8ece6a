"""The verdict of the replicas on each claim."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from noisereg.report.claims.claim import Claim
from noisereg.report.claims.confounds import describe_confounds
from noisereg.report.claims.selection import (
    NothingMeasuredError,
    Selection,
    check_only_seeds_differ,
    pairs,
)
from noisereg.report.claims.stated import is_component
from noisereg.runs.summary import have_diverged
from noisereg.statistics import Interval, Outcome, mean_interval, p_value, range_outcome

Verdict = Literal["reproduced", "direction only", "not reproduced", "undecided", "not judged", "not applicable"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Kind = Literal["number", "similarity", "direction", "prediction", "identity"]
KINDS: dict[Kind, str] = {
    "number": "numbers of the paper's",
    "similarity": "similarities",
    "direction": "directions",
    "prediction": "predictions of a theory",
    "identity": "checks of the code (identities)",
}
FEWEST_REPLICAS = 3  # of two, the interval is 9 standard deviations wide either side
SIMILARITY_LEVEL = 0.9  # within whose interval two one-sided tests at 5 % reject that the margin is exceeded
RULE = (
    "A number is met if the whole 95 % t interval of the mean over the seeds lies within the claim's tolerance of it, "
    "and missed if the whole interval lies outside; the number is the paper's, or the theory's where the paper has "
    "none. A similarity is met if the whole 90 % interval lies within the claim's margin (two one-sided tests at 5 %), "
    "and missed if it lies outside. A direction (below or above) is met if the whole 95 % interval lies on the claimed "
    "side, by the smallest effect of interest that the claim states or more, and missed if none of it does; compared "
    "with other replicas, it is the interval of the differences seed by seed. Where a claim is made of every replica, "
    "each one must lie there. Reproduced: all that is claimed is met, by three seeds or more. Direction only: the "
    "direction is met, the number is not, or there are two seeds only. Not reproduced: a direction is missed, or the "
    "number or similarity is and no direction is met. Undecided: nothing is missed, but the interval is too wide to "
    "tell, or there are two seeds only. Not judged: there is one seed, or a replica has no value, as one that diverged "
    "has none. Not applicable: no replica answers to the claim, or those that do differ in more than their seeds, or a "
    "theorem's conditions are not met. A theorem's check is reproduced if what it predicts holds, of any number of "
    "cases, since they are exact; an equality of means is held to the rule of numbers. Each claim counts once: as a "
    "number of the paper's, as a similarity, as a direction, as a prediction of a theory, or as an identity, which "
    "holds by construction and so checks the code alone. An experiment states which of its claims is its primary one; "
    "the others are secondary."
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim beside what was measured. Its numbers are in the unit of the metric; `shown` has them as they are shown.

    Args:
        id: of the claim.
        says: the claim, in a sentence.
        place: where it is made.
        paper: the paper's number; None if it states none.
        theory: the number that a theory gives; None if there is none.
        mean: what was measured; nan if there is nothing, or replicas lack a value.
        low: lower end of its 95 % interval; nan if there is none.
        high: upper end.
        n: number of seeds that have a value, or trials of a check.
        verdict: one of `VERDICTS`.
        why: what was met and what was not, in a line.
        unit: of the numbers that are shown.
        factor: that numbers are multiplied by when they are shown.
        of: which number it is, in words.
        kind: what is claimed, one of `KINDS`.
        num_replicas: number of seeds, with those that lack a value; 0 if there are none, or it is a check.
        p_value: of its direction, two-sided, or the larger of two; nan if it has none, or asks each replica.
        role: "primary" or "secondary"; empty where the experiment does not say which claim is its primary one.
        beside: in what else compared replicas may differ, see `describe_confounds`; empty if none are compared.
    """

    id: str
    says: str
    place: str
    paper: float | None
    theory: float | None
    mean: float
    low: float
    high: float
    n: int
    verdict: Verdict
    why: str
    unit: str = ""
    factor: float = 1.0
    of: str = ""
    kind: Kind = "direction"
    num_replicas: int = 0
    p_value: float = math.nan
    role: Literal["primary", "secondary", ""] = ""
    beside: str = ""

    @property
    def shown(self) -> dict[str, float | None]:
        """The numbers in the unit that is shown."""
        numbers = {key: getattr(self, key) for key in ("paper", "theory", "mean", "low", "high")}
        return {key: None if value is None else self.factor * value for key, value in numbers.items()}


class _Test(NamedTuple):
    outcome: Outcome
    why: str
    n: int
    p_value: float = math.nan


class _UnjudgedError(ValueError):
    """Some of the replicas that a claim speaks of have no value."""

    def __init__(self, why: str, *, n: int, num_replicas: int) -> None:
        super().__init__(why)
        self.numbers = {"n": n, "num_replicas": num_replicas}


def judge(
    claims: Sequence[Any],
    *,
    replicas: pd.DataFrame | Sequence[Mapping[str, Any]],
    curves: pd.DataFrame | None = None,
    checks: Sequence[Mapping[str, Any]] = (),
    primary: str | None = None,
) -> list[Judgement]:
    """Return the verdicts on claims and a theorem's checks, by `RULE`.

    Args:
        claims: of an experiment, read or as they stand in its file; what is no claim is not applicable.
        replicas: one row for each replica, as it ended.
        curves: one row for each replica and measurement; None if there are none.
        checks: as `noisereg.theory.Check.as_row` gives them.
        primary: id of the claim or check that the experiment is about first; None if it does not say.

    Returns:
        A judgement for each claim, then one for each check.

    Example:
        >>> claim = {"id": "F1", "metric": "error", "of": {"p": 0.2}, "below": {"p": 0}, "factor": 100, "unit": "%"}
        >>> rows = [{"p": p, "seed": s, "error": 0.4 - p + s / 100} for p in (0, 0.2) for s in range(3)]
        >>> judgement, = judge([claim], replicas=rows)
        >>> judgement.verdict, judgement.why
        ('reproduced', 'the difference to p = 0, at the end, is -20 %: the interval lies below 0 %')
    """
    tables = {"replicas": pd.DataFrame(replicas), "curves": pd.DataFrame() if curves is None else curves}
    judgements = [*(_of_claim(claim, tables) for claim in claims), *map(_of_check, checks)]
    if primary is None:
        return judgements
    return [replace(one, role="primary" if one.id == primary else "secondary") for one in judgements]


def _of_claim(claim: Any, tables: Mapping[str, pd.DataFrame]) -> Judgement:
    try:
        claim = claim if isinstance(claim, Claim) else Claim.of(claim)
    except ValueError as error:
        given = claim if isinstance(claim, Mapping) else {}
        texts = {key: _text(given.get(key)) for key in ("id", "says", "place")}
        known = texts | {"paper": None, "theory": None, "kind": _kind_of(given)}
        return _without_mean("not applicable", why=str(error), **known)
    known = {"id": claim.id, "says": claim.says, "place": claim.place, "unit": claim.unit, "factor": claim.factor}
    theory = None if is_component(claim.predicted) else claim.predicted
    known |= {"paper": claim.paper, "theory": theory, "of": claim.words, "kind": _kind_of(dict(claim))}
    try:
        return _judged(claim, known, tables)
    except _UnjudgedError as error:
        return _without_mean("not judged", why=_joined(str(error), claim.note), **known, **error.numbers)
    except ValueError as error:
        return _without_mean("not applicable", why=_joined(str(error), claim.note), **known)


def _kind_of(claim: Mapping[str, Any]) -> Kind:
    if claim.get("identity") is True:
        return "identity"
    if claim.get("paper") is not None:
        return "number"
    if claim.get("similar_to") is not None:
        return "similarity"
    return "direction" if claim.get("predicted") is None else "prediction"


def _judged(claim: Claim, known: dict[str, Any], tables: Mapping[str, pd.DataFrame]) -> Judgement:
    table = _values(claim, claim.selected, tables)
    interval = _finite_interval(table["value"])
    size = None if claim.number is None else _number_test(claim, interval)
    if claim.similar_to is not None:
        size = _similarity_test(claim, table, tables)
    directions = [_direction_test(claim, side, table, tables) for side in claim.directions]
    tests = [*([size] if size else []), *directions]
    verdict, n = _verdict(size, directions), min(test.n for test in tests)
    seeds = {1: "one seed", 2: "two seeds"}.get(n, "")
    return Judgement(
        **known,
        **interval._asdict(),
        num_replicas=len(claim.selected.rows(tables["replicas"])),
        verdict=verdict,
        why=_joined(*(test.why for test in tests), seeds, claim.note * (verdict != "reproduced")),
        p_value=max((test.p_value for test in directions), default=math.nan),
        beside=describe_confounds(claim, tables, n=n),
    )


def _verdict(size: _Test | None, directions: Sequence[_Test]) -> Verdict:
    """Return what tests come to; a number or similarity cannot be met by two seeds, nor anything by one."""
    tests = [*([size] if size else []), *directions]
    fewest = min(test.n for test in tests)
    missed, undecided = (any(test.outcome == outcome for test in directions) for outcome in ("missed", "undecided"))
    led = bool(directions) and not missed and not undecided
    if fewest == 1:
        return "not judged"
    if missed or (size and size.outcome == "missed" and not led):
        return "not reproduced"
    if fewest >= FEWEST_REPLICAS and all(test.outcome == "met" for test in tests):
        return "reproduced"
    return "direction only" if led else "undecided"


def _values(claim: Claim, selected: Selection, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the number of each replica that a claim is about: its metric, or that minus or over another's."""
    if claim.rank_with is not None:
        return _rank_values(selected, claim.metric, claim.rank_with, tables)
    values = _complete_values(selected, claim.metric, tables)
    other = claim.minus if claim.minus is not None else claim.over
    if other is None:
        return values
    compared = selected.but(other)
    both = pairs(values, _complete_values(compared, claim.metric, tables))
    value = both["left"] - both["right"] if claim.minus is not None else both["left"] / both["right"]
    finite = int(np.isfinite(value).sum())
    if finite < len(both):
        why = f"for {finite} of {len(both)} replicas {claim.words} is a finite number"
        raise _UnjudgedError(why, n=finite, num_replicas=len(both))
    if claim.over is not None and (negative := int((both["right"] < 0).sum())) not in (0, len(both)):
        why = f"{compared.words} is below 0 for {negative} of {len(both)} replicas, and no ratio to it has a mean"
        raise _UnjudgedError(why, n=0, num_replicas=len(both))
    return both.drop(columns=["left", "right"]).assign(value=value)


def _finite_interval(values: pd.Series, level: float = 0.95) -> Interval:
    """Compute the interval of finite values, whose squares may be too large for a float."""
    interval = mean_interval(values, level)
    if interval.n > 1 and not np.isfinite([interval.low, interval.high]).all():
        raise _UnjudgedError("the values are too large for an interval", n=0, num_replicas=interval.n)
    return interval


def _rank_values(selected: Selection, metric: str, other: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the rank correlation of two metrics in each replica that is selected, all of which must have one."""
    rows = selected.rows(tables["replicas"])
    check_only_seeds_differ(rows)
    _check_none_diverged(selected, rows)
    values = selected.rank_correlations(metric, other, curves=tables["curves"])
    finite = int(np.isfinite(values["value"]).sum())
    if finite < len(rows):
        why = f"{finite} of {len(rows)} replicas have a rank correlation ({selected.during})"
        raise _UnjudgedError(why, n=finite, num_replicas=len(rows))
    return values


def _complete_values(selected: Selection, metric: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the value of each replica that is selected, all of which must have one."""
    rows = selected.rows(tables["replicas"])
    number = len(rows)
    check_only_seeds_differ(rows)
    _check_none_diverged(selected, rows)
    try:
        values = selected.values(metric, **tables)
    except NothingMeasuredError:
        if selected.at != "end":
            raise
        finite = 0
    else:
        values = values.astype({"value": float})
        finite = int(np.isfinite(values["value"]).sum())
    if finite < number:
        why = f"{finite} of {number} replicas have a value ({selected.words})"
        raise _UnjudgedError(why, n=finite, num_replicas=number)
    return values


def _check_none_diverged(selected: Selection, rows: pd.DataFrame) -> None:
    if failed := int(have_diverged(rows).sum()):
        whose, number = f" ({selected.place})" if selected.place else "", len(rows)
        raise _UnjudgedError(f"{failed} of {number} diverged{whose}", n=number - failed, num_replicas=number)


def _number_test(claim: Claim, interval: Interval) -> _Test:
    """Test whether an interval lies within the tolerance of a number, outside, or reaches over an end."""
    number = _known(claim, "predicted" if claim.paper is None else "paper")
    whose = f"{'the theory' if claim.paper is None else 'the paper'}'s {claim.shown(number)}"
    off, margin, tolerance = abs(interval.mean - number), claim.tolerance * abs(number), f"{100 * claim.tolerance:g} %"
    if claim.margin is not None:
        margin, tolerance = claim.margin, claim.shown(claim.margin)
    distance = f"{100 * off / abs(number):.3g} %" if number else claim.shown(off)
    if interval.n == 1:
        return _Test("undecided", f"{distance} off {whose}", 1)
    outcome, ends = range_outcome(interval, number - margin, number + margin), _ends(claim, interval)
    why = {
        "met": f"the interval lies within {tolerance} of {whose}",
        "missed": f"{distance} off {whose}: the interval, {ends}, lies outside of {tolerance}",
        "undecided": f"the interval, {ends}, is not within {tolerance} of {whose}, nor outside",
    }
    return _Test(outcome, why[outcome], interval.n)


def _similarity_test(claim: Claim, table: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> _Test:
    """Test by two one-sided tests whether values are as large as a number, or as their partners, within a margin.

    Source: D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for assessing
        the equivalence of average bioavailability", J. Pharmacokin. Biopharm. 15, 1987.
    """
    differences, other = _differences(claim, "similar_to", table, tables)
    margin = claim.margin or 0.0
    interval = _finite_interval(differences, SIMILARITY_LEVEL)
    difference = f"{_partners(differences, table)}the difference to {other} is {claim.shown(interval.mean)}"
    if interval.n == 1:
        return _Test("undecided", difference, 1)
    outcome = range_outcome(interval, -margin, margin)
    where = {"met": "lies within", "missed": "lies outside of", "undecided": "is neither within nor outside of"}
    ends = f"its 90 % interval, {_ends(claim, interval)}"
    return _Test(outcome, f"{difference}: {ends}, {where[outcome]} ± {claim.shown(margin)}", interval.n)


def _direction_test(claim: Claim, side: str, table: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> _Test:
    bound = claim.directions[side]
    if not isinstance(bound, Mapping) or is_component(bound):
        return _side_test(claim, table["value"], side=side, bound=_known(claim, side))
    differences, other = _differences(claim, side, table, tables)
    test = _side_test(claim, differences, side=side, bound=0.0)
    difference = f"{_partners(differences, table)}the difference to {other}, is {claim.shown(differences.mean())}"
    return test._replace(why=f"{difference}: {test.why}")


def _partners(differences: pd.Series, table: pd.DataFrame) -> str:
    """Return in words how many replicas have a partner that they are compared with; empty if all have."""
    return "" if len(differences) == len(table) else f"{len(differences)} of {len(table)} seeds have a partner, and "


def _differences(
    claim: Claim, key: str, table: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.Series, str]:
    """Return by how much values exceed a number or, seed by seed, their partners, and what these are in words."""
    bound = getattr(claim, key)
    if not isinstance(bound, Mapping) or is_component(bound):
        number = _known(claim, key)
        return table["value"] - number, claim.shown(number)
    other = claim.selected.but(bound, key)
    both = pairs(table, _values(claim, other, tables))
    return both["left"] - both["right"], other.words


def _side_test(claim: Claim, values: pd.Series, *, side: str, bound: float) -> _Test:
    """Test on which side of a bound values lie, by the smallest effect: each of them, or the interval of their mean.

    On the bound itself is not on its side; the smallest effect is enough of one.
    """
    sign, effect = (1 if side == "below" else -1), claim.smallest_effect
    interval, place = _finite_interval(values), f"{side} {claim.shown(bound)}"
    lies_there = operator.gt
    if effect:
        bound, place = bound - sign * effect, f"{place} by {claim.shown(effect)} or more"
        lies_there = operator.ge
    apart = lies_there(sign * (bound - values), 0)
    if interval.n == 1:
        return _Test("undecided", f"it lies {place}" if apart.all() else f"it does not lie {place}", 1)
    if claim.every:
        why = f"{apart.sum()} of {interval.n} replicas lie {place}"
        return _Test("met" if apart.all() else "missed", why, interval.n)
    least, most = sorted((sign * (bound - interval.low), sign * (bound - interval.high)))
    p = p_value(values, bound)
    if lies_there(least, 0):
        return _Test("met", f"the interval lies {place}", interval.n, p)
    ends = _ends(claim, interval)
    if not lies_there(most, 0):
        return _Test("missed", f"the interval, {ends}, does not lie {place}", interval.n, p)
    return _Test("undecided", f"the interval, {ends}, holds {claim.shown(bound)}", interval.n, p)


def _ends(claim: Claim, interval: Interval) -> str:
    return f"{claim.shown(interval.low)} to {claim.shown(interval.high)}"


def _known(claim: Claim, key: str) -> float:
    number = getattr(claim, key)
    if is_component(number):
        raise ValueError(f"{key} is yet to be computed by {number['_target_']}")
    return number


def _of_check(row: Mapping[str, Any]) -> Judgement:
    """Return the verdict of a verifier."""
    measured, predicted, low, high = (_float(row.get(key)) for key in ("measured", "predicted", "low", "high"))
    applicable, holds = row.get("applicable", True), row.get("holds", False)
    undecided = row.get("undecided") is True and not holds
    verdict: Verdict = "reproduced" if holds else "undecided" if undecided else "not reproduced"
    verdict = verdict if applicable else "not applicable"
    said = "holds" if holds else "is undecided: the interval is too wide" if undecided else "does not hold"
    relation = f"measured {row.get('relation', '=')} predicted {said}"
    return Judgement(
        id=_text(row.get("id")),
        says=_text(row.get("says")),
        place=_text(row.get("place")),
        paper=None,
        theory=None if math.isnan(predicted) else predicted,
        mean=measured,
        low=low,
        high=high,
        n=int(_float(row.get("n"), 0)),
        verdict=verdict,
        why=_joined(relation if applicable else "", _text(row.get("note"))),
        kind="identity" if row.get("identity") is True else "prediction",
    )


def _without_mean(verdict: Verdict, **known: Any) -> Judgement:
    nothing = {"mean": math.nan, "low": math.nan, "high": math.nan, "n": 0}
    return Judgement(**nothing | known, verdict=verdict)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)


def _float(value: Any, missing: float = math.nan) -> float:
    return float(value) if isinstance(value, int | float) else missing
