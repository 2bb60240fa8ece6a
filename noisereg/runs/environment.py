"""Where and with what a run was made."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

_PACKAGES = ("noisereg", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "wandb", "numpy", "numba")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Describe the code, the libraries and the machine, as plain values.

    Example:
        >>> describe_environment(torch.device("cpu"))["threads"] == torch.get_num_threads()
        True
    """
    changes = _git("status", "--porcelain")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "device": _device_name(device),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
    }


def process_number() -> int:
    """Return the number of this process among those that share a training; 0 is the first."""
    return rank_zero_only.rank  # type: ignore[attr-defined]


def is_first_process() -> bool:
    """Return whether this is the process that prints and writes, of those that share a training."""
    return process_number() == 0


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({_processor()})" if device.type == "cpu" else device.type


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that this file lies in; None if it does not lie in one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
