"""A finished run in Python: its numbers as tables, its networks with their weights, and its data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import nn

from noisereg.config.check import Settings
from noisereg.config.composing import check_safe
from noisereg.config.plan import Plan
from noisereg.config.run_folder import RECORD
from noisereg.config.same_run import LABEL_FILE, Fingerprint, recorded_fingerprint, refuse_other_data, result_settings
from noisereg.datasets import InMemory
from noisereg.engine.stack import Stack
from noisereg.errors import ConfigError
from noisereg.labels import DIVERGED, name_replica
from noisereg.noise import FileLabels
from noisereg.runs.checkpoints import find_checkpoint
from noisereg.runs.reading import Run, find_runs
from noisereg.training.build import as_config_error, build_data, build_model, build_rule, convert_weights
from noisereg.training.data_fingerprint import count_samples, fingerprint_samples
from noisereg.training.drawn_labels import drawn_labels
from noisereg.training.label_file import assign_labels


@dataclass(frozen=True)
class TrainedRun:
    """A run that has ended, as `load` returns it.

    Args:
        run: what its folder holds.
        settings: its checked configuration.
    """

    run: Run
    settings: Settings

    @property
    def replicas(self) -> pd.DataFrame:
        """A row for each replica as it ended: p, seed, lr if there are several, and the last value of each metric."""
        return self.run.replicas

    @property
    def ended_by(self) -> list[str]:
        """What ended the training of each replica, in the order of `replica_names`.

        Raises:
            ConfigError: if the record has other replicas than its configuration stands for.
        """
        rows = self.run.rows
        if [{key: row.get(key) for key in self.replica_names[0]} for row in rows] != self.replica_names:
            raise ConfigError(
                f"{RECORD} of {self.run.folder} is damaged: its replicas are not those of its configuration, "
                f"{', '.join(self._plan.folder_names()[:5])}"
            )
        return [str(row.get("ended_by", "")) for row in rows]

    @property
    def curves(self) -> pd.DataFrame:
        """A row for each replica and measurement: step, epoch, p, seed, and a column for each metric."""
        return self.run.curves()

    def network(self, **which: float) -> nn.Module:
        """Return the trained network of one replica, on the CPU and in eval mode.

        Args:
            **which: p, seed or lr, as far as they are needed to name one replica.

        Raises:
            ValueError: if they name none or several, or one that diverged: what is left of it is from before its end.
            ConfigError: if its checkpoint is missing, broken or of another run, or the data are others by now.
        """
        number, replica = self._find(which)
        end = next((row.get("ended_by") for row in self.run.rows[number : number + 1]), None)
        if end in DIVERGED:
            name = name_replica(self.replica_names[number])
            raise ValueError(f"{name} diverged ({end}) and has no network; `ended_by` says which replicas did")
        data = self._data(replica["seed"])
        shape, classes = data.input_shape, data.num_classes
        model = build_model(self.settings, replica["seed"], input_shape=shape, num_classes=classes)
        self._load_weights(convert_weights(model, self.settings), number, data)
        return model.eval()

    def batches(self, split: str = "test", **which: float) -> Iterable[dict[str, Any]]:
        """Return the batches of a split that a replica is evaluated on, as its network takes them.

        Args:
            split: test, train or, if the run has one, val.
            **which: p, seed or lr, as far as they are needed to name one replica.

        Returns:
            Dictionaries with `input` (batch, *shape) and `label` (batch,), the clean class index.

        Raises:
            ValueError: if they name none or several, or there is no such split.
            ConfigError: if the data are others by now.
        """
        data = self._data(self._find(which)[1]["seed"])
        _check_split(split, data.eval_splits)
        return data.eval_loader(split)

    def labels(self, *, epoch: int | None = None, **which: float) -> pd.DataFrame:
        """Return the labels that one replica was trained on, as its rule drew them.

        Args:
            epoch: from 0; None for noise that is the same in each.
            **which: p, seed or lr, as far as they are needed to name one replica.

        Returns:
            A row for each sample of the training split: `index`, its number in the whole data set; `file`, the name of
            its image, if it has one; `clean` and `given`, its labels.

        Raises:
            ValueError: if they name none or several, or there is no one label a sample, or none without an epoch.
            ConfigError: if the data, or the file that labels were read from, are others by now.
        """
        replica = self._find(which)[1]
        data = self._data(replica["seed"])
        rule = build_rule(self.settings, replica["p"], num_classes=data.num_classes)
        if isinstance(rule, FileLabels):
            rule = self._assign(rule, data)
        return drawn_labels(self.settings, data, rule=rule, seed=replica["seed"], epoch=epoch)

    def whole_split(self, split: str, **which: float) -> Iterable[dict[str, Any]]:
        """Return the batches of all samples of a split, as `batches` makes them of those that are evaluated."""
        data = self._data(self._find(which)[1]["seed"])
        _check_split(split, data.splits)
        return data.whole_loader(split)

    @property
    def replica_names(self) -> list[dict[str, Any]]:
        """What names each replica: p, seed and, if there are several learning rates, lr."""
        return self._plan.names

    def _assign(self, rule: FileLabels, data: InMemory) -> FileLabels:
        """Return a rule with the labels of its file, which must be the one that the run has read."""
        with as_config_error("noise", type(rule)):
            found = {LABEL_FILE: rule.fingerprint()}
        old = {key: value for key, value in self._fingerprint.items() if key == LABEL_FILE}
        refuse_other_data(old, found, folder=self.run.folder, key="run")
        return assign_labels(rule, [data.seed], lambda seed: data)[0]

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self.settings)

    def _data(self, seed: int) -> InMemory:
        data = build_data(self.settings, seed)
        found = {key: value for key, value in self._fingerprint.items() if key != LABEL_FILE}  # which is not needed
        refuse_other_data(found, fingerprint_samples(data, self.settings), folder=self.run.folder, key="run")
        return data

    @property
    def _fingerprint(self) -> Fingerprint:
        return recorded_fingerprint(self.run.record)

    def _load_weights(self, model: nn.Module, number: int, data: InMemory) -> None:
        """Load the weights of a replica from the checkpoint of its part, if they are of its data."""
        part = self._plan.part_of(number, self.run.folder)
        folder, number = part.folder, part.numbers.index(number)
        if data.seed != (first := part.plan.replicas[0]["seed"]):
            data = self._data(first)  # whose samples are counted
        origin = {"settings": result_settings(part.plan.settings), "fingerprint": self._fingerprint}
        origin["samples"] = count_samples(data)
        path = find_checkpoint(folder / "checkpoints", origin if self._fingerprint else None)
        if path is None:
            raise ConfigError(f"{folder} has no whole checkpoint, and so no weights")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        try:
            saved = checkpoint["state_dict"]
            if stacked := _below("networks.networks.", saved):  # of `StackedNetworks`
                model.load_state_dict({name: tensor[number] for name, tensor in stacked.items()})
            elif weights := _below("networks.", saved):
                stack = Stack.of([model] * len(part.numbers))
                stack.load_state_dict(weights)
                stack.copy_to(model, number)
            else:
                model.load_state_dict(_below("model.", saved))
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:  # of another program
            words = " ".join(str(error).split())
            raise ConfigError(f"{path} does not hold the weights of these networks: {words}") from None

    def find_replicas(self, **which: float) -> list[int]:
        """Return the numbers of the replicas that have certain values, in the order of `replica_names`.

        Args:
            **which: p, seed or lr, whether or not there are several.
        """
        replicas = enumerate(self._plan.replicas)
        return [number for number, own in replicas if all(own.get(key) == value for key, value in which.items())]

    def _find(self, which: dict[str, float]) -> tuple[int, dict[str, Any]]:
        """Return the number of one replica, with its values of p, seed and lr."""
        found = self.find_replicas(**which)
        if len(found) != 1:
            asked = name_replica({key: repr(value) for key, value in which.items()}) or "nothing more"
            raise ValueError(f"{asked} names {len(found)} of the replicas {', '.join(self._plan.folder_names()[:5])}")
        return found[0], self._plan.replicas[found[0]]


def _below(prefix: str, tensors: Any) -> dict[str, Any]:
    """Return the tensors whose names begin so, by what follows."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_split(split: str, known: Iterable[str]) -> None:
    if split not in known:
        raise ValueError(f"split must be one of {', '.join(known)}, got {split!r}")


