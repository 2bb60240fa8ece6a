"""What single networks left behind when their training ended, and how their panels tell them apart."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from noisereg.report.panel_tables import line_keys

_WORDS = {"arm": "{}", "p": "p = {:g}", "lr": "learning rate {:g}"}


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


def named(analyses: Sequence[AnalysedNetwork]) -> dict[str, list[AnalysedNetwork]]:
    """Put the seeds of each arm, p and learning rate together, under words that tell them apart.

    Example:
        >>> networks = [AnalysedNetwork({"p": p, "seed": 0}, {}) for p in (0.0, 0.1)]
        >>> list(named(networks)), list(named(networks[:1]))
        (['p = 0', 'p = 0.1'], [''])
    """
    rows = pd.DataFrame([analysis.replica for analysis in analyses])
    return {words: [analyses[place] for place in own.index] for words, own in named_rows(rows).items()}


def named_rows(replicas: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split the rows of replicas by arm, p and learning rate, under words that tell them apart.

    Example:
        >>> {words: len(rows) for words, rows in named_rows(pd.DataFrame({"p": [0.0, 0.2, 0.2]})).items()}
        {'p = 0': 1, 'p = 0.2': 2}
    """
    differing = line_keys(replicas, "")
    keys = [key for key in _WORDS if key in differing]
    if not keys:
        return {"": replicas}
    parts = replicas.groupby(keys, sort=False)
    return {", ".join(map(_word, keys, values)): rows for values, rows in parts}


def _word(key: str, value: Any) -> str:
    return _WORDS[key].format(value)
