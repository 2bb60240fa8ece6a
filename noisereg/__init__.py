"""noisereg: what does label noise do to a ReLU network?

The names below are loaded when they are first used, so that `import noisereg.noise` loads no training library.
"""

from importlib import import_module
from typing import Any

_ROOM = {
    "ActivationSparsity": "noisereg.metrics",
    "LabelCorruption": "noisereg.callbacks",
    "NormMonitor": "noisereg.callbacks",
    "SparsityMonitor": "noisereg.callbacks",
    "Classifier": "noisereg.engine.classifier",
    "load": "noisereg.training.load",
    "train": "noisereg.training.in_python",
    "TrainedRun": "noisereg.training.load",
}

__all__ = [
    "ActivationSparsity",
    "Classifier",
    "LabelCorruption",
    "NormMonitor",
    "SparsityMonitor",
    "TrainedRun",
    "load",
    "train",
]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in _ROOM:
        raise AttributeError(f"module 'noisereg' has no attribute {name!r}")
    return getattr(import_module(_ROOM[name]), name)
