"""The command of a run as text: how it is written for a shell, and read again from the record."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser  # what hydra.main reads the options with; it has no public name
from hydra.core.hydra_config import HydraConfig

from noisereg.config.composing import conf_dir
from noisereg.config.overrides import is_for_user_only, parse_overrides, states_by_hand
from noisereg.config.run_folder import RECORD, load_record
from noisereg.errors import ConfigError

_PROGRAMS = ("python", "train.py", "noisereg-train")
_PLACED = ("hydra.run.dir", "hydra.sweep.dir")  # who resumes a run names its folder


def program_name() -> str:
    """Return how the program is started from the working directory: by `train.py` if that is the one of a checkout."""
    script, own = Path("train.py"), conf_dir().parent / "train.py"
    return "python train.py" if script.is_file() and own.is_file() and script.samefile(own) else "noisereg-train"


def split_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of a command line with their values, and its overrides: any order is read.

    Example:
        >>> split_options(["seed=1", "--config-dir", "conf", "-m", "noise.p=0,1"])
        (['--config-dir', 'conf', '-m'], ['seed=1', 'noise.p=0,1'])
    """
    known, rest = get_args_parser().parse_known_args(list(arguments))
    overrides = [*known.overrides, *(word for word in rest if not word.startswith("-"))]
    options = list(reversed(arguments))
    for override in reversed(overrides):
        options.remove(override)  # the last one: the value of an option comes before it
    return options[::-1], overrides


def command_of_run() -> str:
    """Return the command of the run that Hydra has begun, to be given again where it was given."""
    return f"{program_name()} {shlex.join([*_given_options(), *HydraConfig.get().overrides.task])}"


def overrides_of_run() -> list[str]:
    """Return the overrides of the run that Hydra has begun, those that say where groups are looked for among them."""
    given = HydraConfig.get().overrides
    return [*(line for line in given.hydra if line.lstrip("+").startswith("hydra.searchpath=")), *given.task]


def resuming_command(folder: Path) -> str:
    """Return the command that goes on with the run that Hydra has begun, with what it needs besides its record."""
    given = [*HydraConfig.get().overrides.hydra, *HydraConfig.get().overrides.task]
    # not parsed, as Hydra writes the folder of a job there as it would not read it again
    needed = [
        line
        for line in given
        if line.partition("=")[0].lstrip("+") in ("trust", "hydra.searchpath") or states_by_hand(line)
    ]
    return f"{program_name()} {shlex.join([*_given_options(), f'resume={folder}', *needed])}"


def recorded_overrides(folder: Path) -> list[str]:
    """Return the overrides of the command in the record of a run, without what only the user may give.

    The record is written whole or not at all, so no override is ever missing; Hydra's own files are not.

    Raises:
        ConfigError: if there is no record, or its command cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        others = sorted(str(path.parent) for path in folder.glob(f"*/{RECORD}"))
        hint = f"it holds the runs {', '.join(others[:3])}" if others else "give its whole command, with hydra.run.dir"
        raise ConfigError(f"resume={folder}: no run can be found there, as {path} does not exist; {hint}")
    try:
        words = shlex.split(load_record(path)["command"])
        if not words:
            raise ValueError("it is empty")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ConfigError(
            f"resume={folder}: {path} has no command that can be read ({reason}); "
            "give the whole command of the run, with hydra.run.dir"
        ) from None
    while words and words[0] in _PROGRAMS:
        del words[0]
    if any(word.startswith("-") for word in words):
        words = split_options(words)[1]
    given = [item for item in parse_overrides(words) if item.key_or_group not in ("trust", "resume", *_PLACED)]
    if alien := [item for item in given if is_for_user_only(item)]:
        raise ConfigError(f"resume={folder}: {path} has {alien[0].key_or_group}, which no run writes there")
    return [str(item.input_line) for item in given if not states_by_hand(str(item.input_line))]


def _given_options() -> list[str]:
    """Return the options that chose the files of the configuration."""
    hydra = HydraConfig.get()
    options: list[str] = []
    for source in hydra.runtime.config_sources:
        place = source.path
        if source.provider == "command-line":
            options += ["--config-dir", place]
        elif source.provider == "main" and Path(place) != conf_dir():
            options += ["--config-path", place]
    return options + (["--config-name", str(hydra.job.config_name)] if hydra.job.config_name != "train" else [])
