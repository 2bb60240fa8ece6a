"""`noisereg prune RUN`: the networks of a run without the units that never fire on its training data.

It shows that the outputs on the training data stay what they were, says on how many test samples they do not, and
prints parameters, multiplications and the measured speed before and after.
"""

import math
import statistics
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from rich.console import Console

from noisereg.labels import DIVERGED, in_words
from noisereg.parsers import prune_parser
from noisereg.terminal import plain_text, print_lines, run_command
from noisereg.training.load import TrainedRun
from noisereg.training.prune import Pruned, prune, save_pruned
from noisereg.training.run_arguments import load_asked, replica_asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Prune the replicas of a run, or one of them."""
    return run_command(_prune, parser=prune_parser(), arguments=arguments)


def _prune(asked: Namespace, console: Console) -> int:
    if asked.tau is not None and not 0 <= asked.tau < math.inf:
        raise ValueError(f"--tau must be a number, at least 0, got {asked.tau}")
    run = load_asked(asked, console)
    folder = asked.output or run.run.folder / "pruned"
    for which in _replicas(run, replica_asked(asked)):
        path = folder / f"{_name(which, asked.tau)}.pt"
        if path.exists():
            raise ValueError(f"{path} exists; name another folder by --output, or remove it first")
        try:
            with console.status(f"pruning {_name(which, asked.tau)}"):
                pruned = prune(run.network(**which), lambda split: run.whole_split(split, **which), tau=asked.tau)  # noqa: B023 - called at once
                lines = list(describe(pruned, next(iter(run.batches("test", **which)))["input"]))
        except ArithmeticError as error:
            print(plain_text(f"error: {error}"), file=sys.stderr)
            return 1
        save_pruned(pruned, path, replica=which, tau=asked.tau)
        print_lines(console, _name(which, asked.tau), *lines, f"  {path}")
    return 0


def describe(pruned: Pruned, inputs: torch.Tensor) -> Iterator[str]:
    """Describe in lines what was taken out of a network, and what that changed."""
    for layer in pruned.found.layers:
        dead, kept = int((pruned.scores[layer.name].fires == 0).sum()), len(pruned.kept[layer.name])
        last = ", as one must stay" if kept == 1 and dead == layer.size else ""
        yield f"  {layer.name}: {layer.size} units, {dead} never fire, {kept} are kept{last}"
    for place, reason in pruned.found.left_alone.items():
        yield f"  {place} is left as it is: {reason}"
    train, test = pruned.train, pruned.test
    yield (
        f"  train: outputs differ by at most {train.largest_difference:.2g} (rounding: {train.tolerance:.2g}) on "
        f"{len(train.labels):,} samples; error {train.errors[0]:.4%} -> {train.errors[1]:.4%}"
    )
    yield (
        f"  test: outputs differ on {test.num_differing:,} of {len(test.labels):,} samples, the class on "
        f"{test.num_classes_changed:,}; error {test.errors[0]:.4%} -> {test.errors[1]:.4%}"
    )
    inputs = inputs.to(next(pruned.network.parameters()).dtype)
    parameters, multiplications = pruned.num_parameters(), pruned.num_multiplications(inputs[:1])
    yield f"  parameters {parameters[0]:,} -> {parameters[1]:,}"
    yield f"  multiplications a sample {multiplications[0]:,.0f} -> {multiplications[1]:,.0f}"
    if parameters[0] == parameters[1]:
        yield "  nothing was taken out, so no speed was measured"
        return
    rounds = pruned.seconds(inputs)
    before, after = (1e6 * statistics.median(column) for column in zip(*rounds, strict=True))
    low, middle, high = statistics.quantiles(one / other for one, other in rounds)
    yield (
        f"  {before:.3g} -> {after:.3g} us a sample, {middle:.2f} times as fast (median of {len(rounds)} rounds, half "
        f"of them from {low:.2f} to {high:.2f}, {torch.get_num_threads()} threads)"
    )


def _replicas(run: TrainedRun, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what names each replica that was asked for, without those that have diverged."""
    found, ended_by = run.find_replicas(**asked), run.ended_by
    left = [run.replica_names[number] for number in found if ended_by[number] not in DIVERGED]
    if not left:
        words = " ".join(f"--{key} {in_words(value)}" for key, value in asked.items()) or "the run"
        what = "names no replica of" if not found else "has only replicas that diverged, in"
        raise ValueError(f"{words} {what} {run.run.folder}")
    return left


def _name(which: dict[str, Any], tau: float | None) -> str:
    return ",".join(f"{key}={value}" for key, value in {**which, **({} if tau is None else {"tau": tau})}.items())
