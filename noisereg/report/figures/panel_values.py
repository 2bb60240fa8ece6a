"""The numbers behind a panel of lines: means over the seeds, in the panel's units. Nothing here draws."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from noisereg.labels import label_of
from noisereg.report.claims.selection import REPLICA
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.groups.comparison import varies_within
from noisereg.report.groups.naming import differing_columns
from noisereg.runs.summary import have_diverged
from noisereg.statistics import CELL, cell_means

LINE_COLUMNS = ("p", "lr", "arm", "quantity")  # that tell the lines of a panel apart, the first that differs by colour
WITHOUT_CURVES = "which no run wrote (logger=csv writes it)"
_MOST_POINTS_A_LINE = 300
_MOST_POINTS_A_PANEL = 2500
_FEWEST_POINTS_A_LINE = 25


def panel_means(spec: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Compute what a panel shows: means over the seeds with their 95 % t intervals.

    Args:
        spec: the panel, of kind curves, end or scatter; a point of the last is one replica.
        replicas: one row for each replica, at the end of training.
        curves: one row for each replica and measurement.

    Returns:
        One row for each point: x, mean, low, high, n (with a value) and replicas (with and without one); p, lr and arm
        as far as they differ; `quantity`, the metric's label, unless that is x. No interval reaches beyond what its
        metric can be.

    Raises:
        ValueError: if the runs do not have what is asked for, or a replica has two rows.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.0, 0.2], "seed": [0, 1, 0], "test/error": [0.3, 0.5, 0.1]})
        >>> spec = PanelSpec(title="error", kind="end", metrics={"test/error": "test"}, factor=100)
        >>> panel_means(spec, replicas=rows, curves=rows)[["x", "mean", "n"]]
             x  mean  n
        0  0.0  40.0  2
        1  0.2  10.0  1
    """
    if spec.kind == "curves":
        return _clipped(spec, _over_training(spec, replicas=replicas, curves=curves), curves)
    values = replica_values(spec, replicas=replicas, curves=curves).dropna(subset="x")
    if spec.kind == "scatter":
        table = values.assign(mean=values["value"], low=np.nan, high=np.nan, n=1, replicas=1)
        return table.drop(columns=["seed", "value"]).reset_index(drop=True)
    by = [column for column in values if column not in ("seed", "value")]
    names = [column for column in reversed(by) if not pd.api.types.is_numeric_dtype(values[column])]
    table = cell_means(values, ["value"], by=[*names, *(column for column in by if column not in names)])
    table["replicas"] = _count_replicas(spec, table, replicas)
    table = _clipped(spec, table, spec.selected.rows(replicas))
    return table.drop(columns=["metric", *(["quantity"] if spec.along == "metric" else [])])


