"""Attacks for tests/test_security.py: what a stranger might put into a configuration. Each writes a file if it runs.

MARK stands for that file, HOME for a folder with a pickle, a hub repository and the module `evil`.
"""

import json
import os
import pickle
from pathlib import Path
from typing import Any

EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").touch()  # on import
import os

def attack(*arguments, **more):
    Path(__file__).with_name("ran").touch()

class Net:
    def __init__(self, *arguments, **more):
        attack()
"""
ATTACK = {"_target_": "evil.attack"}
PARTIAL_ATTACK = {"_target_": "evil.attack", "_partial_": True}
TOUCH = {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": ["MARK"]}]}
CREATE = "{oc.create:'{_target_: evil.attack}'}"

_EXTRACTOR = "torchvision.models.feature_extraction.create_feature_extractor"
_LAYER = """a", getattr(__import__("os"), "system")("touch MARK") or "b"""
_NAMED_LAYERS = {
    "_target_": "torchvision.models.detection.backbone_utils.BackboneWithFPN",
    "backbone": {"_target_": "torch.nn.ModuleDict", "_args_": [{_LAYER: {"_target_": "torch.nn.ReLU"}}]},
    "return_layers": {_LAYER: "0"},
    "in_channels_list": [3],
    "out_channels": 3,
}
_TRACED = {"_target_": _EXTRACTOR, "model": _NAMED_LAYERS, "return_nodes": ["fpn"]}  # its source holds the name

# Each runs when Hydra builds it and nothing of ours stands before it.
BUILT_BY_HYDRA = {
    "a function of a module of theirs": ATTACK,
    "a class of a module of theirs": {"_target_": "evil.Net"},
    "a method of the standard library": TOUCH,
    "torch.load": {"_target_": "torch.load", "f": "HOME/pickle", "weights_only": False},
    "numpy.load": {"_target_": "numpy.load", "file": "HOME/pickle", "allow_pickle": True},
    "torch.save": {"_target_": "torch.save", "obj": 1, "f": "MARK"},
    "torch.hub": {"_target_": "torch.hub.load", "repo_or_dir": "HOME", "model": "attack", "source": "local"},
    "nested": {"_target_": "torch.nn.Sequential", "_args_": [ATTACK]},
    "in a list": {"_target_": "collections.Counter", "iterable": [1, [ATTACK]]},
    "an alias in a package of torch": {"_target_": "torch.nn.modules.module.torch.save", "obj": 1, "f": "MARK"},
    "an alias in a package of ours": {
        "_target_": "noisereg.datasets.cifar.Path.touch",
        "_args_": [{"_target_": "noisereg.datasets.cifar.Path", "_args_": ["MARK"]}],
    },
    "an interpolation": {"_target_": "torch.nn.Sequential", "_args_": [f"${CREATE}"]},
    "a layer's name that becomes code": {
        "_target_": _EXTRACTOR,
        "model": _TRACED,
        "return_nodes": ["fpn"],
        "_convert_": "all",
    },
}

_CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"
_PROFILER = "lightning.pytorch.profilers.SimpleProfiler"

# key in the configuration: what is put there; all is refused by the checks, or at the latest when the part is built
PARTS: dict[str, tuple[str, Any]] = {
    **{name: ("model", attack) for name, attack in BUILT_BY_HYDRA.items()},
    "open": ("model", {"_target_": "builtins.open", "file": "MARK", "mode": "w"}),
    "our own writer": (
        "model",
        {"_target_": "noisereg.files.atomic.write_atomically", "path": "MARK", "write": PARTIAL_ATTACK},
    ),
    "as a data set": ("dataset", {"_target_": "noisereg.datasets.cifar.Path", "_args_": ["MARK"]}),
    "the cache's writer": (
        "dataset",
        {"_target_": "noisereg.files.cache.cached", "name": "MARK", "identity": 1, "build": PARTIAL_ATTACK},
    ),
    "the mover of downloads": (
        "dataset",
        {"_target_": "noisereg.datasets.download.download", "root": "HOME", "name": "ran", "fetch": PARTIAL_ATTACK},
    ),
    "a run": ("experiment.checks.evil", {"_target_": "noisereg.training.run.run", "config": {}}),
    "as a check": ("experiment.checks.evil", ATTACK),
    "as a number": ("experiment.claims", [{"id": "x", "predicted": ATTACK}]),
    "as a title": ("experiment.title", f"${CREATE}"),
    "as a callback": ("callbacks.evil", ATTACK),
    "in a callback": (
        "callbacks.evil",
        {"_target_": "lightning.pytorch.callbacks.LambdaCallback", "setup": PARTIAL_ATTACK},
    ),
    "as a loss": ("loss", ATTACK),
    "as a rule": ("noise._target_", "evil.attack"),
    "as a schedule": ("noise.schedule", ATTACK),
    "in an optimiser": ("optimizer.foreach", ATTACK),
    "as a rate's schedule": (
        "scheduler",
        {"_target_": "torch.optim.lr_scheduler.LambdaLR", "_partial_": True, "lr_lambda": PARTIAL_ATTACK},
    ),
    "as a trainer": ("trainer._target_", "evil.Net"),
    "in a trainer": ("trainer.strategy", ATTACK),
    "in the suggestions": ("suggested.init", ATTACK),
    "a private name": ("model._target_", "torch.nn.modules.module._WrappedHook"),
    "a builder of another part": ("loss", {"_target_": "noisereg.models.TwoLayer", "hidden": 3}),
    "functools by an alias": (
        "model",
        {"_target_": "torch.nn.modules.module.functools.reduce", "_args_": [PARTIAL_ATTACK, [1]]},
    ),
    "signal by an alias": ("experiment.checks.evil", {"_target_": "noisereg.training.run.signal.signal"}),
    "a name by interpolation": ("model", {"_target_": "${logger.project}", "name": "x"}),
    "an interpolation in an interpolation": ("model.init", f"\\${CREATE}"),
    "no text for a name": ("model.init", {"_target_": ["evil.attack"]}),
    "trust": ("trust", ["evil"]),
    "a layer's name": (
        "model",
        {"_target_": "torch.nn.ModuleDict", "_args_": [{_LAYER: {"_target_": "torch.nn.ReLU"}}]},
    ),
    "a file elsewhere": ("callbacks.evil", {"_target_": _CHECKPOINT, "dirpath": "HOME"}),
    "a file elsewhere by its place": ("callbacks.evil", {"_target_": _CHECKPOINT, "_args_": ["HOME"]}),
    "a file elsewhere by its name": ("callbacks.evil", {"_target_": _CHECKPOINT, "filename": "../../../ran"}),
    "a file's name that reads": ("callbacks.evil", {"_target_": _CHECKPOINT, "filename": "{x].__class__[y}"}),
    "a report of the time elsewhere": ("trainer.profiler", {"_target_": _PROFILER, "dirpath": "HOME", "filename": "a"}),
    "a server": ("trainer.profiler", {"_target_": "lightning.pytorch.profilers.XLAProfiler"}),
    "a download": ("model.part", {"_target_": "torchvision.models.squeezenet1_1", "weights": "DEFAULT"}),
    "a download by default": ("model.part", {"_target_": "torchvision.models.detection.fasterrcnn_resnet50_fpn"}),
    "a download by its old name": ("model.part", {"_target_": "torchvision.models.alexnet", "pretrained": True}),
    "a download by its place": ("model.part", {"_target_": "torchvision.models.alexnet", "_args_": [True]}),
    "a variable of the environment": ("logger.project", "${oc.env:HOME}"),
    "a variable by a name in parts": ("logger.project", "${oc.${loss.word}:HOME}"),
    "a variable by a decoded text": ("logger.project", "${oc.decode:'${oc.env:HOME}'}"),
}

FOLDERS: dict[str, tuple[str, str, list[str]]] = {
    # file in a folder of options: its text, and the command line that takes it
    "a model": ("model", "_target_: evil.Net", []),
    "a tag of YAML": ("model", "_target_: !!python/object/apply:evil.attack []", []),
    "trust": ("experiment", "# @package _global_\ntrust: [evil]\nmodel: {_target_: evil.Net}", []),
    "trust in an arm": ("experiment", '# @package _global_\nexperiment: {arms: {a: ["trust=[evil]"]}}', []),
    "Hydra in an arm": (
        "experiment",
        '# @package _global_\nexperiment: {arms: {a: ["hydra.searchpath=[pkg://evil]"]}}',
        [],
    ),
    "trust by the record of overrides": (
        "experiment",
        '# @package _global_\nhydra: {overrides: {task: ["trust=[evil]"]}}',
        [],
    ),
    "trust by a sweep": ("experiment", '# @package _global_\nhydra: {sweeper: {params: {trust: "[evil]"}}}', ["-m"]),
    "a callback of Hydra": ("experiment", "# @package _global_\nhydra: {callbacks: {a: {_target_: evil.Net}}}", []),
    "a callback by hand": ("hydra/callbacks", "a: {_target_: evil.Net}", []),
    "a callback by interpolation": ("hydra/callbacks", f"a: ${CREATE}", []),
    "a callback, shown": (
        "experiment",
        "# @package _global_\nhydra: {callbacks: {a: {_target_: evil.Net}}}",
        ["--help"],
    ),
    "a launcher": ("experiment", "# @package _global_\nhydra: {launcher: {_target_: evil.Net}}", ["-m"]),
    "a sweeper": ("experiment", "# @package _global_\nhydra: {sweeper: {_target_: evil.Net}}", ["-m"]),
    "a sweeper's argument": ("experiment", "# @package _global_\nhydra: {sweeper: {x: {_target_: evil.Net}}}", ["-m"]),
    "a variable of the process": (
        "experiment",
        "# @package _global_\nhydra: {job: {env_set: {TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: '1'}}}",
        [],
    ),
    "a formatter": (
        "experiment",
        "# @package _global_\nhydra: {job_logging: {formatters: {simple: {'()': evil.attack}}}}",
        [],
    ),
    "a handler": (
        "experiment",
        "# @package _global_\nhydra: {hydra_logging: {handlers: {console: {class: evil.Net}}}}",
        [],
    ),
    "a stream": (
        "experiment",
        "# @package _global_\nhydra: {job_logging: {handlers: {console: {stream: 'ext://evil.attack'}}}}",
        [],
    ),
    "Hydra's own files elsewhere": ("experiment", "# @package _global_\nhydra: {output_subdir: ../../theirs}", []),
    "a sweep without -m": ("experiment", "# @package _global_\nhydra: {mode: MULTIRUN}", []),
    "a log elsewhere": (
        "experiment",
        "# @package _global_\nhydra: {job_logging: {handlers: {file: {filename: MARK, mode: w}}}}",
        [],
    ),
    "a shell of a launcher": (
        "experiment",
        "# @package _global_\nhydra: {launcher: {setup: ['touch MARK']}}",
        ["-m", "hydra/launcher=submitit_slurm"],
    ),
    "a variable in a folder's name": ("experiment", "# @package _global_\nhydra: {run: {dir: 'a${oc.env:HOME}'}}", []),
    "a variable in a log": (
        "experiment",
        "# @package _global_\nhydra: {job_logging: {formatters: {simple: {format: '${oc.env:HOME}'}}}}",
        [],
    ),
    "a variable in an arm": (
        "experiment",
        "# @package _global_\nexperiment: {arms: {a: ['logger.project=${oc.env:HOME}']}}",
        [],
    ),
    "a folder of files by a sweep": (
        "experiment",
        "# @package _global_\nhydra: {sweeper: {params: {+callbacks.a: '{_target_: a.B, dirpath: /}'}}}",
        ["-m"],
    ),
    "a job's name": ("experiment", "# @package _global_\nhydra: {job: {name: ../../ran}}", []),
}


class _Pickled:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def write_attack_files(home: Path) -> Path:
    """Write what the attacks need into a folder, and return the file that is there once one has run."""
    (home / "evil.py").write_text(EVIL)
    (home / "hubconf.py").write_text("from evil import attack\n")
    (home / "pickle").write_bytes(make_malicious_pickle(home / "ran"))
    return home / "ran"


def make_malicious_pickle(marker: Path) -> bytes:
    """Return a pickle that writes a file when it is loaded."""
    return pickle.dumps({"state_dict": _Pickled(marker)}, protocol=2)


def fill_places(attack: Any, home: Path) -> Any:
    """Return an attack with the places of this test in it."""
    return json.loads(json.dumps(attack).replace("MARK", str(home / "ran")).replace("HOME", str(home)))
