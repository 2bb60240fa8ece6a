"""The tables behind a figure: means over replicas, their intervals, and what is said of them. Nothing here draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from noisereg.report.panels import Panel
from noisereg.statistics import bands

_MOST_POINTS = 4000
_FEWEST_EPOCHS = 25


def curve_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Check the curves of a run.

    Args:
        frame: one row for each replica and evaluation, with step, epoch, p and seed, and lr if there are several.

    Returns:
        The rows; lr is left out if there is one.

    Raises:
        ValueError: if there are no rows, a column is missing, or a replica has two rows for one step.

    Example:
        >>> rows = pd.DataFrame({"step": [0], "epoch": [0], "p": [0.0], "seed": [0], "lr": [0.1]})
        >>> list(curve_rows(rows))
        ['step', 'epoch', 'p', 'seed']
    """
    return _checked(frame, ("step", "epoch", "p", "seed"), once="step")


def replica_rows(replicas: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Check the result rows of a run.

    Args:
        replicas: one row a replica, with p and seed, and lr if there are several.

    Returns:
        The rows as a table; lr is left out if there is one.

    Raises:
        ValueError: if there are no rows, a column is missing, or a replica has two rows.

    Example:
        >>> replica_rows([{"p": 0.0, "seed": 0, "lr": 0.1, "test/error": 0.5}])
             p  seed  test/error
        0  0.0     0         0.5
    """
    return _checked(pd.DataFrame(replicas), ("p", "seed"), once=None)


def curve_bands(frame: pd.DataFrame, panel: Panel, *, level: float = 0.95) -> pd.DataFrame:
    """Average a panel's quantity over the seeds at every epoch it was measured at.

    Args:
        frame: rows as `curve_rows` gives them.
        panel: the quantity.
        level: of the intervals, in (0, 1).

    Returns:
        One row for each curve and epoch: p, lr if there are several, epoch, mean, low, high, n.

    Example:
        >>> rows = pd.DataFrame({"step": [0, 0], "epoch": [0, 0], "p": [0.0, 0.0], "seed": [0, 1], "e": [0.1, 0.3]})
        >>> curve_bands(rows, Panel("error", ("e",)))[["p", "epoch", "mean", "n"]]
             p  epoch  mean  n
        0  0.0      0   0.2  2
    """
    table = bands(_held(frame, panel.values(frame)), "value", by=[*curve_keys(frame), "epoch"], level=level)
    return table[table["n"] > 0].reset_index(drop=True)


def strength_values(replicas: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Give a panel's quantity for every replica: p, lr if there are several, seed, value.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0], "seed": 0, "test/error": 0.5})
        >>> strength_values(rows, Panel("test error (%)", ("test/error",), 100))
             p  seed  value
        0  0.0     0   50.0
    """
    return replicas[[*curve_keys(replicas), "seed"]].assign(value=panel.values(replicas)).dropna(subset="value")


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Keep evenly spaced epochs if there are more than some 4,000 points, but at least 25 of them.

    Example:
        >>> len(thinned(pd.DataFrame({"p": 0.0, "epoch": range(10_001)})))
        4000
    """
    epochs = np.unique(table["epoch"])
    most = max(_FEWEST_EPOCHS, _MOST_POINTS // len(table[curve_keys(table)].drop_duplicates()))
    return table[table["epoch"].isin(epochs[evenly(len(epochs), most)])]


def evenly(number: int, most: int) -> np.ndarray:
    """Choose at most so many of the places 0 ... number - 1, evenly spaced, with the first and the last.

    Example:
        >>> evenly(101, 3).tolist()
        [0, 50, 100]
    """
    return np.linspace(0, number - 1, min(number, most)).round().astype(int)


def curve_keys(frame: pd.DataFrame) -> list[str]:
    """Name the columns that tell one curve from another: p, and lr if there are several.

    Example:
        >>> curve_keys(pd.DataFrame(columns=["p", "seed", "lr"]))
        ['p', 'lr']
    """
    return [key for key in ("p", "lr") if key in frame]


def seeds_in_words(rows: pd.DataFrame, *, mark: str, level: float = 0.95) -> str:
    """Say what the band around a mean is.

    Args:
        rows: as `curve_rows` or `replica_rows` gives them.
        mark: how the interval is drawn: band or bar.
        level: of the interval, in (0, 1).

    Example:
        >>> seeds_in_words(pd.DataFrame({"p": [0.0, 0.0], "seed": [0, 1]}), mark="band")
        'band: 95 % t interval of the mean over 2 seeds'
    """
    counts = rows.groupby(curve_keys(rows))["seed"].nunique()
    if counts.max() == 1:
        return "one seed, no interval"
    number = f"{counts.max()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    return f"{mark}: {100 * level:g} % t interval of the mean over {number} seeds"


def stops_early(frame: pd.DataFrame) -> bool:
    """Tell whether a replica has its last row before another has.

    Example:
        >>> stops_early(pd.DataFrame({"p": 0.0, "seed": [0, 0, 1], "epoch": [0, 1, 0]}))
        True
    """
    return frame.groupby([*curve_keys(frame), "seed"])["epoch"].max().nunique() > 1


def _checked(frame: pd.DataFrame, needed: Sequence[str], *, once: str | None) -> pd.DataFrame:
    if frame.empty:
        raise ValueError("a figure needs at least one row, got none")
    if missing := [column for column in needed if column not in frame]:
        raise ValueError(f"rows must have the columns {', '.join(needed)}, got none named {', '.join(missing)}")
    if "lr" in frame and frame["lr"].nunique() < 2:
        frame = frame.drop(columns="lr")
    replica = [*curve_keys(frame), "seed"]
    doubled = frame[frame.duplicated([*replica, once] if once else replica)]
    if not doubled.empty:
        which = ", ".join(f"{key}={doubled[key].iloc[0]}" for key in replica)
        raise ValueError(
            f"a replica must have one row{f' a {once}' if once else ''}, got two for {which}; "
            "draw runs that differ in more than p, seed and lr apart"
        )
    return frame


def _held(frame: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Give each replica a value at every epoch of its curve; after its end the last value holds on.

    Curves may have epochs of their own. Beyond its own last epoch, a curve goes on to the end of the longest one.
    """
    curve = curve_keys(frame)
    replica = [*curve, "seed"]
    wide = frame[[*replica, "epoch"]].assign(value=values).groupby([*replica, "epoch"])["value"].last().unstack("epoch")
    wide = wide.loc[:, wide.notna().any()]
    end = frame.groupby(replica)["epoch"].max()
    epochs = wide.columns.to_numpy()
    last = np.searchsorted(epochs, end.to_numpy(), side="right") - 1  # the newest epoch measured before its end
    newest = np.minimum(np.arange(len(epochs)), last.clip(0)[:, None])
    held = pd.DataFrame(np.take_along_axis(wide.to_numpy(), newest, axis=1), index=wide.index, columns=wide.columns)
    own = wide.notna().groupby(level=curve).transform("any")
    over = epochs > end.groupby(level=curve).transform("max").to_numpy()[:, None]
    return held.where(own | over).melt(ignore_index=False, value_name="value").reset_index()
