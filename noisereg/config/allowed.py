"""What each part of a configuration may build: what it is for, and beyond that what the user trusts by hand."""

import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from noisereg.config.targets import targets
from noisereg.config.walk import is_below, leaves
from noisereg.errors import ConfigError


class Allowed(NamedTuple):
    """What a part may name: below `name`, defined below `home`, and derived from `base` if there is one."""

    name: str
    home: str
    base: str | None


def _below(package: str, base: str | None = None) -> Allowed:
    return Allowed(package, package, base)


_LOSSES = _below("noisereg.losses", "noisereg.losses.loss.Loss")
_TRAINER = "lightning.pytorch.trainer.trainer"
_CALLBACK = "lightning.pytorch.callbacks.callback.Callback"
_ALLOWED = {
    "noise.schedule": (_below("noisereg.noise", "noisereg.noise.schedule.Schedule"),),
    "noise": (_below("noisereg.noise", "noisereg.noise.rule.Rule"),),
    "model": (
        _below("noisereg.models"),
        _below("torch.nn", "torch.nn.modules.module.Module"),
        _below("torchvision.models"),
    ),
    "dataset": (_below("noisereg.datasets", "noisereg.datasets.in_memory.InMemory"),),
    "loss": (_LOSSES,),
    "optimizer": (_below("torch.optim", "torch.optim.optimizer.Optimizer"),),
    "scheduler": (_below("torch.optim.lr_scheduler", "torch.optim.lr_scheduler.LRScheduler"),),
    "trainer": (
        Allowed("lightning.pytorch.Trainer", _TRAINER, f"{_TRAINER}.Trainer"),
        _below("lightning.pytorch.strategies", "lightning.pytorch.strategies.strategy.Strategy"),
        _below("lightning.pytorch.profilers", "lightning.pytorch.profilers.profiler.Profiler"),
    ),
    "callbacks": (_below("noisereg.callbacks", _CALLBACK), _below("lightning.pytorch.callbacks", _CALLBACK)),
    "experiment": (_below("noisereg.theory"), _LOSSES),
}


def check_targets(settings: dict[str, Any], *, trust: Sequence[str] = ()) -> None:
    """Check by its name all that a configuration would build, before anything of that name is imported.

    Args:
        settings: the whole configuration, as plain values.
        trust: packages that may be built from besides, as the command line names them.

    Raises:
        ConfigError: naming the first target that is not for its part.

    Example:
        >>> check_targets({"model": {"_target_": "mine.Net"}}, trust=["mine"])
        >>> check_targets({"loss": {"_target_": "os.system"}})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: loss._target_=os.system: only noisereg.losses.* can be built here
    """
    for key, name in targets(settings):
        if name is None and key == "scheduler":
            continue
        if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)+", name):
            raise ConfigError(f"{key}._target_ must be the dotted name of what is to be built, got {name!r}")
        private = any(part.startswith("_") for part in name.split("."))
        if (private or not _rules(key, name)) and not any(is_below(name, package) for package in trust):
            raise ConfigError(_describe_refusal(key, name))
    for key, value in leaves(settings):
        if "${" in str(value):  # building resolves once more, and what came of it would not have been checked
            raise ConfigError(f"{key}={value!r}: an interpolation cannot give another one")


def check_object(key: str, name: str, found: Any) -> None:
    """Check what a name that `check_targets` let pass leads to: it may be another name for something else.

    Args:
        key: of the part that is built.
        name: as the configuration has it.
        found: the object of that name.

    Raises:
        ConfigError: if the object is not for this part, or of another package than the trusted one it is named in.
    """
    home = ".".join(str(getattr(found, name, getattr(type(found), name))) for name in ("__module__", "__qualname__"))
    rules = _rules(key, name)
    by_trust = not rules and home.partition(".")[0] == name.partition(".")[0]
    if not (by_trust or any(_fits(rule, found, home) for rule in rules)):
        raise ConfigError(f"{key}._target_={name} stands for {home}, which cannot be built here")


def _rules(key: str, name: str) -> list[Allowed]:
    return [rule for rule in _allowed(key) if is_below(name, rule.name)]


def _allowed(key: str) -> tuple[Allowed, ...]:
    part = next((part for part in _ALLOWED if is_below(key.partition("[")[0], part)), "")
    return _ALLOWED.get(part, ())


def _fits(rule: Allowed, found: Any, home: str) -> bool:
    if not (inspect.isclass(found) or inspect.isfunction(found)) or "." in found.__qualname__:
        return False
    family = [f"{base.__module__}.{base.__qualname__}" for base in getattr(found, "__mro__", ())]
    return is_below(home, rule.home) and (rule.base is None or rule.base in family)


def _describe_refusal(key: str, name: str) -> str:
    names = ", ".join(f"{rule.name}.*" for rule in _allowed(key)).replace("Trainer.*", "Trainer") or "nothing"
    package = name.partition(".")[0]
    known = package in sys.stdlib_module_names or package in {rule.name.partition(".")[0] for rule in _allowed(key)}
    mend = "" if known else f"; for a package of your own: trust=[{package}]"
    return f"{key}._target_={name}: only {names} can be built here{mend}"