def load(
    folder: Path | str, *, arm: str = "", trust: Sequence[str] = (), dataset_root: Path | str | None = None
) -> TrainedRun:
    """Load a run that `python train.py` has finished.

    Its configuration is checked as if it were given anew: it builds nothing that noisereg does not know, but from the
    packages that are trusted here.

    Args:
        folder: of the run.
        arm: of the experiment that the run is; empty if it is none.
        trust: packages of your own that its parts are defined in.
        dataset_root: where the data lie now, if they were moved, or named from another working directory.

    Returns:
        The run: `replicas` and `curves` as tables, `network(p=..., seed=...)`, `batches(...)` and `labels(...)`.

    Raises:
        ValueError: if the folder holds no run of its own, or its data have no root.
        ConfigError: if the run is not finished, has arms of which none is named, or its configuration is refused.

    Example:
        >>> load("nowhere")
        Traceback (most recent call last):
        ValueError: nowhere is no folder and no result.json
    """
    record = Path(folder) / arm / RECORD
    if not record.exists():
        runs = find_runs([folder])
        raise ValueError(f"{record.parent} holds no run of its own, but {len(runs)} below it, such as {runs[0].folder}")
    (run,) = find_runs([record])
    if run.status != "finished":
        reason = f" ({run.reason})" if run.reason else ""
        raise ConfigError(f"{run.folder} holds no finished run: it is {run.status}{reason}")
    if run.arms:
        raise ConfigError(f"{run.folder} holds the arms of an experiment; give arm={run.arms[0]}, or another one")
    lines = [f"trust=[{','.join(trust)}]"] if trust else []
    settings = check_safe(OmegaConf.create({**run.config, "trust": list(trust)}), lines)
    if chosen := run.environment.get("precision"):
        settings["trainer"] = {**settings["trainer"], "precision": chosen}
    if dataset_root is not None:
        if "root" not in settings["dataset"]:
            raise ValueError(f"dataset_root={dataset_root}: the data of {run.folder} are read from no folder")
        settings["dataset"] = {**settings["dataset"], "root": str(dataset_root)}
    return TrainedRun(run, settings)
