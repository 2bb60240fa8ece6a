"""Run folders for the tests of the report, written by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CONFIG: dict[str, Any] = {
    "seed": 0,
    "seeds": 2,
    "model": {"_target_": "noisereg.models.TwoLayer", "hidden": 240},
    "noise": {"_target_": "noisereg.noise.Resample", "p": 0.2},
    "dataset": {"_target_": "noisereg.datasets.Hypercube", "d": 60, "root": "data"},
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "logger": {"wandb": False},
}


def write_run(
    folder: Path,
    *,
    status: str = "finished",
    config: dict[str, Any] | None = None,
    curves: str = "",
    fires: Any = None,
    analysis: dict[str, Any] | None = None,
    **contents: Any,
) -> Path:
    """Write result.json, and metrics.csv, fires.npz and analysis.npz if they are given."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"status": status, "config": CONFIG | (config or {}), **contents}
    (folder / "result.json").write_text(json.dumps(record))
    if curves:
        (folder / "metrics.csv").write_text(curves)
    if fires is not None:
        np.savez(folder / "fires.npz", train=np.asarray(fires, dtype=np.int64))
    if analysis is not None:
        np.savez(folder / "analysis.npz", **analysis)
    return folder
