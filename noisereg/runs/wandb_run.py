"""The W&B run: online with a key, offline without, and never a question."""

import os
import secrets
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

from noisereg.errors import ConfigError

_ROWS_OF_A_PART = 10**9  # more than are ever logged between two interruptions
_SETTINGS = wandb.Settings(
    silent=True,
    reinit="finish_previous",
    x_transaction_log_flush_interval=1.0,  # seconds that a killed run may lose of its W&B file
)


def wandb_logger(
    folder: Path, *, name: str, config: dict[str, Any], group: str | None = None, identity: str | None = None
) -> tuple[WandbLogger, str]:
    """Open a W&B run in the run's folder, or go on with the one that is there.

    The x-axis of every curve is the number of steps, `trainer/global_step`, so what a resumed run logs a second time
    lies on what it logged before. Without a server each part of a resumed run is a folder of its own, and
    `wandb sync` puts them together. A run of this process that is still open is finished first.

    Args:
        folder: of the run; the files lie in its `wandb`.
        name: of the run on the dashboard.
        config: the whole configuration, as plain values; its part "logger" says project, group and tags.
        group: that the run belongs to, such as a sweep, where the configuration names none.
        identity: of what the run computes; W&B shows it among the configuration.

    Returns:
        The logger, and a line that says where to look.

    Raises:
        ConfigError: if W&B refuses the key, or does not answer.
    """
    parts = _parts(folder)
    known = parts[-1].partition("-")[2] if parts else None
    try:
        mode = _mode()
        run = wandb.init(
            id=os.environ.pop("WANDB_RUN_ID", None) or known or secrets.token_hex(4),  # an agent's id is for one run
            resume="allow",
            project=config["logger"]["project"],
            group=config["logger"]["group"] or group,
            tags=config["logger"]["tags"],
            job_type="train",
            name=name,
            dir=folder,
            config={**config, **({"identity": identity} if identity else {})},
            mode=mode,
            settings=_SETTINGS,
        )
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"logger=wandb: {reason}; without a server: WANDB_MODE=offline or logger=csv") from None
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    if parts and not run.resumed:  # W&B numbers rows, and no number may come twice in a run
        run.log({}, step=len(parts) * _ROWS_OF_A_PART, commit=False)
    where = f"as there is no key; look with: wandb leet {folder / 'wandb'}" if mode == "offline" else run.url or ""
    return WandbLogger(experiment=run), f"W&B     {mode} {where}".rstrip()


def _parts(folder: Path) -> list[str]:
    """List what a run has left in its folder so far, by start and id, oldest first."""
    return sorted(path.name.partition("run-")[2] for path in (folder / "wandb").glob("*run-*-*"))


def _mode() -> Any:
    """What the environment says, else online if there is a key; nothing is asked and no server is called."""
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
