"""The grid of a sweep: the overrides of each of its runs, and the folders that are named after them."""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # Hydra has no other way to split a sweep
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from noisereg.config.composing import conf_dir
from noisereg.config.overrides import first_line, parse_overrides, quote_value
from noisereg.errors import ConfigError

_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"
_LONGEST_NAME = 40
_LONGEST_JOB_NAME = 200  # beyond, jobs have numbers: a file system has names of up to 255
_DIGITS = 8  # of the hash
_UNNAMED = ("hydra", "logger", "trust")


class SweepGrid:
    """What a sweep varies: the values on the command line, over those that its file gives.

    Args:
        overrides: of the command line.
        config: composed without what is varied, with Hydra's part.

    Attributes:
        jobs: the overrides of each run.
        rounded: overrides in place of ranges whose sums are not the numbers that are meant, as 0.1 + 0.2 is not 0.3.
        placing: overrides that give the sweep and its runs their folders, where the user and the file name none.

    Raises:
        ConfigError: if there is no run in it, or an override cannot be read.
    """

    def __init__(self, overrides: Sequence[str], config: DictConfig) -> None:
        given = parse_overrides([*_params(config), *overrides])
        self.rounded = [line for value in _last_of_each(given).values() if (line := _round_values(value))]
        values = _last_of_each([*given, *parse_overrides(self.rounded)])
        try:
            batches = BasicSweeper.split_arguments(list(values.values()), max_batch_size=None)
        except HydraException as error:
            raise ConfigError(first_line(error)) from None
        self.jobs = [job for batch in batches for job in batch]
        if not self.jobs:
            line = " ".join(overrides)
            raise ConfigError(f"-m {line}: this is no run at all; a glob or a range in it holds no value")
        self.placing = _place_folders(config, overrides, values)


def has_other_sweeper(config: DictConfig) -> bool:
    """Return whether another sweeper than Hydra's own chooses the runs."""
    return OmegaConf.select(config, "hydra.sweeper._target_") != _BASIC


def is_named(config: DictConfig, key: str) -> bool:
    """Return whether a key of Hydra's part is written in another way than this program's own file writes it."""
    section, _, name = key.rpartition(".")
    parts = (_shipped_file(), config)
    written = [OmegaConf.to_container(OmegaConf.select(part, section), resolve=False) for part in parts]
    return written[0][name] != written[1][name]  # type: ignore[call-overload,index]


@cache
def _shipped_file() -> Any:
    return OmegaConf.load(conf_dir() / "train.yaml")


def unfixed_keys(overrides: Sequence[str], config: DictConfig) -> list[str]:
    """Return the keys that the file of a sweep varies and the command of a single run gives no value."""
    given, varied = (_last_of_each(parse_overrides(lines)) for lines in (overrides, _params(config)))
    return [key for key, value in varied.items() if value.is_sweep_override() and key not in given]


def _round_values(override: Override) -> str:
    """Return the override of the same values with 12 digits each, if a sum made more of any; else an empty text."""
    if not override.is_range_sweep():
        return ""
    values = list(override.sweep_iterator())
    rounded = [float(f"{value:.12g}") if isinstance(value, float) else value for value in values]
    return "" if rounded == values else f"{override.get_key_element()}={','.join(map(repr, rounded))}"


def _params(config: DictConfig) -> list[str]:
    params = OmegaConf.to_container(config.hydra.sweeper, resolve=True).get("params")  # type: ignore[union-attr]
    return [f"{key}={value}" for key, value in (params or {}).items()]


def _last_of_each(overrides: Sequence[Override]) -> dict[str, Override]:
    """Return what counts of each key: what comes last."""
    return {override.get_key_element(): override for override in overrides}


def _place_folders(config: DictConfig, overrides: Sequence[str], values: dict[str, Override]) -> list[str]:
    has_folder = is_named(config, "hydra.sweep.dir")
    folder = Path(config.hydra.sweep.dir) if has_folder else Path("multirun") / folder_name(overrides)
    placing = [f"hydra.sweep.dir={quote_value(str(folder.absolute()))}"]  # a worker may be in another folder
    same = [value.key_or_group for value in values.values() if not value.is_sweep_override()]
    varied = [value for value in values.values() if value.is_sweep_override()]
    longest = sum(  # of the names of the jobs, which have the values as they are written
        len(value.key_or_group) + 2 + max(len(str(text)) for text in value.sweep_string_iterator()) for value in varied
    )
    if varied and longest <= _LONGEST_JOB_NAME and not is_named(config, "hydra.sweep.subdir"):
        excluded = ",".join(f"'{key}'" for key in same)
        placing.append("hydra.sweep.subdir=${hydra.job.override_dirname}")
        placing.append(f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]")
    return placing


def folder_name(overrides: Sequence[str]) -> str:
    """Return the name of a sweep's folder where none is given, so that the same command finds it again.

    A short command is its own name. Of a longer one the name has what is varied, which parts were chosen and, as far
    as there is room, the other values; a hash of the whole command tells it from others.

    Example:
        >>> folder_name(["model=mlp", "noise.p=0,0.1", "logger=csv"])
        'model=mlp,noise.p=0,0.1'
        >>> folder_name(["model=mlp", "model.hidden=[10],[20]", "noise.p=0,0.1", "trainer.max_epochs=50", "seeds=20"])
        'hidden,p,mlp,seeds=20-b7b4ce8e'
    """
    lines = [line for line in overrides if re.split(r"[./=]", line.lstrip("+~"))[0] not in _UNNAMED]
    text = ",".join(lines)
    name = _file_name(text)
    if name == text and len(name) <= _LONGEST_NAME:
        return name or "default"
    given = parse_overrides(lines)
    varied = [value for value in given if value.is_sweep_override()]
    fixed = sorted((value for value in given if value not in varied), key=lambda value: "." in value.key_or_group)
    words = [_last_name(value) for value in varied] + [_short_words(value) for value in fixed]
    short = ""
    for word in map(_file_name, words):
        if len(short) + 1 + len(word) <= _LONGEST_NAME - 1 - _DIGITS:
            short += f"{',' * bool(short)}{word}"
    return f"{short or 'sweep'}-{sha256(text.encode()).hexdigest()[:_DIGITS]}"


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "_", text)


def _last_name(override: Override) -> str:
    return re.split(r"[./]", override.key_or_group)[-1]


def _short_words(override: Override) -> str:
    """Return the option of a group, or the last name of a key with its value."""
    value = str(override.input_line).partition("=")[2]
    is_choice = isinstance(override.value(), str) and "." not in override.key_or_group
    return value if is_choice else f"{_last_name(override)}={value}"
