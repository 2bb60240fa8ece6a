"""Libraries: Lightning, loaded without what it seldom uses, and without what they print that helps no user.

Lightning imports torch's compiler (it asks whether a network is a compiled one), triton (it counts operations of
kernels for GPUs), torchvision (for metrics of images) and scipy.signal (for metrics of sound): two seconds of each
start and 300 MB. Nobody offers to leave them out. So while Lightning is loaded, stand-ins are in their place among the
modules, whose parts are the real ones from their first use on.

It is a back door, and stays for what it saves: up to its first line the program takes 3.9 s of processor time, and 5.9
without (median of three starts on two cores; Lightning 2.6, torch 2.14). Without it a start keeps the goal of
`benchmarks/start.py` for the first line, and has that for the first progress at its limit. A version of Lightning that
does more with these modules than to import their names is loaded as it is.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

QUIETED = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch", "lightning.fabric")  # loggers
_COMPILER = "torch._dynamo"
_DEFERRED = (
    _COMPILER,
    "triton.runtime.jit",
    "torchvision",
    "torchvision.models",
    "torchvision.ops",
    "scipy.signal",  # torchmetrics adds a name of former versions to it, for a metric of speech alone
)


def load_lightning() -> None:
    """Load Lightning and torchmetrics, and leave for their first use what they need for other work than a run's own."""
    try:
        with _stand_ins():
            import_module("lightning.pytorch")
    except Exception:  # another version of it does more with them than to import their names
        import_module("lightning.pytorch")


def quiet_libraries() -> None:
    """Stop libraries from printing what a user can do nothing about: notes on hardware, and their own calls."""
    for name in QUIETED:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A user is told what is wrong, and not in which line of a library: `warnings` has no other way to say how.
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # on any machine of a cluster
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval")
    warnings.filterwarnings("once", message="SparsityMonitor")  # of many replicas
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Let imports of what is not loaded yet find stand-ins."""
    sys.modules.update({name: _StandIn(name) for name in _DEFERRED if name not in sys.modules})
    try:
        yield
    finally:
        _remove_stand_ins()


def _remove_stand_ins() -> None:
    for name in _DEFERRED:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module whose parts are loaded when they are used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        if name == _COMPILER:
            self.disable = _not_compiled

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _LazyPart(self.__name__, name)


class _LazyPart:
    """A function, class or module that is loaded when it is called, or looked into.

    Nothing is an instance of a class that is not loaded.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    @cached_property
    def _real(self) -> Any:
        _remove_stand_ins()  # used while Lightning is loaded, it would be found where the real one is looked for
        return getattr(import_module(self._module), self._name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._real(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what annotations are asked for
            raise AttributeError(f"{self._module}.{self._name} is not loaded, and has no {name!r} yet")
        return getattr(self._real, name)

    def __instancecheck__(self, instance: object) -> bool:
        return _is_loaded(self._module) and isinstance(instance, self._real)


def _is_loaded(module: str) -> bool:
    return module in sys.modules and not isinstance(sys.modules[module], _StandIn)


def _not_compiled(function: Callable[..., Any], recursive: bool = True, *, reason: str | None = None) -> Any:
    """Keep a function from being compiled, as `torch.compiler.disable`, from when the compiler is loaded."""
    disabled: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if not _is_loaded(_COMPILER):
            return function(*arguments, **options)
        if not disabled:
            disabled.append(import_module(_COMPILER).disable(function, recursive, reason=reason))
        return disabled[0](*arguments, **options)

    return call
