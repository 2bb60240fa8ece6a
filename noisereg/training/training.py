"""What a run needs of a training, whichever engine trains its replicas."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console

from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.config.run_folder import ANALYSIS, CURVES, FIRES
from noisereg.config.same_run import Fingerprint, refuse_other_data, result_settings
from noisereg.config.sections import model_name, target_name
from noisereg.datasets import InMemory
from noisereg.engine.measurement import Observer
from noisereg.files.atomic import write_atomically
from noisereg.labels import DIVERGED, in_words
from noisereg.noise import FileLabels, NoNoise, Rule
from noisereg.runs.checkpoints import find_checkpoint
from noisereg.runs.curves import Curves
from noisereg.runs.environment import is_first_process
from noisereg.runs.journal import Journal
from noisereg.runs.progress import Display
from noisereg.terminal import print_lines
from noisereg.training.analysis import Analysis
from noisereg.training.build import build_data, build_rule
from noisereg.training.data_fingerprint import count_samples, fingerprint_of
from noisereg.training.label_file import assign_labels, describe_labels
from noisereg.training.precision import FLOAT32, ChosenPrecision

# of the network that early stopping would have left
_SELECTED = ("val/error", "train/active_neurons", "train/active_fraction")


class Place(NamedTuple):
    """Where a training of some replicas is in the run that it is a part of.

    Attributes:
        run: the plan of the whole run.
        numbers: of these replicas in it.
        display: of the whole run.
        number: of the training on that display.
    """

    run: Plan
    numbers: Sequence[int]
    display: Display
    number: int


class Training(ABC):
    """The replicas of a plan, ready to be trained in a folder.

    Args:
        plan: of the run.
        data: of the first seed.
        folder: of the run.
        console: to print on.

    Attributes:
        fingerprint: of the data.
        curves: of all replicas.
        observers: further ones of what is measured; to be added before the training begins.
        rules: of each replica.
        device: that the weights are on while they are trained.
        num_weights: parameters of one replica.
        num_bytes: of what a checkpoint holds of the networks that are trained at once.
        engine: which one trains how many replicas at once, in words.
        precision: that they are trained in, and why if the configuration leaves it open.
        num_workers: processes that train its replicas at the same time.
        steps: of the optimiser that each replica has made which was not stopped.
        has_diverged: whether all replicas have.
    """

    device: torch.device
    num_weights: int
    num_bytes: int
    engine: str
    steps: int
    precision = ChosenPrecision(FLOAT32)
    num_workers = 1
    has_diverged = False

    def __init__(self, plan: Plan, data: InMemory, *, folder: Path, console: Console) -> None:
        self.plan, self.data, self.folder, self.console = plan, data, folder, console
        self.settings, self.fingerprint = plan.settings, fingerprint_of(data, plan.settings)
        path = folder / CURVES if self.settings["logger"]["csv"] else None
        self.curves = Curves(path, plan.names, journal=Journal(folder / "checkpoints"))
        self.observers: list[Observer] = []
        self.rules = self._build_rules()

    @abstractmethod
    def train(self) -> None:
        """Train from the start, or from the last checkpoint in the run's folder, and save the end."""

    @abstractmethod
    def finish(self) -> list[dict[str, Any]]:
        """Analyse the trained replicas, write what figures are drawn of, and return a flat row for each replica."""

    @property
    def origin(self) -> dict[str, Any]:
        """What the checkpoints of this training are of: its configuration, its data and the samples loaded of them."""
        settings = result_settings(self.settings)
        return {"settings": settings, "fingerprint": self.fingerprint, "samples": count_samples(self.data)}

    @cached_property
    def start(self) -> Path | None:
        """The checkpoint that the training goes on from; None if it is new.

        Raises:
            ConfigError: if it is of another run.
        """
        return find_checkpoint(self.folder / "checkpoints", self.origin)

    def build_data(self, seed: int) -> InMemory:
        """Build the data of a seed, or return those that are there already.

        Raises:
            ConfigError: if the files are others by now: all replicas have the same.
        """
        if seed == self.plan.replicas[0]["seed"]:
            return self.data
        return build_same_data(self.settings, seed, fingerprint=self.fingerprint, folder=self.folder)

    def _build_rules(self) -> list[Rule]:
        """Build the rule of each replica; those of one strength are one object, which nothing changes."""
        replicas, num_classes = self.plan.replicas, self.data.num_classes
        by_p = {p: build_rule(self.settings, p, num_classes=num_classes) for p in self.plan.axes["p"]}
        rules = [by_p[replica["p"]] for replica in replicas]
        if not isinstance(rules[0], FileLabels):
            return rules
        seeds = [replica["seed"] for replica in replicas]
        assigned = assign_labels(rules[0], seeds, self.build_data)
        return [replace(rule, p=replica["p"]) for rule, replica in zip(assigned, replicas, strict=True)]

    def headlines(self) -> list[str]:
        """Describe in a few lines what is about to be trained."""
        settings, rule = self.settings, min(self.rules, key=lambda rule: rule.p)
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.data.splits.items())
        model, loss = model_name(settings["model"]), target_name(settings["loss"])
        rates = dict.fromkeys(f"{rule.effective_rate(self.data.num_classes):g}" for rule in self.rules)
        return [
            f"data    {self.data.source}: {sizes} samples, {self.data.num_classes} classes",
            f"model   {model}, {self.num_weights:,} weights; loss {loss}",
            f"noise   {describe(rule)}"
            + ("" if isinstance(rule, NoNoise) else f" p = {', '.join(in_words(p) for p in self.plan.axes['p'])}")
            + f": a label changes with probability {', '.join(rates)}",
            *describe_labels(rule),
            f"engine  {self.engine}",
            *([f"numbers precision {self.precision.name}: {self.precision.reason}"] if self.precision.reason else []),
        ]

    def leave_results(
        self, analyses: Sequence[Analysis], fires: np.ndarray | None, status: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Write what figures are drawn of, and return a flat row of values for each replica.

        Args:
            analyses: of each replica.
            fires: how often each unit fired for each class, (R, classes, units); None if there is no one layer.
            status: how long each replica was trained, and what ended that.
        """
        for note in dict.fromkeys(note for analysis in analyses for note in analysis.notes):
            print_lines(self.console, f"not analysed: {note}")
        if is_first_process():
            named = {
                f"{number}/{name}": array
                for number, analysis in enumerate(analyses)
                for name, array in analysis.arrays.items()
            }
            save_arrays(self.folder / ANALYSIS, named)
            save_arrays(self.folder / FIRES, {} if fires is None else {"train": fires})
        parts = (
            self.plan.names,
            self.curves.last(),
            self.curves.best("test/error"),
            self.curves.best("test/error", by="val/error", beside=_SELECTED, name="selected"),
            [analysis.values for analysis in analyses],
            status,
        )
        rows = [
            {
                key: value
                for values in of_one
                for key, value in values.items()
                if not (isinstance(value, float) and math.isnan(value))
            }
            for of_one in zip(*parts, strict=True)
        ]
        return [self._without_end(row) if row["ended_by"] in DIVERGED else row for row in rows]

    def _without_end(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what is left of a replica that diverged: its name and how it ended, as no value is that of its end."""
        kept = (*self.plan.names[0], "epochs", "ended_by", "fitted_epoch")
        return {key: row[key] for key in kept if key in row}


def build_same_data(settings: Settings, seed: int, *, fingerprint: Fingerprint, folder: Path) -> InMemory:
    """Build the data of another seed of a run.

    Raises:
        ConfigError: if the files are others by now: all replicas have the same.
    """
    data = build_data(settings, seed)
    refuse_other_data(fingerprint, fingerprint_of(data, settings), folder=folder)
    return data


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an .npz file, if there are any."""
    if arrays:
        write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def describe(rule: Rule) -> str:
    """Describe a rule and its mode.

    Example:
        >>> from noisereg.noise import Flip
        >>> describe(Flip(p=0.1))
        'Flip, drawn anew each time,'
        >>> describe(NoNoise())
        'none'
    """
    if isinstance(rule, NoNoise):
        return "none"
    if isinstance(rule, FileLabels) and rule.p == 1:  # nothing is left to be drawn
        return f"{type(rule).__name__}, as in the file,"
    mode = "in expectation" if rule.expected else "drawn once a sample" if rule.frozen else "drawn anew each time"
    return f"{type(rule).__name__}, {mode},"
