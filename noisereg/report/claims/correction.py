"""What a correction for many claims at once would change."""

import math
from collections.abc import Sequence

from noisereg.report.claims.verdicts import Judgement
from noisereg.statistics import holm_rejections

LEVEL = 0.05


def changed_by_holm(judgements: Sequence[Judgement]) -> tuple[list[str], int]:
    """Return which directions of an experiment Holm's correction would leave undecided, and how many are decided.

    The family is all directions of the experiment that intervals judge, without identities. That all of its decisions
    are right then has probability 95 %, and not only each one.

    Returns:
        The ids whose direction is met or missed now, and would be undecided; and the number of those decided now.

    Example:
        >>> row = dict(says="", place="", paper=None, theory=None, mean=1.0, low=0.9, high=1.1, n=5, why="",
        ...            verdict="reproduced")
        >>> changed_by_holm([Judgement(id="A", p_value=0.03, **row), Judgement(id="B", p_value=0.04, **row)])
        (['A', 'B'], 2)
    """
    family = [one for one in judgements if one.kind != "identity" and not math.isnan(one.p_value)]
    kept = holm_rejections([one.p_value for one in family], LEVEL)
    decided = [(one.id, keeps) for one, keeps in zip(family, kept, strict=True) if one.p_value < LEVEL]
    return [name for name, keeps in decided if not keeps], len(decided)
