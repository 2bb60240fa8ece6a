"""What each part of a configuration may build: what it is for, and beyond that what the user trusts by hand."""

import inspect
import re
import sys
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from noisereg.config.overrides import is_by_hand
from noisereg.config.sections import built_sections, is_below, leaves, same_target, walk
from noisereg.errors import ConfigError


class Derived(NamedTuple):
    """Classes that are defined below a package and derive from a base.

    Attributes:
        package: what their names begin with.
        base: dotted name of the class that they derive from.
    """

    package: str
    base: str

    def permits(self, found: Any) -> bool:
        """Return whether an object is one of them."""
        if not inspect.isclass(found) or "." in found.__qualname__:
            return False
        return is_below(_defining_name(found), self.package) and self.base in map(_defining_name, found.__mro__)


class Listed(NamedTuple):
    """What stands on a list.

    Attributes:
        package: what their names begin with.
        members: returns them; it is called once the package is imported.
    """

    package: str
    members: Callable[[], Collection[Any]]

    def permits(self, found: Any) -> bool:
        """Return whether an object is one of them."""
        return any(found is member for member in self.members())


def _list_names(package: str, *names: str) -> Listed:
    return Listed(package, lambda: [getattr(import_module(package), name) for name in names])


def _list_layers() -> list[type]:
    """Return the modules that torch.nn exports: its containers and layers, without the tools that lie beside them."""
    modules: Any = import_module("torch.nn.modules")
    exported = [getattr(modules, name) for name in modules.__all__]
    return [found for found in exported if issubclass(found, modules.Module)]


def _list_classifiers() -> list[Callable[..., Any]]:
    """Return the builders of classifiers in torchvision's registry, without its helpers, detectors and video models."""
    models: Any = import_module("torchvision.models")
    return [models.get_model_builder(name) for name in models.list_models(module=models)]


def _list_checks() -> list[Any]:
    theory: Any = import_module("noisereg.theory")
    return [getattr(theory, name) for name in theory.__all__]


_LOSSES = Derived("noisereg.losses", "noisereg.losses.loss.Loss")
# docs/security.md says of each line why nothing behind it can run what a text names, write or fetch. Left out of
# Lightning's are classes that only others derive from, those that set an attribute of a given name (BatchSizeFinder,
# LearningRateFinder), that write beside the run (SpikeDetection), read a file (DeepSpeedStrategy) or open a port
# (XLAProfiler).
_ALLOWED: dict[str, tuple[Derived | Listed, ...]] = {
    "noise.schedule": (Derived("noisereg.noise", "noisereg.noise.schedule.Schedule"),),
    "noise": (Derived("noisereg.noise", "noisereg.noise.rule.Rule"),),
    "model": (
        Derived("noisereg.models", "torch.nn.modules.module.Module"),
        _list_names("noisereg.models", "timm_model", "torchvision_model", "transformers_model"),
        Listed("torch.nn", _list_layers),
        Listed("torchvision.models", _list_classifiers),
    ),
    "dataset": (Derived("noisereg.datasets", "noisereg.datasets.in_memory.InMemory"),),
    "loss": (_LOSSES,),
    "optimizer": (Derived("torch.optim", "torch.optim.optimizer.Optimizer"),),
    "scheduler": (Derived("torch.optim.lr_scheduler", "torch.optim.lr_scheduler.LRScheduler"),),
    "trainer": (
        Listed("lightning.pytorch.Trainer", lambda: [import_module("lightning.pytorch").Trainer]),
        _list_names(
            "lightning.pytorch.strategies",
            "DDPStrategy",
            "FSDPStrategy",
            "ModelParallelStrategy",
            "SingleDeviceStrategy",
        ),
        _list_names(
            "lightning.pytorch.profilers",
            "AdvancedProfiler",
            "PassThroughProfiler",
            "PyTorchProfiler",
            "SimpleProfiler",
        ),
    ),
    "callbacks": (
        Derived("noisereg.callbacks", "lightning.pytorch.callbacks.callback.Callback"),
        _list_names(
            "lightning.pytorch.callbacks",
            "BackboneFinetuning",
            "DeviceStatsMonitor",
            "EarlyStopping",
            "EMAWeightAveraging",
            "GradientAccumulationScheduler",
            "LambdaCallback",
            "LearningRateMonitor",
            "ModelCheckpoint",
            "ModelPruning",
            "ModelSummary",
            "OnExceptionCheckpoint",
            "RichModelSummary",
            "RichProgressBar",
            "StochasticWeightAveraging",
            "ThroughputMonitor",
            "Timer",
            "TQDMProgressBar",
            "WeightAveraging",
        ),
    ),
    "experiment": (Listed("noisereg.theory", _list_checks), _LOSSES),
}
# Of callbacks there is one of each of ours, as two would undo or overwrite what the other does.
_MADE_OF = {"LabelCorruption": "noise", "StopWhenFitted": "stopping.extra_epochs"}
_ONE_OF_EACH = ("SparsityMonitor", "NormMonitor", "GradientMonitor", "FiniteLoss", "RunCheckpoint")
_NAME = re.compile(r"[\w-]+")  # what cannot end the text or the name that a library makes of it in generated code


