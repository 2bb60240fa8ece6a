"""The W&B run: online with a key, offline without, never a question; means with their bands, tables and figures."""

import os
import re
import secrets
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, Timer
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener, getproxies

import pandas
import wandb

from noisereg.config.plan import Plan
from noisereg.config.run_folder import identity
from noisereg.config.targets import model_name, target_name
from noisereg.engine.measurement import Measurement
from noisereg.errors import ConfigError
from noisereg.labels import DIVERGED, measured_as
from noisereg.runs.curves import PLACE, Curves
from noisereg.secrets import find_secrets, hide_secrets
from noisereg.statistics import bands
from noisereg.terminal import guard_captures

_IN_THE_NAME = re.compile(r"(noise\.p=[\d.]+|seed=\d+|,)*")  # of a job
_LIVE = ("test/error", "train/error", "train/loss", "test/active_fraction")  # of one replica among others

_PATIENCE = 10.0  # seconds that a server has for its first answer
_SILENCE = 1.0  # seconds after which a user is told what is being waited for
_WITHOUT = "without a server: WANDB_MODE=offline or logger=csv"
_ROWS_OF_A_PART = 10**9  # more than are ever logged between two interruptions
_SETTINGS = wandb.Settings(
    silent=True,
    reinit="finish_previous",
    init_timeout=30.0,  # seconds for a server that has answered once
    x_transaction_log_flush_interval=1.0,  # seconds that a killed run may lose of its W&B file
)


