"""The W&B run: online with a key, offline without, and never a question."""

import os
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger


def wandb_logger(folder: Path, *, name: str, config: dict[str, Any]) -> tuple[WandbLogger, str]:
    """Open a W&B run in the run's folder.

    Args:
        folder: of the run; the files lie in its `wandb`.
        name: of the run on the dashboard.
        config: the whole configuration, as plain values; its part "logger" says project, group and tags.

    Returns:
        The logger, and a line that says where to look.
    """
    settings = config["logger"]
    run = wandb.init(
        project=settings["project"],
        group=settings["group"],
        tags=settings["tags"],
        job_type="train",
        name=name,
        dir=folder,
        config=config,
        mode=(mode := _mode()),
        settings=wandb.Settings(silent=True),
    )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    where = f"as there is no key; look with: wandb leet {folder / 'wandb'}" if mode == "offline" else run.url or ""
    return WandbLogger(experiment=run), f"W&B     {mode} {where}".rstrip()


def _mode() -> Any:
    """What the environment says, else online if there is a key; nothing is asked and no server is called."""
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
