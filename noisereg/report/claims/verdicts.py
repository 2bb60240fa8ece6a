"""The verdict of the replicas on each claim."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd

from noisereg.report.claims.claim import Claim
from noisereg.report.claims.selection import NothingSelectedError, Selection, pairs
from noisereg.report.claims.stated import is_component
from noisereg.statistics import Interval, mean_interval

Verdict = Literal["reproduced", "direction only", "not reproduced", "not applicable"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
RULE = (
    "A number is met if the mean over the seeds lies within the claim's tolerance of it, or if the 95 % t interval of "
    "the mean holds it; the number is the paper's, or the theory's where the paper has none. A direction (below or "
    "above) is met if the whole 95 % t interval lies on the claimed side; compared with other replicas, it is the "
    "interval of the differences seed by seed. With one seed, the value itself must lie there. Where a claim is made "
    "of every replica, each one must. Reproduced: all that is claimed is met. Direction only: the direction is met, "
    "the number is not. Not reproduced: anything else. Not applicable: no replica answers to the claim, or a theorem's "
    "conditions are not met. A theorem's check is reproduced if what it predicts holds."
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
        mean: what was measured; nan if there is nothing.
        low: lower end of its 95 % interval; nan if there is none.
        high: upper end.
        n: number of seeds, or trials of a check.
        verdict: one of `VERDICTS`.
        why: what was met and what was not, in a line.
        unit: of the numbers that are shown.
        factor: that numbers are multiplied by when they are shown.
        of: which number it is, in words.
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

    @property
    def shown(self) -> dict[str, float | None]:
        """The numbers in the unit that is shown."""
        numbers = {key: getattr(self, key) for key in ("paper", "theory", "mean", "low", "high")}
        return {key: None if value is None else self.factor * value for key, value in numbers.items()}


class _Test(NamedTuple):
    met: bool
    why: str


def judge(
    claims: Sequence[Any],
    *,
    replicas: pd.DataFrame | Sequence[Mapping[str, Any]],
    curves: pd.DataFrame | None = None,
    checks: Sequence[Mapping[str, Any]] = (),
) -> list[Judgement]:
    """Return the verdicts on claims and a theorem's checks, by `RULE`.

    Args:
        claims: of an experiment, read or as they stand in its file; what is no claim is not applicable.
        replicas: one row for each replica, as it ended.
        curves: one row for each replica and measurement; None if there are none.
        checks: as `noisereg.theory.Check.as_row` gives them.

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
    return [*(_of_claim(claim, tables) for claim in claims), *map(_of_check, checks)]


def _of_claim(claim: Any, tables: Mapping[str, pd.DataFrame]) -> Judgement:
    try:
        claim = claim if isinstance(claim, Claim) else Claim.of(claim)
    except ValueError as error:
        given = claim if isinstance(claim, Mapping) else {}
        texts = {key: _text(given.get(key)) for key in ("id", "says", "place")}
        return _without_value(**texts, paper=None, theory=None, why=str(error))
    known = {"id": claim.id, "says": claim.says, "place": claim.place, "unit": claim.unit, "factor": claim.factor}
    theory = None if is_component(claim.predicted) else claim.predicted
    known |= {"paper": claim.paper, "theory": theory, "of": claim.words}
    try:
        return _judged(claim, known, tables)
    except ValueError as error:
        return _without_value(**known, why=_joined(str(error), claim.note))


def _judged(claim: Claim, known: dict[str, Any], tables: Mapping[str, pd.DataFrame]) -> Judgement:
    table = _values(claim, claim.selected, tables)
    interval = mean_interval(table["value"])
    number = None if claim.number is None else _number_test(claim, interval)
    directions = [_direction_test(claim, side, table, tables) for side in claim.directions]
    tests = [*([number] if number else []), *directions]
    if all(test.met for test in tests):
        verdict: Verdict = "reproduced"
    else:
        led = directions and all(test.met for test in directions)
        verdict = "direction only" if led else "not reproduced"
    why = _joined(*(test.why for test in tests), "one seed" * (interval.n == 1), claim.note * (verdict != "reproduced"))
    return Judgement(**known, **interval._asdict(), verdict=verdict, why=why)


