"""Whether this machine has the devices that a configuration asks for."""

import logging
import os
from typing import Any

from noisereg.errors import ConfigError

_log = logging.getLogger(__name__)


def check_devices(trainer: dict[str, Any]) -> None:
    """Refuse devices that this machine does not have, before anything is built; warn of more processes than cores.

    Torch is loaded only where an accelerator is named, or several processes are asked for.

    Args:
        trainer: section of the configuration, as plain values.

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


def _count_devices() -> dict[str, int]:
    import torch  # noqa: PLC0415 - it knows every kind of device

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {"cuda": cuda, "mps": int(torch.backends.mps.is_available())}
