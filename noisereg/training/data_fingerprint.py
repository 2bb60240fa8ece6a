"""The fingerprint of a run's data, by which a run goes on with the same data only."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.config.same_run import LABEL_FILE, Fingerprint
from noisereg.datasets import InMemory
from noisereg.errors import ConfigError
from noisereg.noise import FileLabels
from noisereg.training.build import as_config_error, as_data_config_error, build, build_rule

_WITHOUT_EFFECT = ("workers",)  # settings of data that change no sample


def fingerprint_data(settings: Settings) -> Fingerprint:
    """Read the fingerprint of the data of a configuration, without loading them, and of the file of its labels.

    Raises:
        ConfigError: if the data cannot be read.
    """
    return fingerprint_of(build("dataset", settings["dataset"], seed=Plan(settings).replicas[0]["seed"]), settings)


def fingerprint_of(data: InMemory, settings: Settings) -> Fingerprint:
    """Return the fingerprint of data, and of the file that their noise is read from if there is one.

    Raises:
        ConfigError: if the data or the file cannot be read, or the data give no plain values.
    """
    return fingerprint_samples(data, settings) | _fingerprint_labels(data, settings)


def fingerprint_samples(data: InMemory, settings: Settings) -> Fingerprint:
    """Return the fingerprint of data alone: their own, or else the settings that they are built from.

    Where the settings are all that is known, `root` is a whole path, as a relative one is another in another folder.

    Raises:
        ConfigError: if the data cannot be read, or give no plain values.
    """
    with as_config_error("dataset", type(data), given=["seed"]), as_data_config_error(data):
        own = data.fingerprint()
    try:
        found = json.loads(json.dumps(dict(own), allow_nan=False))
    except (TypeError, ValueError) as error:
        name = f"{type(data).__name__}.fingerprint"
        raise ConfigError(f"dataset: {name} must return a dict of plain values, got {own!r} ({error})") from None
    return found or {"settings": _sample_settings(settings["dataset"])}


def count_samples(data: InMemory) -> dict[str, Any]:
    """Count the classes and the samples of each split of loaded data, and hash the labels.

    Of data that say nothing of their files the inputs are hashed too: their settings may be those of others.
    """
    splits = data.splits.values()
    sizes = {name: len(split) for name, split in data.splits.items()}
    found: dict[str, Any] = {**sizes, "classes": data.num_classes}
    found["labels"] = _hash([split.labels for split in splits])
    return found if data.fingerprint() else {**found, "inputs": _hash([split.inputs for split in splits])}


def _hash(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _fingerprint_labels(data: InMemory, settings: Settings) -> Fingerprint:
    rule = build_rule(settings, Plan(settings).replicas[0]["p"], num_classes=data.num_classes)
    if not isinstance(rule, FileLabels):
        return {}
    with as_config_error("noise", type(rule)):
        return {LABEL_FILE: rule.fingerprint()}


def _sample_settings(section: dict[str, Any]) -> dict[str, Any]:
    root = {"root": str(Path(section["root"]).resolve())} if "root" in section else {}
    return {key: value for key, value in {**section, **root}.items() if key not in _WITHOUT_EFFECT}
