"""Hydra's own part of a configuration, which Hydra builds before any code of this program runs."""

import re
from collections.abc import Sequence
from typing import Any

from noisereg.config.overrides import states_by_hand
from noisereg.config.sections import built_sections, is_below, leaves
from noisereg.errors import ConfigError

_BASIC = "hydra._internal.core_plugins.basic"
_ONLY_BY_HAND = {
    "callbacks": {},
    "job.env_set": {},
    "job.env_copy": [],
    "launcher._target_": f"{_BASIC}_launcher.BasicLauncher",
    "sweeper._target_": f"{_BASIC}_sweeper.BasicSweeper",
}
_TARGETS = re.compile(
    r"hydra\._internal\.core_plugins\.basic_(launcher\.BasicLauncher|sweeper\.BasicSweeper)"
    r"|hydra\.experimental\.callbacks\.\w+Callback|hydra_plugins(\.\w+)+|optuna\.samplers\.\w+"
)
_LOGGING_CLASSES = (
    "logging.StreamHandler",
    "logging.FileHandler",
    "logging.NullHandler",
    "logging.Formatter",
    "colorlog.ColoredFormatter",
)
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
_LOG_FOLDERS = ("${hydra.runtime.output_dir}/", "${hydra.sweep.dir}/")
_READS_OTHERS = re.compile(r"\$\{(?!hydra\.|now:|oc\.env:(?!\w*(?i:api_?key|token|secret|passw))\w)")


def check_hydra(hydra: dict[str, Any], *, overrides: Sequence[str], keys: Sequence[str], trust: Sequence[str]) -> None:
    """Refuse what would run code, or steer the program past the checks, from Hydra's part of a configuration.

    Args:
        hydra: that part, as plain values with interpolations as they are written.
        overrides: the command line's.
        keys: of those overrides.
        trust: packages that may be built from.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    _check_only_by_hand(hydra, keys)
    if added := [line for line in hydra["overrides"]["task"] if line not in overrides]:
        raise ConfigError(f"hydra.overrides.task={added[0]!r} does not stand on the command line")
    for name, values in (hydra["sweeper"].get("params") or {}).items():
        if re.match(r"[+~]*(hydra|trust)\b", str(name)) or states_by_hand(f"{name}={values}"):
            raise ConfigError(f"hydra.sweeper.params.{name} cannot be swept over; give it on the command line")
    if (mode := hydra.get("mode")) is not None:
        raise ConfigError(
            f"hydra.mode={getattr(mode, 'name', mode)}: give -m for a sweep, and nothing for a single run"
        )
    if not re.fullmatch(r"None|\.?[\w-]+", str(hydra.get("output_subdir"))):
        raise ConfigError(
            f"hydra.output_subdir must be a name of letters, digits, _ and -, as .hydra, got {hydra['output_subdir']!r}"
        )
    if "/" in str(hydra["job"]["name"]):
        raise ConfigError(f"hydra.job.name must be a name without a slash, got {hydra['job']['name']!r}")
    for key, section in built_sections(hydra, "hydra"):
        name = section["_target_"]
        known = isinstance(name, str) and (
            _TARGETS.fullmatch(name) or any(is_below(name, package) for package in trust)
        )
        if not known:
            raise ConfigError(f"{key}._target_={name}: only Hydra's own classes and its plugins can be built here")
    built = {part: hydra.get(part) for part in ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")}
    for key, value in leaves({"hydra": {**built, "job": {"env_set": hydra["job"]["env_set"]}}}):
        if _READS_OTHERS.search(str(value)):
            raise ConfigError(f"{key}={value!r}: only ${{hydra...}}, ${{now:...}} and ${{oc.env:...}} can be used here")
        if "_logging." in key:
            _check_logging(key, value)


def _check_only_by_hand(hydra: dict[str, Any], keys: Sequence[str]) -> None:
    for path, default in _ONLY_BY_HAND.items():
        value: Any = hydra
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else value
        part = path.removesuffix("._target_")
        given = any(is_below(key.replace("/", "."), f"hydra.{part}") for key in keys)
        if value != default and value is not None and not given:
            raise ConfigError(f"hydra.{part} can be set on the command line only, and a file sets it")


def _check_logging(key: str, value: Any) -> None:
    name, text = key.rpartition(".")[2], str(value)
    code = name in ("()", "class") or "://" in text
    if code and value not in (*_LOGGING_CLASSES, *_STREAMS):
        raise ConfigError(f"{key}={value!r}: logging can use {', '.join((*_LOGGING_CLASSES, *_STREAMS))}")
    if name == "filename" and (not text.startswith(_LOG_FOLDERS) or ".." in text):
        raise ConfigError(f"{key}={value!r}: a log lies in the folder of its run, ${{hydra.runtime.output_dir}}/...")
