"""The table behind each panel of an experiment's figure: means over seeds, in the panel's units. Nothing here draws."""

import numpy as np
import pandas as pd

from noisereg.report.panel_spec import PanelSpec
from noisereg.report.panels import Panel
from noisereg.report.selection import REPLICA
from noisereg.report.tables import curve_bands, curve_rows, evenly
from noisereg.statistics import bands

_KEYS = ("p", "lr", "arm")  # what tells replicas apart, beside their seed
_MOST_POINTS_A_LINE = 120
_MOST_POINTS_A_PANEL = 1500


def panel_table(spec: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Average what a panel shows over the seeds.

    Args:
        spec: the panel, of kind curves or end.
        replicas: one row for each replica, at the end of training.
        curves: one row for each replica and measurement.

    Returns:
        One row for each point: x, mean, low, high, n; p, lr and arm as far as they differ; `quantity`, the metric's
        label, unless that is x.

    Raises:
        ValueError: if the runs do not have what is asked for.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.0, 0.2], "seed": [0, 1, 0], "test/error": [0.3, 0.5, 0.1]})
        >>> spec = PanelSpec(title="error", kind="end", metrics={"test/error": "test"}, factor=100)
        >>> panel_table(spec, replicas=rows, curves=rows)[["x", "mean", "n"]]
             x  mean  n
        0  0.0  40.0  2
        1  0.2  10.0  1
    """
    if spec.kind == "curves":
        return _over_training(spec, curves)
    return _at_end(spec, replicas=replicas, curves=curves)


def replica_values(spec: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Give every replica's values: x, seed, value, quantity, and p, lr and arm if they differ.

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
    if spec.along not in (*REPLICA, "metric", *selection.where):
        raise ValueError(f"panel {spec.title!r}: x must be p, lr, arm, seed or metric, got {spec.along}")
    parts = [
        selection.values(column, replicas=replicas, curves=curves).assign(quantity=label)
        for column, label in spec.columns(rows).items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table["value"] *= spec.factor
    place = table["quantity" if spec.along == "metric" else spec.along]
    keys = line_keys(rows, spec.along)
    return table.assign(x=place)[["x", *keys, "seed", "quantity", "value"]]


def _at_end(spec: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    values = replica_values(spec, replicas=replicas, curves=curves)
    by = [column for column in values if column not in ("seed", "value")]
    table = bands(values, "value", by=by)
    for column in by:
        if not pd.api.types.is_numeric_dtype(values[column]):  # names keep the order they came in
            place = {name: place for place, name in enumerate(dict.fromkeys(values[column]))}
            table = table.sort_values(column, key=lambda names, place=place: names.map(place), kind="stable")
    return table.drop(columns="quantity" if spec.along == "metric" else []).reset_index(drop=True)


def _over_training(spec: PanelSpec, curves: pd.DataFrame) -> pd.DataFrame:
    """Average curve by curve; a replica that stopped early keeps its last values."""
    if curves.empty:
        raise ValueError(f"panel {spec.title!r} needs metrics.csv, which no run wrote (logger=csv writes it)")
    if spec.along not in ("epoch", "step"):
        raise ValueError(f"panel {spec.title!r}: x of curves must be epoch or step, got {spec.along}")
    rows = spec.selected.rows(curves)
    keys = line_keys(rows, spec.along)
    parts = [
        _one_arm(part, Panel(label, (column,), spec.factor), along=spec.along).assign(quantity=label, arm=arm)
        for column, label in spec.columns(rows).items()
        for arm, part in (rows.groupby("arm", sort=False) if "arm" in keys else [("", rows)])
        if column in part and part[column].notna().any()
    ]
    table = pd.concat(parts, ignore_index=True)
    number = len(table[[*keys, "quantity"]].drop_duplicates())
    most = max(2, min(_MOST_POINTS_A_LINE, _MOST_POINTS_A_PANEL // number))
    return _thinned(table, most)[["x", *keys, "quantity", "mean", "low", "high", "n"]]


def _one_arm(rows: pd.DataFrame, panel: Panel, *, along: str) -> pd.DataFrame:
    table = curve_bands(curve_rows(rows), panel)
    steps = rows.groupby("epoch")["step"].max()
    constant = {key: rows[key].iloc[0] for key in _KEYS if key in rows and key not in table}
    return table.assign(x=table["epoch"].map(steps) if along == "step" else table["epoch"], **constant)


def _thinned(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Keep evenly spaced measurements of each arm, with the first and the last."""
    parts = []
    for _, part in table.groupby("arm", sort=False):
        places = np.unique(part["x"])
        parts.append(part[part["x"].isin(places[evenly(len(places), most)])])
    return pd.concat(parts, ignore_index=True)


def line_keys(rows: pd.DataFrame, along: str) -> list[str]:
    """Name the columns that tell one line from another, without those that another one decides.

    Args:
        rows: of replicas.
        along: column along the horizontal axis.

    Example:
        >>> line_keys(pd.DataFrame({"arm": ["none", "smoothing"], "p": [0.0, 0.1]}), "epoch")
        ['arm']
    """
    known = [along] if along in ("p", "lr", "arm") else []
    for key in ("arm", "p", "lr"):
        if key in rows and key not in known:
            spread = rows.groupby(known)[key].nunique().max() if known else rows[key].nunique()
            known += [key] if spread > 1 else []
    return [key for key in _KEYS if key in known and key != along]
