"""What a sweep varies: the overrides of each of its runs, and the folders that are named after them."""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from noisereg.config.check import conf_dir
from noisereg.config.composition import first_line, parsed
from noisereg.errors import ConfigError

_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"
_LONGEST_NAME = 120
_UNNAMED = ("hydra", "logger", "trust")


class Grid:
    """What a sweep varies: the values on the command line, over those that its file gives.

    Args:
        overrides: of the command line.
        config: composed without what is varied, with Hydra's part.

    Attributes:
        jobs: the overrides of each run.
        placing: overrides that give the sweep and its runs their folders, where the user and the file name none.

    Raises:
        ConfigError: if there is no run in it, or an override cannot be read.
    """

    def __init__(self, overrides: Sequence[str], config: DictConfig) -> None:
        values = _last(_parsed([*_params(config), *overrides]))
        try:
            batches = BasicSweeper.split_arguments(list(values.values()), max_batch_size=None)
        except HydraException as error:
            raise ConfigError(first_line(error)) from None
        self.jobs = [job for batch in batches for job in batch]
        if not self.jobs:
            given = " ".join(overrides)
            raise ConfigError(f"-m {given}: this is no run at all; a glob or a range in it holds no value")
        self.placing = _placing(config, overrides, values)


def is_left_to_hydra(config: DictConfig) -> bool:
    """Tell whether another sweeper than Hydra's own chooses the runs."""
    return OmegaConf.select(config, "hydra.sweeper._target_") != _BASIC


def fixed(overrides: Sequence[str]) -> list[str]:
    """Give the overrides that all runs of a sweep share.

    Raises:
        ConfigError: naming an override that cannot be read.
    """
    return [str(override.input_line) for override in _parsed(overrides) if not override.is_sweep_override()]


def without_value(overrides: Sequence[str], config: DictConfig) -> list[str]:
    """Name what a file varies and a command for a single run says nothing of."""
    given = _last(_parsed(overrides))
    return [
        key for key, value in _last(_parsed(_params(config))).items() if value.is_sweep_override() and key not in given
    ]


def _params(config: DictConfig) -> list[str]:
    params = OmegaConf.to_container(config.hydra.sweeper, resolve=True).get("params")  # type: ignore[union-attr]
    return [f"{key}={value}" for key, value in (params or {}).items()]


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return parsed(overrides, loader=GlobalHydra.instance().config_loader())  # a glob asks it what there is


def _last(overrides: Sequence[Override]) -> dict[str, Override]:
    """Give what counts of each key: what is said last."""
    return {override.get_key_element(): override for override in overrides}


def _placing(config: DictConfig, overrides: Sequence[str], values: dict[str, Override]) -> list[str]:
    shipped = OmegaConf.load(conf_dir() / "train.yaml")
    default, written = (_unresolved(part.hydra.sweep) for part in (shipped, config))
    is_named = written["dir"] != default["dir"]
    folder = Path(config.hydra.sweep.dir) if is_named else Path("multirun") / folder_name(overrides)
    place = str(folder.absolute()).replace("'", "\\'")  # a worker may be in another folder
    placing = [f"hydra.sweep.dir='{place}'"]
    same = [value.key_or_group for value in values.values() if not value.is_sweep_override()]
    if len(same) < len(values) and written["subdir"] == default["subdir"]:
        excluded = ",".join(f"'{key}'" for key in same)
        placing.append("hydra.sweep.subdir=${hydra.job.override_dirname}")
        placing.append(f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]")
    return placing


def _unresolved(section: DictConfig) -> Any:
    return OmegaConf.to_container(section, resolve=False)


def folder_name(overrides: Sequence[str]) -> str:
    """Name the folder of a sweep that has no name of its own, so that the same command finds it again.

    Example:
        >>> folder_name(["model=mlp", "noise.p=0,0.1", "logger=csv"])
        'model=mlp,noise.p=0,0.1'
        >>> folder_name(["model=mlp", "model.hidden=[10],[20]"])
        'model=mlp,model.hidden=_10_,_20_-2c336a60'
    """
    text = ",".join(line for line in overrides if re.split(r"[./=]", line.lstrip("+~"))[0] not in _UNNAMED)
    name = re.sub(r"[^\w.,=+-]+", "_", text)
    if name == text and len(name) <= _LONGEST_NAME:
        return name or "default"
    return f"{name[:_LONGEST_NAME]}-{sha256(text.encode()).hexdigest()[:8]}"