def open_wandb_run(
    plan: Plan, folder: Path, *, arm: str = "", sweep: Any = None, announce: Callable[[str], None] = print
) -> tuple[Any, str]:
    """Open a W&B run in the run's folder, or go on with the one that is there.

    The x-axis of every curve is the number of steps, `trainer/global_step`, so what a resumed run logs a second time
    lies on what it logged before. Without a server each part of a resumed run is a folder of its own, and
    `wandb sync` puts them together. A run of this process that is still open is finished first. A server that has not
    answered after ten seconds is not waited for: the run goes on offline, but not if WANDB_MODE asks for online.

    Args:
        plan: of the run; the section "logger" of its configuration has the project, the group and the tags.
        folder: of the run; the files lie in its `wandb`.
        arm: of an experiment that the run is; empty if it is none.
        sweep: Hydra's description of the sweep that the run is a job of, with its folder, which names the group where
            the configuration names none; None if it is no job.
        announce: prints a line; called with what is being waited for, if that takes more than a second.

    Returns:
        The run, and a line that says where to look.

    Raises:
        ConfigError: if W&B refuses the key, or does not answer although WANDB_MODE asks for online.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, parts = plan.settings, _parts(folder)
    known = parts[-1].partition("-")[2] if parts else None
    with _announced_waiting(announce), _without_secrets_of_slurm():
        try:
            mode, why = _reachable_mode()
            of_agent = os.environ.pop("WANDB_RUN_ID", None)  # it is for one run
            run = wandb.init(
                id=of_agent or known or secrets.token_hex(4),
                resume="allow",
                project=config["logger"]["project"],
                group=config["logger"]["group"] or (Path(sweep.dir).name if sweep else None),
                tags=config["logger"]["tags"],
                job_type="train",
                name=run_name(plan, arm, sweep.subdir if sweep else ""),
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
    return run, f"W&B     {mode} {where}".rstrip()


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
    if mode != "online" or _answers():
        return mode, "WANDB_MODE says" if os.environ.get("WANDB_MODE") else "there is no key"
    why = f"{_server()} does not answer"
    if os.environ.get("WANDB_MODE"):
        raise ConfigError(f"WANDB_MODE=online: {why}; {_WITHOUT}")
    return "offline", why


def _server() -> str:
    return hide_secrets(wandb.setup().settings.base_url)


@contextmanager
def _announced_waiting(announce: Callable[[str], None]) -> Iterator[None]:
    """Announce what is being waited for if it takes long."""
    timer = Timer(_SILENCE, lambda: announce(f"W&B     waits for {_server()}; {_WITHOUT}"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _answers() -> bool:
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


def run_name(plan: Plan, *more: str) -> str:
    """Name a run on the dashboard; what spans replicas is shown from its first to its last value.

    Args:
        plan: of the run.
        more: what else sets it apart, such as an arm; what the name has already is left out.
    """
    parts = [model_name(plan.settings["model"]), *(target_name(plan.settings[part]) for part in ("dataset", "noise"))]
    for letter, values in zip("ps", (plan.axes[key] for key in ("p", "seed")), strict=True):
        parts.append(f"{letter}{values[0]:g}" + (f"..{values[-1]:g}" if len(values) > 1 else ""))
    return "-".join([*parts, *(part for part in more if not _IN_THE_NAME.fullmatch(part))])


class WandbBands:
    """Log the mean over the seeds and the ends of its 95 % t interval, for each p and learning rate.

    `test/error/p=0.2` is the mean, `test/error/p=0.2/low` and `/high` are the ends. Of one p and one learning rate the
    mean is logged as `test/error` too, by which a sweep of such runs is drawn against p; of one replica it is all.
    Where replicas are trained one after the other, the main metrics of each are logged as they come, as in
    `test/error/p=0.2/seed=3`, and the means when all are trained.

    Args:
        run: of W&B.
        replicas: what names each replica, column by column.
        at_once: whether a measurement is of all replicas that still run.
    """

    def __init__(self, run: Any, replicas: Sequence[Mapping[str, Any]], *, at_once: bool = True) -> None:
        self._run, self._at_once = run, at_once or len(replicas) == 1
        self._names = pandas.DataFrame(replicas)
        self._by = [name for name in self._names if name != "seed"]
        self._is_one_cell = len(self._names[self._by].drop_duplicates()) == 1

    def observe(self, measurement: Measurement) -> None:
        """Log what was measured."""
        names = self._names.loc[list(measurement.replicas)].reset_index(drop=True)
        if self._at_once:
            values = self._bands(names.join(pandas.DataFrame(dict(measurement.values))))
        else:
            name = "/".join(f"{column}={value:g}" for column, value in names.iloc[0].items())
            values = {f"{key}/{name}": measurement.values[key][0] for key in measured_as(_LIVE, measurement.values)}
        self._run.log({"trainer/global_step": measurement.step, "epoch": measurement.epoch, **values})

    def finish(self, curves: Curves, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path]) -> None:
        """Log a table of several replicas and the figures, and take the means of the table for the run's summary.

        Args:
            curves: of all replicas.
            rows: of the replicas, as in result.json; those that stopped early have their last values.
            figures: paths of pictures.
        """
        if not self._at_once:
            for (step, epoch), measured in curves.frame().groupby(list(PLACE)):
                means = self._bands(measured.drop(columns=list(PLACE)))
                self._run.log({"trainer/global_step": step, "epoch": epoch, **means})
        table = pandas.DataFrame(rows)
        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        tables = {"replicas": wandb.Table(dataframe=table)} if len(rows) > 1 else {}
        self._run.log({**tables, **images})
        ends: Mapping[str, Any] = rows[0] if len(rows) == 1 else self._bands(table.select_dtypes("number"))
        self._run.summary.update({**ends, **self._count_diverged(table)})

    def _count_diverged(self, table: pandas.DataFrame) -> dict[str, int]:
        """Return how many replicas of each cell diverged and how many there are, by name, if any did."""
        failed = table["ended_by"].isin(DIVERGED) if "ended_by" in table else pandas.Series(False, index=table.index)
        counts: dict[str, int] = {}
        for values, own in failed.groupby([table[column] for column in self._by]) if failed.any() else ():
            place = "/".join(f"{column}={value:g}" for column, value in zip(self._by, values, strict=True))
            counts |= {f"diverged/{place}": int(own.sum()), f"replicas/{place}": len(own)}
        return counts

    def _bands(self, replicas: pandas.DataFrame) -> dict[str, float]:
        """Return means and ends by name, from a row for each replica."""
        table = replicas.drop(columns=[*self._names.columns.difference(self._by)]).melt(self._by, var_name="metric")
        logged: dict[str, float] = {}
        for row in bands(table.dropna(), "value", by=["metric", *self._by]).to_dict("records"):
            name = "/".join([row["metric"], *(f"{column}={row[column]:g}" for column in self._by)])
            if self._is_one_cell:
                logged[row["metric"]] = row["mean"]
            if len(self._names) > 1:
                ends = {f"{name}/low": row["low"], f"{name}/high": row["high"]} if row["n"] > 1 else {}
                logged |= {name: row["mean"], **ends}
        return logged


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