def _values(claim: Claim, selected: Selection, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the number of each replica that a claim is about: its metric, or that minus or over another's."""
    values = selected.values(claim.metric, **tables)
    other = claim.minus if claim.minus is not None else claim.over
    if other is None:
        return values
    compared = selected.but(other)
    both = pairs(values, compared.values(claim.metric, **tables), named=selected.differing(compared))
    value = both["left"] - both["right"] if claim.minus is not None else both["left"] / both["right"]
    found = both.drop(columns=["left", "right"]).assign(value=value).dropna(subset="value")
    if found.empty:
        raise NothingSelectedError(f"{claim.words} is 0 over 0")
    return found


def _number_test(claim: Claim, interval: Interval) -> _Test:
    number = _known(claim, "predicted" if claim.paper is None else "paper")
    whose = f"{'the theory' if claim.paper is None else 'the paper'}'s {claim.shown(number)}"
    off, tolerance = abs(interval.mean - number), f"{100 * claim.tolerance:g} %"
    if off <= claim.tolerance * abs(number):
        return _Test(True, f"within {tolerance} of {whose}")
    if interval.low <= number <= interval.high:
        return _Test(True, f"the interval holds {whose}")
    distance = f"{100 * off / abs(number):.3g} %" if number else claim.shown(off)
    held = ", and the interval does not hold it" if interval.n > 1 else ""
    return _Test(False, f"{distance} off {whose}: more than {tolerance}{held}")


def _direction_test(claim: Claim, side: str, table: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> _Test:
    bound = claim.directions[side]
    if not isinstance(bound, Mapping) or is_component(bound):
        return _lies(claim, table["value"], side=side, bound=_known(claim, side))
    other = claim.selected.but(bound, side)
    both = pairs(table, _values(claim, other, tables), named=claim.selected.differing(other))
    differences = both["left"] - both["right"]
    met, why = _lies(claim, differences, side=side, bound=0.0)
    return _Test(met, f"the difference to {other.words}, is {claim.shown(differences.mean())}: {why}")


def _lies(claim: Claim, values: pd.Series, *, side: str, bound: float) -> _Test:
    """Test on which side of a bound values lie: each of them, or the whole interval of their mean."""
    sign = 1 if side == "below" else -1
    interval, place = mean_interval(values), f"{side} {claim.shown(bound)}"
    apart = sign * (bound - values) > 0
    if claim.every and interval.n > 1:
        return _Test(bool(apart.all()), f"{apart.sum()} of {interval.n} replicas lie {place}")
    if interval.n == 1:
        return _Test(bool(apart.all()), f"it lies {place}" if apart.all() else f"it does not lie {place}")
    if (interval.high < bound) if side == "below" else (interval.low > bound):
        return _Test(True, f"the interval lies {place}")
    return _Test(
        False, f"the interval, {claim.shown(interval.low)} to {claim.shown(interval.high)}, does not lie {place}"
    )


def _known(claim: Claim, key: str) -> float:
    number = getattr(claim, key)
    if is_component(number):
        raise ValueError(f"{key} is yet to be computed by {number['_target_']}")
    return number


def _of_check(row: Mapping[str, Any]) -> Judgement:
    """Return the verdict of a verifier."""
    measured, predicted, low, high = (_float(row.get(key)) for key in ("measured", "predicted", "low", "high"))
    applicable, holds = row.get("applicable", True), row.get("holds", False)
    verdict: Verdict = "not applicable" if not applicable else "reproduced" if holds else "not reproduced"
    relation = f"measured {row.get('relation', '=')} predicted {'holds' if holds else 'does not hold'}"
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
    )


def _without_value(**known: Any) -> Judgement:
    return Judgement(**known, mean=math.nan, low=math.nan, high=math.nan, n=0, verdict="not applicable")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)


def _float(value: Any, missing: float = math.nan) -> float:
    return float(value) if isinstance(value, int | float) else missing
