"""The W&B run: online with a key, offline without, never a question."""

import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, Timer
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener, getproxies

import pandas
import wandb

from noisereg.config.same_run import identity
from noisereg.errors import ConfigError
from noisereg.runs.run_logger import RunDescription
from noisereg.secrets import find_secrets, hide_secrets
from noisereg.terminal import guard_captures

_PATIENCE = 10.0  # seconds that a server has for its first answer
_SILENCE = 1.0  # seconds after which a user is told what is being waited for
_WITHOUT = "without a server: WANDB_MODE=offline or logger=csv"
_STAGED = "wandb.sdk.launch.inputs.internal"
_ROWS_OF_A_PART = 10**9  # more than are ever logged between two interruptions
_SETTINGS = wandb.Settings(
    silent=True,
    reinit="finish_previous",
    init_timeout=30.0,  # seconds for a server that has answered once
    x_transaction_log_flush_interval=1.0,  # seconds that a killed run may lose of its W&B file
)


def open_wandb_run(described: RunDescription, *, announce: Callable[[str], None] = print) -> tuple["WandbRun", str]:
    """Open a W&B run in the run's folder, or go on with the one that is there.

    The x-axis of every curve is the number of steps, `trainer/global_step`, so what a resumed run logs a second time
    lies on what it logged before. Without a server each part of a resumed run is a folder of its own, and
    `wandb sync` puts them together. A run of this process that is still open is finished first. A server that has not
    answered after ten seconds is not waited for: the run goes on offline, but not if WANDB_MODE asks for online.

    Args:
        described: the run; the files lie in the `wandb` of its folder.
        announce: prints a line; called with what is being waited for, if that takes more than a second.

    Returns:
        The run, and a line that says where to look.

    Raises:
        ConfigError: if W&B refuses the key, or does not answer although WANDB_MODE asks for online.
    """
    folder, config = described.folder, described.config
    folder.mkdir(parents=True, exist_ok=True)
    parts = _parts(folder)
    known = parts[-1].partition("-")[2] if parts else None
    with _without_secrets_of_slurm():
        try:
            with _announced_waiting(announce):
                mode, why = _reachable_mode()
                of_agent = os.environ.pop("WANDB_RUN_ID", None)  # it is for one run
                with _without_launch():
                    run = wandb.init(
                        id=of_agent or known or secrets.token_hex(4),
                        resume="allow",
                        project=described.project,
                        group=described.group,
                        tags=described.tags,
                        job_type="train",
                        name=described.name,
                        dir=folder,
                        config={**config, "identity": identity(config)},
                        mode=mode,
                        settings=_SETTINGS.model_copy(update={"git_remote_url": _remote_without_secrets()}),
                    )
        except ConfigError:
            raise
        except (wandb.errors.Error, ValueError) as error:  # of pydantic, where a variable has no value of its kind
            reason = hide_secrets(" ".join(str(error).split()))
            raise ConfigError(f"logger=wandb: {reason}; {_WITHOUT}") from None
    guard_captures()
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    if parts and not run.resumed:  # W&B numbers rows, and no number may come twice in a run
        run.log({}, step=len(parts) * _ROWS_OF_A_PART, commit=False)
    where = f"as {why}; look with: wandb leet {folder / 'wandb'}" if mode == "offline" else run.url or ""
    return WandbRun(run), f"W&B     {mode} {where}".rstrip()


def wandb_mode() -> Any:
    """Return what the environment says, else online if there is a key; nothing is asked and no server is called."""
    if not os.environ.get("WANDB_MODE"):
        os.environ.pop("WANDB_MODE", None)  # W&B takes an empty text for a mode
    wandb.setup(_SETTINGS)
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")


