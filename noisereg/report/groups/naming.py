"""How the replicas of a group are told apart in figures and tables: by the p, rate or arm in which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from noisereg.labels import in_words, label_of

_COLUMNS = ("p", "lr", "arm")  # that tell replicas apart, beside their seed
_WORDS = {"arm": "{}", "p": "p = {}", "lr": f"{label_of('lr').words} {{}}"}


class AnalysedNetwork(NamedTuple):
    """The calibration and the projected features of one network.

    Attributes:
        replica: its row of results: p, seed, arm and lr if there are several, metrics.
        arrays: of its analysis.npz.
        classes: names of the classes; empty if they are not known.
    """

    replica: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    classes: Sequence[str] = ()


def differing_columns(rows: pd.DataFrame, *, known: str = "") -> list[str]:
    """Return the columns among p, lr and arm in which replicas differ, without those that another one decides.

    Args:
        rows: of replicas.
        known: a column that tells them apart already, such as the one along an axis.

    Example:
        >>> differing_columns(pd.DataFrame({"arm": ["none", "smoothing"], "p": [0.0, 0.1]}))
        ['arm']
    """
    found = [known] if known in rows else []
    for column in ("arm", "p", "lr"):
        if column in rows and column not in found:
            spread = rows.groupby(found)[column].nunique().max() if found else rows[column].nunique()
            found += [column] if spread > 1 else []
    return [column for column in _COLUMNS if column in found and column != known]


def rows_by_name(replicas: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each p, learning rate and arm, by words for those in which they differ.

    Example:
        >>> {words: len(rows) for words, rows in rows_by_name(pd.DataFrame({"p": [0.0, 0.2, 0.2]})).items()}
        {'p = 0': 1, 'p = 0.2': 2}
    """
    differing = differing_columns(replicas)
    columns = [column for column in _WORDS if column in differing]
    if not columns:
        return {"": replicas}
    return {
        ", ".join(_WORDS[column].format(in_words(value)) for column, value in zip(columns, values, strict=True)): rows
        for values, rows in replicas.groupby(columns, sort=False, dropna=False)
    }


def networks_by_name(networks: Sequence[AnalysedNetwork]) -> dict[str, list[AnalysedNetwork]]:
    """Return the seeds of each p, learning rate and arm, by words for those in which they differ.

    Example:
        >>> networks = [AnalysedNetwork({"p": p, "seed": 0}, {}) for p in (0.0, 0.1)]
        >>> list(networks_by_name(networks)), list(networks_by_name(networks[:1]))
        (['p = 0', 'p = 0.1'], [''])
    """
    rows = pd.DataFrame([network.replica for network in networks])
    return {words: [networks[place] for place in own.index] for words, own in rows_by_name(rows).items()}
