"""Replicas and curves for the tests of the report's figures, made up so that means are plain numbers."""

import io
from typing import Any

import pandas as pd


def ends(*, arms: tuple[str, ...] = (), strengths: tuple[float, ...] = (0.0, 0.2), seeds: int = 3) -> pd.DataFrame:
    """Make up how replicas ended: the error is p plus the seed over 100, and 1 more in each further arm."""
    return pd.DataFrame(
        [
            {"p": p, "seed": seed, **({"arm": arm} if arms else {}), "test/error": place + p + seed / 100}
            for place, arm in enumerate(arms or ("",))
            for p in strengths
            for seed in range(seeds)
        ]
    )


def training(frame: pd.DataFrame, *, epochs: int = 3) -> pd.DataFrame:
    """Let each replica have its error from the start, on 10 steps an epoch, and two norms that grow."""
    parts = [
        frame.assign(epoch=epoch, step=10 * epoch, **{"norm/hidden": epoch + 1.0, "norm/output": 2.0 * epoch})
        for epoch in range(epochs)
    ]
    return pd.concat(parts, ignore_index=True)


def panel_data(specification: dict[str, Any], panel: dict[str, Any]) -> list[pd.DataFrame]:
    """Read the data of each layer of a panel."""
    names = [layer.get("data", panel.get("data"))["name"] for layer in panel["layer"]]
    return [pd.read_csv(io.StringIO(specification["datasets"][name])) for name in names]
