"""Noise that is read from a file: its labels for the samples of each seed, and what a run says of them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.datasets import InMemory
from noisereg.errors import ConfigError
from noisereg.noise import FileLabels, Rule
from noisereg.training.build import as_config_error

_MOST_PRINTED = 10  # classes of a matrix that is printed whole
_MOST_NAMED = 5  # of the changes that are named where it is not
_DIGITS = 6  # of a rate in the record


def assign_labels(rule: FileLabels, seeds: Sequence[int], build_data: Callable[[int], InMemory]) -> list[FileLabels]:
    """Return the rule of each replica, with the labels of its training samples; the file is read once.

    Args:
        rule: as it is configured.
        seeds: of each replica.
        build_data: builds the data of a seed, set up.

    Raises:
        ConfigError: if the labels do not fit the samples of a seed, or nothing tells which seed they are of.
    """
    of_seed: dict[int, FileLabels] = {}
    first_labels: Tensor | None = None
    for seed in dict.fromkeys(seeds):
        data = build_data(seed)
        with as_config_error("noise", type(rule)):
            samples = data.training_samples()
            of_seed[seed] = rule.of(samples, num_classes=data.num_classes)
        if not data.depends_on_seed:
            return [of_seed[seed] for _ in seeds]
        first_labels = samples.labels if first_labels is None else first_labels
        if of_seed[seed].clean_column is None and not torch.equal(first_labels, samples.labels):
            raise ConfigError(
                f"noise.path={rule.path} has no clean labels, and the samples of seed {seed} are others than those of "
                f"seed {next(iter(of_seed))}: add a column clean, or train one seed"
            )
    return [of_seed[seed] for seed in seeds]


def record_labels(rule: Rule) -> dict[str, Any]:
    """Return what the record says of the file that a rule has its labels from; nothing of another rule."""
    if not (isinstance(rule, FileLabels) and (assigned := rule.assigned)):
        return {}
    found = {
        "path": rule.path,
        "column": rule.column,
        "clean_column": rule.clean_column,
        "labels": int(assigned.counts.sum()),
        "rate": round(assigned.rate, _DIGITS),
        "transition": [[round(entry, _DIGITS) for entry in row] for row in assigned.law().tolist()],
    }
    return {"label_file": found}


def describe_labels(rule: Rule) -> list[str]:
    """Describe the labels that a rule has from a file: how many are wrong, and which become which; else nothing."""
    if not (isinstance(rule, FileLabels) and (assigned := rule.assigned)):
        return []
    number, law = int(assigned.counts.sum()), assigned.law()
    checked = f"{rule.clean_column} is as in the data" if rule.clean_column else "it has no clean ones to check them by"
    column = f"{rule.column} of " if rule.column else ""
    first = f"labels  {column}{rule.path}: {assigned.rate:.2%} of {number:,} are not the clean ones; {checked}"
    return [first, *(_matrix_lines(law) if len(law) <= _MOST_PRINTED else [_most_frequent(law)])]


def _matrix_lines(law: Float64[Tensor, "classes classes"]) -> list[str]:
    classes = range(len(law))
    head = "        clean" + "".join(f"{f'to {given}':>7}" for given in classes)
    return [head, *(f"        {y:>5}" + "".join(f"{entry:7.3f}" for entry in law[y].tolist()) for y in classes)]


def _most_frequent(law: Float64[Tensor, "classes classes"]) -> str:
    """Name the changes that are the most frequent ones of a class."""
    changes = law - torch.diag(law.diag())
    shares, places = changes.flatten().topk(_MOST_NAMED)
    named = [
        f"{place // len(law)} to {place % len(law)} {share:.1%}"
        for share, place in zip(shares.tolist(), places.tolist(), strict=True)
        if share > 0
    ]
    return f"        most often {', '.join(named)} of a class" if named else "        no label changes"
