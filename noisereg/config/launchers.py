"""Where the jobs of a sweep are started, and what cannot be started there."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from noisereg.errors import ConfigError

_EXTRAS = {"ray": "ray", "ray_cpu": "ray", "slurm": "slurm", "submitit_slurm": "slurm", "submitit_local": "slurm"}
_PLUGINS = {"ray": "hydra_plugins.hydra_ray_launcher", "slurm": "hydra_plugins.hydra_submitit_launcher"}


def check_installed(launcher: Any) -> None:
    """Refuse a launcher whose package is not installed.

    Args:
        launcher: what the command line says of `hydra/launcher`.

    Raises:
        ConfigError: naming what to install.

    Example:
        >>> check_installed("basic")
    """
    extra = _EXTRAS.get(str(launcher))
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

    Args:
        launcher: Hydra's configuration of it, as plain values.
        jobs: the configuration of each job, as plain values.

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
    import torch  # noqa: PLC0415 - it knows every kind of device

    if torch.cuda.device_count() < asked:
        raise ConfigError(
            f"hydra.launcher.ray.remote.num_gpus={asked}: this machine has {torch.cuda.device_count()} GPUs; "
            "take hydra/launcher=ray_cpu, or a cluster: hydra.launcher.ray.init.address"
        )