def replica_values(spec: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return every replica's values: x, seed, value, quantity, and p, lr and arm if they differ.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.3, 0.1]})
        >>> spec = PanelSpec(title="error", kind="end", metrics={"test/error": "test"})
        >>> replica_values(spec, replicas=rows, curves=rows[:0])
             x  seed quantity  value
        0  0.0     0     test    0.3
        1  0.2     0     test    0.1
    """
    selection = spec.selected
    rows = selection.rows(replicas)
    if spec.along not in (*REPLICA, "metric", *selection.where, *(rows if selection.at == "end" else ())):
        raise ValueError(f"panel {spec.title!r}: x must be metric or a column of the replicas, got {spec.along}")
    _check_rows(rows, needed=("p", "seed"), also=(spec.along,))
    parts = [
        selection.values(column, replicas=replicas, curves=curves, also=(spec.along,)).assign(quantity=label)
        for column, label in spec.columns(rows).items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table["value"] *= spec.factor
    place = table["quantity" if spec.along == "metric" else spec.along]
    if (factor := label_of(spec.along).factor) != 1:
        place = factor * place
    keys = _line_columns(spec, rows)
    return table.assign(x=place)[["x", *keys, "seed", "quantity", "value"]]


def replica_curves(spec: PanelSpec, *, curves: pd.DataFrame) -> pd.DataFrame:
    """Return every replica's measurements over training: x, seed, value, quantity, and p, lr and arm if they differ.

    Example:
        >>> rows = pd.DataFrame({"p": 0.2, "seed": 0, "step": [0, 9], "epoch": [0, 1], "test/error": [0.5, 0.3]})
        >>> spec = PanelSpec(title="error", metrics={"test/error": "test"}, factor=100)
        >>> replica_curves(spec, curves=rows)
           x  seed quantity  value
        0  0     0     test   50.0
        1  1     0     test   30.0
    """
    rows = spec.selected.rows(curves)
    keys = _line_columns(spec, rows)
    parts = [
        rows[[*keys, "seed"]].assign(x=rows[spec.along], quantity=label, value=spec.factor * rows[column])
        for column, label in spec.columns(rows).items()
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[table["value"].notna()][["x", *keys, "seed", "quantity", "value"]]


def from_diverged(curves: pd.DataFrame, replicas: pd.DataFrame) -> pd.Series:
    """Return of each row of curves whether it is of a replica that diverged later on.

    Example:
        >>> rows = pd.DataFrame({"p": 0.2, "seed": [0, 1]})
        >>> from_diverged(rows, rows.assign(ended_by=["budget", "non-finite weights"])).tolist()
        [False, True]
    """
    keys = [column for column in REPLICA if column in curves and column in replicas]
    failed = replicas[have_diverged(replicas)]
    if failed.empty or not keys:
        return pd.Series(False, index=curves.index, dtype=bool)
    found = pd.MultiIndex.from_frame(curves[keys]).isin(pd.MultiIndex.from_frame(failed[keys]))
    return pd.Series(found, index=curves.index)


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Return evenly spaced measurements of each arm, with the first and the last, if a panel of curves has very many.

    Example:
        >>> len(thinned(pd.DataFrame({"x": range(10_001), "mean": 0.0})))
        300
    """
    lines = [column for column in LINE_COLUMNS if column in table]
    number = len(table[lines].drop_duplicates()) if lines else 1
    most = max(_FEWEST_POINTS_A_LINE, min(_MOST_POINTS_A_LINE, _MOST_POINTS_A_PANEL // number))
    parts = []
    for _, part in table.groupby("arm", sort=False) if "arm" in table else [("", table)]:
        places = np.unique(part["x"])
        parts.append(part[part["x"].isin(places[evenly_spaced(len(places), most)])])
    return pd.concat(parts, ignore_index=True)


def evenly_spaced(number: int, most: int) -> np.ndarray:
    """Return at most so many of the places 0 ... number - 1, evenly spaced, with the first and the last.

    Example:
        >>> evenly_spaced(101, 3).tolist()
        [0, 50, 100]
    """
    return np.linspace(0, number - 1, min(number, most)).round().astype(int)


def stops_early(curves: pd.DataFrame) -> bool:
    """Return whether a replica has its last row before another of its arm has.

    Example:
        >>> stops_early(pd.DataFrame({"p": 0.0, "seed": [0, 0, 1], "epoch": [0, 1, 0]}))
        True
    """
    ends = curves.groupby([column for column in REPLICA if column in curves])["epoch"].max()
    arms = ends.groupby("arm") if "arm" in curves else ends.groupby(lambda _: "")
    return bool((arms.nunique() > 1).any())


def _line_columns(spec: PanelSpec, rows: pd.DataFrame) -> list[str]:
    """Return the columns that tell the lines of a panel apart: those it names, or those in which replicas differ.

    Raises:
        ValueError: if those it names leave out one in which the replicas of a mean differ.
    """
    along = "" if spec.kind == "curves" else spec.along
    if not spec.by:
        return differing_columns(rows, known=along)
    named = [column for column in (*spec.by, along) if column in rows]
    others = [column for column in CELL if column in rows and column not in named]
    hidden = [column for column in others if varies_within(rows[column], [rows[name] for name in named])]
    if hidden and spec.kind != "scatter":
        raise ValueError(f"panel {spec.title!r}: a mean would be over several {hidden[0]}; name {hidden[0]} in by")
    return [column for column in spec.by if column in rows and rows[column].nunique() > 1]


def _clipped(spec: PanelSpec, table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return means whose intervals end where the metric of their quantity does."""
    possible: dict[str, tuple[float, float]] = {}
    for column, quantity in spec.columns(rows).items():
        label = label_of(column)
        ends = sorted((spec.factor * label.lowest, spec.factor * label.highest))
        known = possible.get(quantity, ends)
        possible[quantity] = (min(known[0], ends[0]), max(known[1], ends[1]))
    lowest, highest = (table["quantity"].map({key: ends[side] for key, ends in possible.items()}) for side in (0, 1))
    return table.assign(**{end: table[end].clip(lowest, highest) for end in ("low", "high")})


def _count_replicas(spec: PanelSpec, table: pd.DataFrame, replicas: pd.DataFrame) -> pd.Series:
    """Count the replicas of each mean, with those that have no value."""
    rows, place = spec.selected.rows(replicas), {} if spec.along == "metric" else {spec.along: "x"}
    keys = [*_line_columns(spec, rows), *place]
    if not keys:
        return pd.Series(len(rows), index=table.index)
    counts = rows.groupby(keys).size().rename("number").reset_index().rename(columns=place)
    return table.merge(counts, on=[place.get(key, key) for key in keys], how="left")["number"]


def _over_training(spec: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Average curve by curve; a replica that stopped early keeps its last values, but not one that diverged."""
    if curves.empty:
        raise ValueError(f"panel {spec.title!r} needs metrics.csv, {WITHOUT_CURVES}")
    if spec.along not in ("epoch", "step"):
        raise ValueError(f"panel {spec.title!r}: x of curves must be epoch or step, got {spec.along}")
    rows = spec.selected.rows(curves)
    _check_rows(rows, needed=("step", "epoch", "p", "seed"), once="step")
    keys = _line_columns(spec, rows)
    columns = spec.columns(rows)
    rows = rows.assign(diverged=from_diverged(rows, replicas), moment=_moments(rows))
    parts = []
    for column, label in columns.items():
        for arm, part in rows.groupby("arm", sort=False) if "arm" in keys else [("", rows)]:
            if not part[column].notna().any():
                continue
            table = _curve_means(part, spec.factor * part[column])
            place = table["moment"].map(part.groupby("moment")[spec.along].max())
            parts.append(table.assign(x=place, quantity=label, arm=arm))
    return pd.concat(parts, ignore_index=True)[["x", *keys, "quantity", "mean", "low", "high", "n", "replicas"]]


def has_moments_in_an_epoch(curves: pd.DataFrame) -> bool:
    """Return whether a replica was measured twice in an epoch, as one that is trained for less than one.

    Example:
        >>> has_moments_in_an_epoch(pd.DataFrame({"p": 0.2, "seed": 0, "step": [0, 9], "epoch": 0}))
        True
    """
    place = [column for column in (*REPLICA, "epoch") if column in curves]
    return "epoch" in place and bool(curves.duplicated(place).any())


def _moments(rows: pd.DataFrame) -> pd.Series:
    """Return of each measurement its epoch and, below the point, which one of its replica in that epoch it is."""
    own = [column for column in (*REPLICA, "epoch") if column in rows]
    number = rows.sort_values("step", kind="stable").groupby(own, dropna=False).cumcount()
    return rows["epoch"] + number / (number.max() + 1)


def _curve_means(rows: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Average a quantity over the seeds of each p and learning rate, at every moment it was measured at.

    Curves may have moments of their own. A replica that stopped before the others of its curve keeps its last value,
    and a curve goes on to the end of the longest one. One that diverged has no value from then on.
    """
    curve = [column for column in ("p", "lr") if column in rows]
    replica = [*curve, "seed"]
    wide = (
        rows[[*replica, "moment"]].assign(value=values).groupby([*replica, "moment"])["value"].last().unstack("moment")
    )
    wide = wide.loc[:, wide.notna().any()]
    end = rows.groupby(replica)["moment"].max()
    moments = wide.columns.to_numpy()
    last = np.searchsorted(moments, end.to_numpy(), side="right") - 1  # the newest moment measured before its end
    newest = np.minimum(np.arange(len(moments)), last.clip(0)[:, None])
    held = pd.DataFrame(np.take_along_axis(wide.to_numpy(), newest, axis=1), index=wide.index, columns=wide.columns)
    own = wide.notna().groupby(level=curve).transform("any")
    failed = rows.groupby(replica)["diverged"].any().to_numpy()[:, None]
    held = held.mask(failed & (moments > end.to_numpy()[:, None]))
    over = moments > end.groupby(level=curve).transform("max").to_numpy()[:, None]
    long = held.where(own | over).melt(ignore_index=False, value_name="value").reset_index()
    table = cell_means(long, ["value"], by=[*curve, "moment"])
    return table[table["n"] > 0].reset_index(drop=True)


def _check_rows(
    rows: pd.DataFrame, *, needed: Sequence[str], once: str | None = None, also: Sequence[str] = ()
) -> None:
    """Raise what keeps rows from being averaged: none at all, a missing column, or two rows of a replica."""
    if rows.empty:
        raise ValueError("a figure needs at least one row, got none")
    if missing := [column for column in needed if column not in rows]:
        raise ValueError(f"rows must have the columns {', '.join(needed)}, got none named {', '.join(missing)}")
    replica = [column for column in dict.fromkeys([*REPLICA, *also]) if column in rows]
    doubled = rows[rows.duplicated([*replica, once] if once else replica)]
    if not doubled.empty:
        which = ", ".join(f"{column}={doubled[column].iloc[0]}" for column in replica)
        raise ValueError(
            f"a replica must have one row{f' a {once}' if once else ''}, got two for {which}; "
            "draw runs that differ in more than p, seed, lr and arm apart"
        )
