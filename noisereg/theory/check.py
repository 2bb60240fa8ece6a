"""What a verifier says: the prediction of a theorem beside what was measured."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Measured points beside a predicted curve.

    Args:
        x_title: of the horizontal axis.
        y_title: of the vertical axis.
        x: places.
        measured: values at x.
        predicted: values at x.
        low: lower ends of the measured values' intervals; empty if there are none.
        high: upper ends.
    """

    x_title: str
    y_title: str
    x: Sequence[float]
    measured: Sequence[float]
    predicted: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One prediction of a theorem beside what was measured.

    Args:
        id: of the claim, such as "T1".
        says: what the theorem says of the two numbers, in a sentence.
        place: where it is said.
        measured: the number that was measured; nan if none was.
        predicted: the number that the theorem gives.
        relation: in which the measured number should stand to the predicted one.
        holds: whether it does, within the tolerance that the verifier states; False if the claim does not apply.
        n: how many trials the measured number comes from.
        applicable: whether the theorem's conditions are met.
        low: lower end of the measured number's interval; None if there is none.
        high: upper end.
        note: why it does not apply, or what else there is to say.
        curve: what a figure shows of it.
        identity: whether it holds by construction, for any weights and data, so that it checks the code alone.
        undecided: whether the measured number's interval is too wide to tell; then `holds` is False.

    Example:
        >>> check = Check(id="T1", says="The norm shrinks.", place="theorem 1", measured=-0.1, predicted=0.0,
        ...               relation="<", holds=True, n=1)
        >>> check.as_row()["holds"]
        True
    """

    id: str
    says: str
    place: str
    measured: float
    predicted: float
    relation: Literal["=", "<", "<=", ">", ">="]
    holds: bool
    n: int
    applicable: bool = True
    low: float | None = None
    high: float | None = None
    note: str = ""
    curve: Curve | None = None
    identity: bool = False
    undecided: bool = False

    def as_row(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)
