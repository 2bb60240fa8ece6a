"""Over how many processes the replicas of a run are spread, with how many threads and which device each."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from noisereg.config.plan import Plan
from noisereg.training.precision import device_type

_BYTES = 1.5 * 2**30  # that a process with its libraries and a data set takes


@dataclass(frozen=True)
class Spread:
    """Over what the replicas of a run are spread.

    Attributes:
        num_workers: that train at the same time; 1 for none beside the process of the run.
        threads: of torch, that each has.
        devices: value of CUDA_VISIBLE_DEVICES for each; None to leave it.
    """

    num_workers: int = 1
    threads: int = 1
    devices: tuple[str, ...] | None = None

    def in_words(self) -> str:
        """Return how many replicas are trained at a time and by what.

        Example:
            >>> Spread(2, threads=1).in_words()
            '2 at a time, each in a process with 1 thread'
            >>> Spread(8, threads=4, devices=("0", "1")).in_words()
            '8 at a time, each in a process with 4 threads, on 2 GPUs'
        """
        if self.num_workers == 1:
            return "one after the other"
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        devices = f", on {len(self.devices)} GPUs" if self.devices else ""
        return f"{self.num_workers} at a time, each in a process with {threads}{devices}"


ALONE = Spread()


def choose_spread(
    plan: Plan, *, num_parts: Callable[[int], int], is_long: bool, begun: Mapping[str, Any] | None = None
) -> Spread:
    """Choose over what the replicas of a run are spread, by the threads, GPUs and memory that this process has.

    Args:
        plan: of the run.
        num_parts: from a number of workers to the number of parts that they can train at the same time.
        is_long: whether it takes more than a minute, beside which the start of processes is short.
        begun: what the record of a run that is gone on with says of its environment; None if it is new.
    """
    asked, own_threads = plan.settings["workers"], plan.settings.get("threads")
    threads = torch.get_num_threads()
    on_gpus = device_type(plan.settings["trainer"]["accelerator"]) == "cuda"
    num_gpus = torch.cuda.device_count() if on_gpus else 0
    if len(plan.replicas) == 1 or plan.num_processes > 1:
        return Spread(threads=threads)
    if asked != "auto":
        num_workers = num_parts(asked)
    elif num_gpus:
        num_workers = num_parts(num_gpus)
    elif begun:  # the bits depend on the number of threads
        num_workers, own_threads = num_parts(begun.get("workers", 1)), begun.get("threads")
    elif own_threads or plan.settings["dataset"].get("workers") or not is_long:
        num_workers = 1
    else:
        num_workers = num_parts(max(1, min(threads, int(_free_bytes() // _BYTES))))
    if num_workers == 1:
        return Spread(threads=own_threads or threads)
    devices = None
    if num_gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(num_gpus)))
        devices = tuple(visible.split(",")[: min(num_gpus, num_workers)])
    return Spread(num_workers, own_threads or max(1, threads // num_workers), devices)


def _free_bytes() -> float:
    """Return how much memory is free, as Linux tells; without end elsewhere."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    return 1024.0 * int(found[1]) if found else float("inf")
