"""Random parts of a configuration with hostile texts, and a watch over what a process does while they are built."""

import inspect
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

# RAN is a file that must not come to be, CANARY a variable whose value must not be read, MARKED one that must not be
# set. A text that is run as Python, by a shell, as a template or as an address does one of that.
HOSTILE = (
    """a", getattr(__import__("os"), "system")("touch RAN") or "b""",
    """a', getattr(__import__('os'), 'system')('touch RAN') or 'b""",
    """x')\n__import__("pathlib").Path("RAN").touch()\n(\'""",
    """__import__("os").environ.__setitem__("MARKED", "1")""",
    """lambda: __import__("pathlib").Path("RAN").touch()""",
    "touch RAN; $(touch RAN) `touch RAN` | touch RAN",
    "{{ cycler.__init__.__globals__.os.system('touch RAN') }}",
    "{x].__class__.__init__.__globals__[os].environ[CANARY]}",
    "{epoch].__reduce_ex__.__globals__[os].environ[CANARY][0",
    "%(x)s {0.__class__.__init__.__globals__}",
    "${oc.env:CANARY}",
    "${oc.create:'{_target_: evil.attack}'}",
    "\\${oc.env:CANARY}",
    "!!python/object/apply:os.system ['touch RAN']",
    "=cmd|' /c touch RAN'!A1",
    "RAN",
    "../../../../../../../../../../RAN",
    "file:///RAN",
    "memory://RAN",
    "http://127.0.0.1:9/RAN",
    "ftp://me@127.0.0.1/RAN",
    "evil.attack",
    "os.system",
    "DEFAULT",
    "IMAGENET1K_V1",
    "deepspeed",
    "xla",
    "nan",
    "\x1b]0;RAN\x07\u202e",
    "",
)
_PLAIN = ("cpu", "mean", "relu", "zeros", "min", "max", "test/error", "epoch", "l1_unstructured", "a", "simple", "auto")
_GIVEN = ("params", "optimizer", "seed", "input_shape", "num_outputs")  # by the run itself
_SLOW = ("verify_", "basis", "train_", "visit_")  # of noisereg.theory; some compile, which loads pickles of numba's own
_SMALL = ("squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5", "mnasnet0_5")  # the others take seconds to make
_PACKAGES = {
    "noise": ("noisereg.noise",),
    "noise.schedule": ("noisereg.noise",),
    "model": ("torch.nn", "torchvision.models", "noisereg.models"),
    "dataset": ("noisereg.datasets",),
    "loss": ("noisereg.losses",),
    "optimizer": ("torch.optim",),
    "scheduler": ("torch.optim.lr_scheduler",),
    "trainer": ("lightning.pytorch.strategies", "lightning.pytorch.profilers"),
    "callbacks": ("lightning.pytorch.callbacks", "noisereg.callbacks"),
    "experiment": ("noisereg.theory", "noisereg.losses"),
}
PARTS = (*_PACKAGES, *["model"] * 6, *["callbacks"] * 3, "trainer")  # how often each is tried
_CONTAINERS = ("torch.nn.Sequential", "torch.nn.ModuleDict", "torch.nn.ModuleList", "torch.nn.ParameterDict")
_WRITERS = (
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.callbacks.OnExceptionCheckpoint",
    "lightning.pytorch.profilers.SimpleProfiler",
    "lightning.pytorch.profilers.AdvancedProfiler",
)


@cache
def exported_names(part: str) -> tuple[str, ...]:
    """Return the dotted names of what the packages of a part export."""
    found = []
    for package in _PACKAGES[part]:
        module = import_module(package)
        exported = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        found += [f"{package}.{name}" for name in exported if callable(getattr(module, name))]
    large = {f"torchvision.models.{name}" for name in import_module("torchvision.models").list_models()}
    small = {f"torchvision.models.{name}" for name in _SMALL}
    return tuple(name for name in found if name not in large - small and not _is_slow(name))


@cache
def neighbours(part: str) -> tuple[str, ...]:
    """Return the dotted names of all that can be called in the loaded modules of the packages of a part."""
    names = [
        f"{module}.{name}"
        for module in sorted(sys.modules)
        if module.startswith(_PACKAGES[part]) and sys.modules[module]
        for name, value in sorted(vars(sys.modules[module]).items())
        if callable(value)
    ]
    return tuple(name for name in names if not name.rpartition(".")[2].startswith("__") and not _is_slow(name))


def _is_slow(name: str) -> bool:
    return name.startswith("noisereg.theory.") and name.rpartition(".")[2].startswith(_SLOW)