def _reachable_mode() -> tuple[Any, str]:
    """Return the mode of a run and, of one that is offline, the reason.

    Raises:
        ConfigError: if the environment asks for online and the server does not answer.
    """
    mode = wandb_mode()
    if mode != "online" or _is_reachable():
        return mode, "WANDB_MODE says" if os.environ.get("WANDB_MODE") else "there is no key"
    why = f"{_server()} does not answer"
    if os.environ.get("WANDB_MODE"):
        raise ConfigError(f"WANDB_MODE=online: {why}; {_WITHOUT}")
    return "offline", why


def _server() -> str:
    return hide_secrets(wandb.setup().settings.base_url)


@contextmanager
def _announced_waiting(announce: Callable[[str], None]) -> Iterator[None]:
    """Announce what is being waited for if it takes long; a run that asks no server waits for none."""
    if wandb_mode() != "online":
        yield
        return
    timer = Timer(_SILENCE, lambda: announce(f"W&B     waits for {_server()}; {_WITHOUT}"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_reachable() -> bool:
    """Return whether the server answers in time, whatever it says."""
    settings, answer = wandb.setup().settings, SimpleQueue[bool]()
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
    opener = build_opener(ProxyHandler({**getproxies(), **{name: url for name, url in proxies.items() if url}}))

    def ask() -> None:
        try:
            opener.open(settings.base_url, timeout=_PATIENCE).close()
        except (HTTPError, HTTPException):
            answer.put(True)
        except OSError as error:  # W&B has certificates of its own, so one that is not known here is an answer
            answer.put(isinstance(error, URLError) and isinstance(error.reason, ssl.SSLError))
        else:
            answer.put(True)

    Thread(target=ask, daemon=True).start()  # a name that is not found, or one of many addresses, may take minutes
    try:
        return answer.get(timeout=_PATIENCE)
    except Empty:
        return False


class WandbRun:
    """Log to a W&B run."""

    key = "logger.wandb"

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Log a row."""
        self._run.log({"trainer/global_step": step, "epoch": epoch, **values})

    def finish(
        self, summary: Mapping[str, Any], *, replicas: pandas.DataFrame, figures: Sequence[Path], step: int
    ) -> None:
        """Log a table of several replicas and the figures, and write the run's summary."""
        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        tables = {"replicas": wandb.Table(dataframe=replicas)} if len(replicas) > 1 else {}
        self._run.log({**tables, **images})
        self._run.summary.update(summary)
        self._run.finish()

    def fail(self, *, stopped: bool) -> None:
        """Leave the run as it is: `recorded_failure` has ended the run with the exit code of the process."""


class _NoStagedInputs:
    """Inputs of Launch that nobody has staged."""

    def apply(self, run: Any) -> None:
        """Leave a run as it is."""


@contextmanager
def _without_launch() -> Iterator[None]:
    """Keep W&B from loading Launch and its public API, a second of work, to look for inputs that were staged there.

    Every run looks, and no setting spares it. Where that module was not loaded, nothing can have been staged.
    """
    if _STAGED in sys.modules:
        yield
        return
    module: Any = ModuleType(_STAGED)
    module.StagedLaunchInputs = _NoStagedInputs
    sys.modules[_STAGED] = module
    try:
        yield
    finally:
        del sys.modules[_STAGED]


@contextmanager
def _without_secrets_of_slurm() -> Iterator[None]:
    """Keep the secrets of SLURM, such as SLURM_JWT, from W&B's process, which uploads all variables of that name."""
    known = find_secrets(os.environ).keys()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("SLURM_") and (name in known or hide_secrets(value) != value)
    }
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def _remote_without_secrets() -> str | None:
    """Return the address of the checkout's remote where it holds a secret, of which W&B takes out a password alone."""
    try:
        asked = subprocess.run(["git", "config", "remote.origin.url"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    hidden = hide_secrets(asked.stdout)
    return hidden.strip() if hidden != asked.stdout else None


def _parts(folder: Path) -> list[str]:
    """List what a run has left in its folder so far, by start and id, oldest first."""
    return sorted(path.name.partition("run-")[2] for path in (folder / "wandb").glob("*run-*-*"))
