"""What a configuration builds: which class a name stands for, and which ones each part may name."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from noisereg.config.walk import is_below, leaves, walk
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


def targets(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the key of each section that has a `_target_`, however deep it lies, with the value of that.

    Example:
        >>> list(targets({"model": {"parts": [{"_target_": "os.system"}]}}))
        [('model.parts[0]', 'os.system')]
    """
    for name, value in walk(node, key):
        if isinstance(value, dict) and "_target_" in value:
            yield name, value["_target_"]


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


def target_name(section: dict[str, Any]) -> str:
    """Return the name of the class or function that a part of the configuration builds, without its modules.

    Example:
        >>> target_name({"_target_": "noisereg.models.TwoLayer", "hidden": 3})
        'TwoLayer'
    """
    return section["_target_"].rpartition(".")[2]


def same_target(target: dict[str, Any] | str, name: str) -> bool:
    """Return whether a part of the configuration builds a certain class, by whichever of its names.

    Args:
        target: the part, or the value of its `_target_`.
        name: dotted name of the class; any of those that it can be imported by.

    Example:
        >>> same_target("torch.optim.sgd.SGD", "torch.optim.SGD")
        True
        >>> same_target({"_target_": "noisereg.models.two_layer.TwoLayer"}, "noisereg.models.Neuron")
        False
    """
    given = target["_target_"] if isinstance(target, dict) else target
    return defining_name(given) == defining_name(name)


@cache
def defining_name(name: str) -> str:
    """Return the name of an object in the module that defines it, read from the source: nothing is imported.

    So the command line is checked before torch is loaded, and no code of a name that is not allowed is run.

    Args:
        name: dotted name by which the object can be imported.

    Returns:
        The name in the defining module; the given one where no import there has the object's name, as one of `*`.

    Example:
        >>> defining_name("torch.optim.SGD")
        'torch.optim.sgd.SGD'
    """
    passed: list[str] = []
    while name not in passed:  # a circle of imports defines nothing
        passed.append(name)
        with suppress(ValueError, SyntaxError, OSError):  # a module without a source, or a faulty one
            name = _follow_import(name)
    return name


def _follow_import(name: str) -> str:
    """Return the name that a module imports an object by; the same name if it does not import it."""
    spec, rest = find_spec(name.partition(".")[0]), name.split(".")[1:]
    while rest and spec and spec.submodule_search_locations is not None:
        inner = PathFinder.find_spec(f"{spec.name}.{rest[0]}", list(spec.submodule_search_locations))
        if inner is None:
            break
        spec, rest = inner, rest[1:]
    if not (rest and spec and spec.origin and spec.origin.endswith(".py")):
        return name
    for statement in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                if rest[0] == (alias.asname or alias.name):
                    return ".".join([statement.module, alias.name, *rest[1:]])
    return name


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
