"""Interrupt runs at random moments, resume them, and compare their results with an undisturbed run.

python tests/restarts.py --rounds 40                all cases, 40 interruptions by each signal
python tests/restarts.py --rounds 5 --case fused    one case
"""

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parents[1])]  # as a script it finds only its own folder

from interruptions import INTERRUPTION  # noqa: E402
from run_program import Program, read_result, run_program  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}
_IMAGES = [
    "dataset=image_folder",
    "dataset.root=images",
    "dataset.image_size=8",
    "dataset.batch_size=8",
    "+dataset.eval_batch_size=7",
    "model=resnet20",
    "model.depth=8",
    "recipe=cifar",
    "scheduler.milestones=[3,6]",
    "trainer.max_epochs=8",
    "trainer.accelerator=cpu",
    "noise.p=0.3",
    "callbacks.sparsity.every_n_epochs=2",
    "callbacks.checkpoint.every_n_epochs=1",
]
_REPLICAS = [
    "dataset.train_size=50",
    "dataset.test_size=50",
    "noise.p=[0,0.3]",
    "seeds=3",
    "optimizer.lr=[0.01,0.02]",
    "scheduler=step",
]
_GRID = [
    "dataset.train_size=40",
    "dataset.test_size=50",
    "dataset.batch_size=8",
    "model.hidden=20",
    "optimizer.momentum=0.9",
    "noise.p=[0,0.3]",
    "scheduler=step",
    "scheduler.step_size=2",
    "callbacks.sparsity.every_n_epochs=2",
    "callbacks.checkpoint.every_n_epochs=1",
]
CASES = {
    "minibatches": [*_IMAGES, "dataset.stream=false"],
    "by_steps": [*_IMAGES, "dataset.stream=false", "callbacks.checkpoint.every_n_train_steps=2"],
    "streamed": [*_IMAGES, "dataset.stream=true", "dataset.workers=0"],
    "workers": [*_IMAGES, "dataset.stream=true", "dataset.workers=2"],
    "two_processes": [*_IMAGES, "dataset.stream=false", "trainer=ddp", "trainer.devices=2"],
    "fused": [*_REPLICAS, "engine=fused", "trainer.max_epochs=1200", "callbacks.sparsity.every_n_epochs=200"],
    "one_by_one": [*_GRID, "engine=single", "seeds=2", "trainer.max_epochs=6"],
    "one_by_one_two_processes": [
        *(*_GRID, "engine=single", "seeds=1", "trainer.max_epochs=6"),
        *("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"),
    ],
    "stacked": [*_GRID, "engine=stacked", "seeds=3", "trainer.max_epochs=40", "stopping.extra_epochs=10"],
    "stacked_by_workers": [
        *(*_GRID, "engine=stacked", "seeds=4", "trainer.max_epochs=400", "stopping.extra_epochs=200"),
        *("workers=2", "threads=1"),
    ],
    "blocked": [*_REPLICAS, "engine=blocked", "trainer.max_epochs=200", "callbacks.sparsity.every_n_epochs=50"],
}


class Moment(NamedTuple):
    """When a run is interrupted, by which signal.

    Attributes:
        when: a share of the time of an undisturbed run, or words for `Interruption`.
        signal: that is sent.
    """

    when: float | str
    signal: signal.Signals