def random_section(part: str, draw: random.Random, *, depth: int = 0) -> dict[str, Any]:
    """Return a part of a configuration that builds something at random, with hostile texts for its arguments.

    Args:
        part: key of it.
        draw: makes the choices.
        depth: of the section in others.
    """
    often = [name for name in (*_CONTAINERS, *_WRITERS) if name in exported_names(part)]
    pools = [neighbours(part), exported_names(part), often or exported_names(part)]
    name = draw.choice(draw.choices(pools, weights=[0.15, 0.55, 0.3])[0])
    section: dict[str, Any] = {"_target_": name}
    if depth and draw.random() < 0.2:
        section["_partial_"] = True
    for argument, kind, is_needed in _arguments(_find(name)):
        if argument == "p":
            section["p"] = 0.1
        elif argument not in _GIVEN and (is_needed or draw.random() < 0.3):
            section[argument] = _random_value(part, kind, draw, depth=depth)
    if name in _CONTAINERS:
        section = {"_target_": name, "_args_": [_random_layers(name, draw, depth=depth)]}
    elif draw.random() < 0.05:
        section["_args_"] = [_random_value(part, "", draw, depth=depth)]
    return section


def _random_layers(name: str, draw: random.Random, *, depth: int) -> Any:
    simple = {"_target_": draw.choice(("torch.nn.Identity", "torch.nn.ReLU", "torch.nn.Flatten"))}
    layer = random_section("model", draw, depth=depth + 1) if depth < 3 and draw.random() < 0.4 else simple
    if name in ("torch.nn.ModuleDict", "torch.nn.ParameterDict"):
        return {draw.choice((*HOSTILE, *HOSTILE[:4], *_PLAIN)): layer}
    return layer if name == "torch.nn.Sequential" else [layer]


def _random_value(part: str, kind: str, draw: random.Random, *, depth: int) -> Any:
    """Return a value for an argument of a type, as its text names it."""
    if depth < 3 and draw.random() < 0.15:
        return random_section(part, draw, depth=depth + 1)
    if any(word in kind for word in ("str", "Path", "Any", "Callable", "device", "dtype")) or not kind:
        text = draw.choice(HOSTILE) if draw.random() < 0.6 else draw.choice(_PLAIN)
        return draw.choice((text, text, text, [text], {text: text}, {"a": [text]}))
    if "bool" in kind:
        return draw.random() < 0.5
    if "float" in kind:
        return draw.choice((0.1, 0.5, 1.0))
    if "Sequence" in kind or "list" in kind or "Mapping" in kind or "dict" in kind:
        return draw.choice(([], [1, 2], [0.5], [draw.choice(HOSTILE)], {draw.choice(HOSTILE): 1}))
    return draw.choice((1, 2, 4)) if "int" in kind else draw.choice(HOSTILE)


def _find(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(sys.modules[module], last)


def _arguments(target: Any) -> Iterator[tuple[str, str, bool]]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            kind = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
            yield parameter.name, kind, parameter.default is parameter.empty


class Wrapped(torch.nn.Module):
    """A network of a package that is trusted, around a part whose layers stand in what torch.fx makes of it."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, *, part: Any = None, seed: int = 0) -> None:
        super().__init__()
        self.part = part
        self.linear = torch.nn.Linear(input_shape[0], num_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if isinstance(inputs, torch.fx.Proxy) and isinstance(self.part, torch.nn.Module):
            for layer in self.part.children():
                layer(inputs)
        return self.linear(inputs)


class Watch:
    """What a process has done that it must not: an audit hook, which stays for its life and notes while it is asked to.

    Attributes:
        found: a line for each event.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self._home: str | None = None
        sys.addaudithook(self._note)

    @contextmanager
    def over(self, home: Path) -> Iterator[None]:
        """Note programs, connections, code made of hostile texts, and files that are written outside of a folder."""
        self.found, self._home = [], str(home)
        try:
            yield
        finally:
            self._home = None

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        home = self._home
        if home is None:
            return
        if event in _EVENTS:
            self._home = None  # what is done to note it is not noted
            line = _EVENTS[event](home, *arguments)
            self._home = home
            if line:
                self.found.append(f"{event}: {line}")


def _note_any(home: str, *arguments: Any) -> str:
    return repr(arguments)[:300]


def _note_code(home: str, source: Any, *more: Any) -> str:
    text = source.decode(errors="replace") if isinstance(source, bytes) else source if isinstance(source, str) else ""
    return text[:300] if any(word in text for word in ("touch RAN", "MARKED", "/ran", "evil.attack")) else ""


def _note_place(home: str, path: Any, *more: Any) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    return "" if os.path.realpath(os.fsdecode(path)).startswith(home) else f"{path!r}"


def _note_open(home: str, path: Any, mode: Any, flags: Any) -> str:
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    return _note_place(home, path) if writes else ""


_EVENTS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"), _note_any),
    **dict.fromkeys(("subprocess.Popen", "socket.connect", "socket.bind", "socket.getaddrinfo"), _note_any),
    **dict.fromkeys(("os.putenv", "os.unsetenv", "pickle.find_class", "webbrowser.open"), _note_any),
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"), _note_place),
    "open": _note_open,
    "compile": _note_code,
}
