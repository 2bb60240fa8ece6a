"""Whether a machine has what a configuration asks for: devices, loggers, and what starts the jobs of a sweep."""

import logging
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from noisereg.config.overrides import parse_overrides
from noisereg.errors import ConfigError

LOGGERS = ("tensorboard", "trackio", "mlflow")  # each a key of `logger`, a package, and an extra of ours by one name
_LAUNCHERS = {"ray": "ray", "ray_cpu": "ray", "slurm": "slurm", "submitit_slurm": "slurm", "submitit_local": "slurm"}
_PLUGINS = {"ray": "hydra_plugins.hydra_ray_launcher", "slurm": "hydra_plugins.hydra_submitit_launcher"}  # of an extra
_log = logging.getLogger(__name__)


def check_devices(trainer: dict[str, Any]) -> None:
    """Refuse devices that this machine does not have, before anything is built; warn of more processes than cores.

    Torch is loaded only where an accelerator is named, or several processes are asked for.

    Raises:
        ConfigError: naming the key.

    Example:
        >>> check_devices({"accelerator": "cpu", "devices": 1})
    """
    asked, devices = trainer["accelerator"], trainer["devices"]
    if asked in ("gpu", "cuda", "mps"):
        _check_accelerator(asked, devices)
    elif asked == "auto" and devices > 1 and any(_count_devices().values()):
        _check_accelerator("gpu", devices)
    elif devices > (cores := len(os.sched_getaffinity(0))):
        _log.warning("warning: trainer.devices=%d processes share the %d cores of this CPU", devices, cores)


def _check_accelerator(asked: str, devices: int) -> None:
    found = _count_devices()
    num_devices = max(found.values()) if asked == "gpu" else found[asked]
    if not num_devices:
        raise ConfigError(f"trainer.accelerator={asked}: torch finds none on this machine; take auto or cpu")
    if devices > num_devices:
        raise ConfigError(f"trainer.devices={devices}: torch finds {num_devices} of {asked} on this machine")


def check_loggers(asked: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a logger whose package is not installed, and `none` beside another one.

    Raises:
        ConfigError: naming what to install.

    Example:
        >>> check_loggers({"csv": True, "wandb": False}, ["logger=csv"])
        >>> check_loggers({"csv": False}, ["logger=[none,csv]"])
        Traceback (most recent call last):
        noisereg.errors.ConfigError: logger=[none,csv]: none stands alone
    """
    for override in parse_overrides(overrides):
        names = override.value()
        if override.key_or_group == "logger" and isinstance(names, list) and "none" in names and len(names) > 1:
            raise ConfigError(f"{override.input_line}: none stands alone")
    for name in LOGGERS:
        if asked.get(name) and not _is_installed(name):
            raise ConfigError(f"logger={name} is not installed: pip install 'noisereg[{name}]'")


def _is_installed(name: str) -> bool:
    """Return whether there is a package of a name, and not only a folder, as a run may have left one."""
    spec = find_spec(name)
    return bool(spec and spec.origin)


def check_installed(launcher: Any) -> None:
    """Refuse a launcher whose package is not installed.

    Raises:
        ConfigError: naming what to install.

    Example:
        >>> check_installed("basic")
    """
    extra = _LAUNCHERS.get(str(launcher))
    if extra and not (find_spec("hydra_plugins") and find_spec(_PLUGINS[extra])):
        raise ConfigError(f"hydra/launcher={launcher} is not installed: pip install 'noisereg[{extra}]'")


def is_here(launcher: dict[str, Any]) -> bool:
    """Return whether the jobs of a sweep run in this process, and not on a machine that may have other devices."""
    return launcher["_target_"].endswith(".BasicLauncher")


def ends_with_driver(launcher: dict[str, Any]) -> bool:
    """Return whether jobs in other processes are killed once the process that started them is gone, as Ray does."""
    return launcher["_target_"].endswith(".RayLauncher")


def check_launcher(launcher: dict[str, Any], jobs: Sequence[dict[str, Any]]) -> None:
    """Refuse jobs that a launcher cannot start.

    Raises:
        ConfigError: if a job is of several processes and the launcher starts one, it has a time limit and is started by
            another program, or Ray would wait for a GPU.
    """
    if not is_here(launcher) and any(job.get("time_limit") is not None for job in jobs):
        mend = "hydra.launcher.timeout_min" if "submitit" in launcher["_target_"] else "timeout, of the shell,"
        raise ConfigError(f"time_limit is for runs that are started here; with this launcher take {mend}")
    started = launcher.get("tasks_per_node", 1) if "slurm" in launcher["_target_"].lower() else 1
    for job in jobs:
        if (devices := job["trainer"]["devices"]) != started:
            raise ConfigError(
                f"trainer.devices={devices}: a job of this sweep is {started} process{'es' * (started > 1)}; take as "
                "many devices, start the run without -m, or take hydra/launcher=slurm and as many "
                "hydra.launcher.tasks_per_node"
            )
    _check_gpus(launcher.get("ray", {}))


def _check_gpus(ray: dict[str, Any]) -> None:
    """Refuse to wait for ever for a GPU, where Ray is to start on this machine."""
    asked, begin = ray.get("remote", {}).get("num_gpus"), ray.get("init", {})
    if not asked or begin.get("address") or begin.get("num_gpus"):
        return
    if (num_gpus := _count_devices()["cuda"]) < asked:
        raise ConfigError(
            f"hydra.launcher.ray.remote.num_gpus={asked}: this machine has {num_gpus} GPUs; "
            "take hydra/launcher=ray_cpu, or a cluster: hydra.launcher.ray.init.address"
        )


def _count_devices() -> dict[str, int]:
    import torch  # noqa: PLC0415 - it knows every kind of device

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {"cuda": cuda, "mps": int(torch.backends.mps.is_available())}