class Case:
    """One command, its undisturbed run, and runs of it that are interrupted.

    Args:
        name: one of `CASES`.
        cwd: where the folders are made.
    """

    def __init__(self, name: str, cwd: Path) -> None:
        self.name, self._cwd = name, cwd
        if any("image_folder" in argument for argument in CASES[name]):
            write_images(cwd / "images")
        began = time.monotonic()
        self._whole = self._run("whole").wait()
        self.seconds = time.monotonic() - began
        if self._whole.returncode:
            raise RuntimeError(self._whole.stderr)

    def interrupt_and_compare(self, moments: Sequence[Moment]) -> Counter[signal.Signals]:
        """Run once more, interrupted at each of some moments, resume to the end, and compare it.

        Returns:
            How often each signal came before the end.

        Raises:
            AssertionError: if an exit code or anything of the result is not what it must be.
        """
        folder, interrupted = f"run{time.monotonic_ns()}", Counter[signal.Signals]()
        for moment in moments:
            done = self._interrupt(folder, moment)
            if done.returncode:
                interrupted[moment.signal] += 1
                assert done.returncode in (_CODES[moment.signal], -moment.signal), f"{self.name}, {moment}: {done}"
        last = self._run(folder).wait()
        assert last.returncode == 0, last.stderr
        faults = find_differences(self._cwd / "whole", self._cwd / folder)
        assert not faults, f"{self.name} after {moments}: {', '.join(faults)}"
        return interrupted

    def _interrupt(self, folder: str, moment: Moment) -> "subprocess.CompletedProcess[str]":
        if isinstance(moment.when, str):
            return self._run(folder, INTERRUPT_AT=f"{moment.when} {moment.signal.name}").wait()
        program = self._run(folder)
        time.sleep(moment.when * self.seconds)
        if program.process.is_alive():
            os.kill(program.process.pid, moment.signal)
        return program.wait()

    def _run(self, folder: str, **environment: str) -> Program:
        own = [] if "workers=2" in CASES[self.name] else INTERRUPTION  # they allow no callback of one's own
        arguments = [*CASES[self.name], *own, "logger=csv", f"hydra.run.dir={folder}"]
        return Program(*arguments, cwd=self._cwd, PYTHONPATH=str(Path(__file__).parent), **environment)


def find_differences(whole: Path, other: Path) -> list[str]:
    """Return the names of what two runs' folders do not have in common, bit by bit."""
    faults = []
    if (whole / "metrics.csv").read_text() != (other / "metrics.csv").read_text():
        faults.append("metrics.csv")
    one, two = (read_result(folder) for folder in (whole, other))
    faults += [key for key in ("status", "replicas", "steps") if one[key] != two[key]]
    names = [sorted(path.relative_to(folder) for path in folder.rglob("last.ckpt")) for folder in (whole, other)]
    assert names[0] == names[1] != []
    for name in names[0]:
        states = [torch.load(folder / name, weights_only=True) for folder in (whole, other)]
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "curves", "engine"):
            if not _equal(*(state.get(key) for state in states)):
                faults.append(f"{name}: {key}")
    return faults


def write_images(root: Path) -> None:
    """Write a small folder of images, two classes of 20 to train on and 7 to test on."""
    draws = torch.Generator().manual_seed(0)
    for split, count in (("train", 20), ("test", 7)):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = torch.randint(256, (8, 8, 3), dtype=torch.uint8, generator=draws)
                Image.fromarray(pixels.numpy()).save(root / split / label / f"{number}.png")


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one.nan_to_num(7.0), two.nan_to_num(7.0)) and torch.equal(one.isnan(), two.isnan())
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_equal, one, two))
    return one == two or (isinstance(one, float) and math.isnan(one) and math.isnan(two))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="interruptions by each signal, over all cases")
    parser.add_argument("--case", choices=CASES, nargs="*", default=list(CASES))
    parser.add_argument("--signal", choices=[number.name for number in SIGNALS], nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draws, interrupted = random.Random(options.seed), {name: Counter[signal.Signals]() for name in options.case}
    with tempfile.TemporaryDirectory() as folder:
        run_program("--help", cwd=Path(folder))  # loads the libraries, which no undisturbed run is to count
        cases = []
        for name in options.case:
            (Path(folder) / name).mkdir()
            cases.append(Case(name, Path(folder) / name))
            print(f"{name}: {cases[-1].seconds:.1f} s undisturbed", flush=True)
        for number in [signal.Signals[name] for name in options.signal or (number.name for number in SIGNALS)]:
            while sum(counts[number] for counts in interrupted.values()) < options.rounds:
                for case in cases:
                    moments = [Moment(draws.uniform(0.05, 1), number) for _ in range(2)]
                    interrupted[case.name] += case.interrupt_and_compare(moments)
                print(number.name, {name: counts[number] for name, counts in interrupted.items()}, flush=True)
    print("all bit-equal")


if __name__ == "__main__":
    sys.exit(main())
