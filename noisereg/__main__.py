"""The Hydra entry point: `python train.py`, `python -m noisereg` and the installed `noisereg-train` are this."""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from noisereg.config.check import conf_dir
from noisereg.config.command_line import check_command_line, resumed
from noisereg.errors import ConfigError

_came: list[int] = []  # signals that were to end the program


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def train(config: DictConfig) -> None:
    """Train what one configuration describes."""
    try:
        _load()(config)
    except ConfigError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # it fails alone
            raise CompactHydraException(str(error)) from None
        sys.exit(_complain(error))


def _load() -> Callable[[DictConfig], Any]:
    """Load what trains, after the checks. What libraries leave behind as they load is not searched for garbage."""
    first = "noisereg.experiment" not in sys.modules
    if first:
        gc.disable()
    from noisereg.training.run import run  # noqa: PLC0415 - loads torch

    if first:
        gc.freeze()
        gc.enable()
    return run


def main() -> None:
    """Check the command line whole, then hand it to Hydra. Bad input ends in one line and exit code 2."""
    try:
        _main()
    except SystemExit:
        if _came:  # a library may have made an error of its own of the exit
            sys.exit(_code(_came[0]))
        raise


def _main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, _end)
    # conf/hydra/launcher/ray.yaml is named after the plugin's own, and goes over it
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/ray' is validated against ConfigStore schema")
    try:
        sys.argv[1:] = resumed(sys.argv[1:])
        if sweep := check_command_line(sys.argv[1:]):
            sys.argv[1:] += sweep.placing
            code = sweep.run(train, console=Console())
            gc.freeze()
            sys.exit(code)
    except ConfigError as error:
        sys.exit(_complain(error))
    train()
    gc.freeze()  # the process ends without a last search


def _end(number: int, frame: FrameType | None) -> None:
    """End by a signal where there is nothing to save; in a training `RunCheckpoint` takes the signals over."""
    _came.append(number)
    sys.exit(_code(number))


def _code(number: int) -> int:
    """Give the exit code. Only that of the first of several processes counts: Lightning kills it for another's."""
    return 0 if os.environ.get("LOCAL_RANK", "0") != "0" else 128 + number


def _complain(error: ConfigError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
