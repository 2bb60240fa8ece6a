"""The labels that a rule drew in a run, sample by sample, and files of them."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from noisereg.config.check import Settings
from noisereg.datasets import InMemory
from noisereg.files.atomic import write_atomically
from noisereg.noise import Constant, Corruption, Rule
from noisereg.noise.file_labels import CLEAN, FILE, GIVEN, INDEX
from noisereg.training.build import build_schedule

FORMATS = (".csv", ".npy")


def drawn_labels(settings: Settings, data: InMemory, *, rule: Rule, seed: int, epoch: int | None) -> pd.DataFrame:
    """Draw the labels of a replica again.

    Args:
        settings: the whole configuration of the run.
        data: of the replica.
        rule: of the replica.
        seed: of the replica.
        epoch: from 0; None for noise that is the same in each.

    Returns:
        A row for each sample of the training split, see `TrainedRun.labels`.

    Raises:
        ValueError: if samples have no one label, or none without an epoch, or there is no such epoch.
    """
    schedule, num_epochs = build_schedule(settings), settings["trainer"]["max_epochs"]
    if rule.expected:
        raise ValueError("noise.expected=true draws no labels: the targets are their laws")
    if not rule.frozen and settings["dataset"].get("order") == "replacement":
        raise ValueError(
            "dataset.order=replacement draws a sample several times in an epoch, or never, each time with another "
            "label: there is one label a sample under noise.frozen=true, or dataset.order=shuffle"
        )
    if epoch is None and not (rule.keeps_labels and isinstance(schedule, Constant)):
        raise ValueError(f"labels are drawn anew in each epoch: give --epoch, from 0 to {num_epochs - 1}")
    if epoch is not None and epoch not in range(num_epochs):
        raise ValueError(f"--epoch must be a whole number from 0 to {num_epochs - 1}, got {epoch}")
    draw = int(epoch or 0)
    samples, split = data.training_samples(), data.splits["train"]
    corruption = Corruption(rule, num_classes=data.num_classes, seed=seed)
    factor = schedule.factor(draw, num_epochs)
    given = corruption(split.labels, draw=draw, index=torch.arange(len(split)), factor=factor)
    places = samples.trained.tolist()
    names = {} if samples.names is None else {FILE: [samples.names[place] for place in places]}
    return pd.DataFrame({INDEX: places, **names, CLEAN: split.labels.numpy(), GIVEN: given.numpy()})


def write_labels(table: pd.DataFrame, path: Path) -> None:
    """Write labels to a file that `noise=file` reads: whole or not at all, and over no other file.

    Args:
        table: of labels.
        path: of a .csv, or of an .npy, whose numbers then have the names of the columns.

    Raises:
        ValueError: if its name is that of another kind of file, or there is one already.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--output={path} must end in {' or '.join(FORMATS)}")
    content = io.BytesIO()
    if path.suffix == ".csv":
        content.write(table.to_csv(index=False).encode("utf-8", "surrogateescape"))
    else:
        kinds = [(name, f"U{max(map(len, table[name]))}" if name == FILE else "i8") for name in table]
        np.save(content, np.array(list(table.itertuples(index=False, name=None)), dtype=kinds), allow_pickle=False)
    try:
        write_atomically(path, content.getvalue(), is_new=True)
    except FileExistsError:
        raise ValueError(f"--output={path} exists; name another file, or remove it first") from None
