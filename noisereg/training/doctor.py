"""`noisereg doctor`: what a run would find on this machine, as text to paste into a report of a fault."""

import os
import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from noisereg.datasets import Cifar10, Cifar100, FashionMnist, Mnist
from noisereg.datasets.download import torchvision_dataset
from noisereg.files.cache import cache_folder
from noisereg.files.disk import existing_folder
from noisereg.parsers import doctor_parser
from noisereg.report.page.cells import commit_of
from noisereg.runs.environment import describe_environment
from noisereg.runs.wandb_run import wandb_mode
from noisereg.terminal import print_lines, run_command
from noisereg.training.precision import bfloat16_speed

_GIB = 2**30


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a run would find."""
    return run_command(_print_findings, parser=doctor_parser(), arguments=arguments)


def _print_findings(asked: Namespace, console: Console) -> None:
    print_lines(console, *(f"{name:<9} {value}" for name, value in examine(asked.root)))


def examine(root: Path) -> list[tuple[str, str]]:
    """Return what a run would find on this machine, line by line.

    Of a key for W&B it says only what follows from it: whether runs are online.

    Example:
        >>> [name for name, _ in examine(Path("data"))][:3]
        ['noisereg', 'commit', 'python']
    """
    found = describe_environment(torch.device("cpu"))
    devices = [f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    packages = dict(found["packages"])
    lines = [
        ("noisereg", str(packages.pop("noisereg"))),
        ("commit", commit_of(found) or "none: installed"),
        ("python", f"{found['python']} on {found['platform']}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("devices", ", ".join([found["device"], *devices])),
        ("threads", f"{found['threads']} of torch, {len(os.sched_getaffinity(0))} cores for this process"),
        ("bfloat16", f"a convolution has {bfloat16_speed():.1f} times the speed of float32 on this CPU"),
        ("runs", _describe_disk(Path.cwd())),
        ("cache", _describe_disk(cache_folder())),
        ("W&B", wandb_mode()),
    ]
    return lines + [("data", line) for line in _find_data(root)]


def _describe_disk(folder: Path) -> str:
    existing = existing_folder(folder)
    writable = "" if os.access(existing, os.W_OK) else ", NOT WRITABLE"
    return f"{folder}: {shutil.disk_usage(existing).free / _GIB:.1f} GiB free{writable}"


def _find_data(root: Path) -> list[str]:
    """Return a line for each data set of ours that lies below a folder; they are not read."""
    places = {
        Mnist.source: [Mnist.folder],
        FashionMnist.source: [FashionMnist.folder],
        **{
            data.title: [torchvision_dataset(data.original).base_folder, data.stem, f"{data.stem}.tgz"]
            for data in (Cifar10, Cifar100)
        },
    }
    found = [f"{name}: {root / place}" for name, below in places.items() for place in below if (root / place).exists()]
    return found or [f"none in {root}: MNIST and CIFAR would be downloaded to it"]