def check_targets(settings: dict[str, Any], *, trust: Sequence[str] = (), stated: Collection[str] = ()) -> None:
    """Check by its name all that a configuration would build, before anything of that name is imported.

    Args:
        settings: the whole configuration, as plain values.
        trust: packages that may be built from besides, as the command line names them.
        stated: keys that the command line sets, which may name where files are written and ask for a download.

    Raises:
        ConfigError: naming the first target that is not for its part, or the first argument that is not for it.

    Example:
        >>> check_targets({"model": {"_target_": "mine.Net"}}, trust=["mine"])
        >>> check_targets({"loss": {"_target_": "os.system"}})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: loss._target_=os.system: only noisereg.losses.* can be built here
    """
    for key, section in built_sections(settings):
        name = section["_target_"]
        if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)+", name):
            raise ConfigError(f"{key}._target_ must be the dotted name of what is to be built, got {name!r}")
        if any(is_below(name, package) for package in trust):
            continue
        if any(part.startswith("_") for part in name.split(".")) or not _rules(key, name):
            raise ConfigError(_describe_refusal(key, name))
        _check_arguments(key, section, stated)
    for key, value in leaves(settings):
        if "${" in str(value):  # building resolves once more, and what came of it would not have been checked
            raise ConfigError(f"{key}={value!r}: an interpolation cannot give another one")


def check_callbacks(settings: dict[str, Any]) -> None:
    """Refuse a callback that the run makes itself, and a second one of the same kind.

    Of `SparsityMonitor` there may be several, by different names.

    Raises:
        ConfigError: naming the key of the callback.

    Example:
        >>> check_callbacks({"callbacks": {"mine": {"_target_": "noisereg.callbacks.LabelCorruption"}}})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: callbacks.mine: the run makes its LabelCorruption of noise; give that
    """
    known: dict[tuple[str, str], str] = {}
    for key, section in settings["callbacks"].items():
        for kind, source in _MADE_OF.items():
            if same_target(section, f"noisereg.callbacks.{kind}"):
                raise ConfigError(f"callbacks.{key}: the run makes its {kind} of {source}; give that")
        for kind in _ONE_OF_EACH:
            if same_target(section, f"noisereg.callbacks.{kind}"):
                name = str(section.get("name", "")) if kind == "SparsityMonitor" else ""
                first = known.setdefault((kind, name), key)
                if first != key:
                    mend = f"; give this one a name: callbacks.{key}.name={key}" if kind == "SparsityMonitor" else ""
                    raise ConfigError(f"callbacks.{key}: callbacks.{first} is a {kind} already{mend}")


def check_object(key: str, name: str, found: Any) -> None:
    """Check what a name that `check_targets` let pass leads to: it may be another name for something else.

    Raises:
        ConfigError: if the object is not for this part, or of another package than the trusted one it is named in.
    """
    rules = _rules(key, name)
    is_trusted = not rules and _defining_name(found).partition(".")[0] == name.partition(".")[0]
    if not (is_trusted or any(rule.permits(found) for rule in rules)):
        raise ConfigError(f"{key}._target_={name} stands for {_defining_name(found)}, which cannot be built here")


def _check_arguments(key: str, section: dict[str, Any], stated: Collection[str]) -> None:
    """Refuse arguments of something that is not trusted by which a text would become code, a file or a download."""
    if "_args_" in section and not is_below(section["_target_"], "torch.nn"):
        raise ConfigError(f"{key}._args_: give the arguments of {section['_target_']} by their names")
    inner = [place for place, _ in built_sections(section) if place]  # each is looked at for itself
    for place, value in walk(section):
        if place in inner or place.startswith(tuple(f"{other}{sign}" for other in inner for sign in ".[")):
            continue
        if isinstance(value, dict) and is_below(key.partition("[")[0], "model"):
            for name in value:
                if not _NAME.fullmatch(str(name)):
                    raise ConfigError(f"{key} has the key {name!r}: a name here is of letters, digits, _ and -")
        full = f"{key}.{place}"
        if is_by_hand(full) and full not in stated and not (value is None or value is False or _is_plain(full, value)):
            raise ConfigError(
                f"{full}={value!r} does not stand on the command line, "
                "where alone it can be said where files are written and what is downloaded"
            )


def _is_plain(key: str, value: Any) -> bool:
    """Return whether it is the name of a file without a folder, which lies in that of the run."""
    return key.endswith(".filename") and bool(_NAME.fullmatch(str(value)))


def _defining_name(found: Any) -> str:
    """Return the name of an object in the module that defines it, or that of its class."""
    return ".".join(str(getattr(found, name, getattr(type(found), name))) for name in ("__module__", "__qualname__"))


def _rules(key: str, name: str) -> list[Derived | Listed]:
    return [rule for rule in allowed_rules(key) if is_below(name, rule.package)]


def allowed_rules(key: str) -> tuple[Derived | Listed, ...]:
    """Return the rules for what the part of a key may be built from.

    Example:
        >>> allowed_rules("loss")
        (Derived(package='noisereg.losses', base='noisereg.losses.loss.Loss'),)
    """
    part = next((part for part in _ALLOWED if is_below(key.partition("[")[0], part)), "")
    return _ALLOWED.get(part, ())


def _describe_refusal(key: str, name: str) -> str:
    packages = list(dict.fromkeys(rule.package for rule in allowed_rules(key)))
    names = ", ".join(f"{package}.*" for package in packages).replace("Trainer.*", "Trainer")
    package = name.partition(".")[0]
    known = package in sys.stdlib_module_names or package in {name.partition(".")[0] for name in packages}
    mend = "" if known else f"; for a package of your own: trust=[{package}]"
    return f"{key}._target_={name}: {f'only {names}' if names else 'nothing'} can be built here{mend}"
