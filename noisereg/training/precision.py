"""The precision of a training that the configuration leaves open: the fastest that the device at hand computes in.

A GPU or CPU with instructions for bfloat16 computes convolutions at least twice as fast in it. Where it is emulated, as
on most laptops and many servers, they take five to seven times as long as in float32.
"""

import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisereg.files.cache import cached

AUTO, FLOAT32, BFLOAT16 = "auto", "32-true", "bf16-mixed"
_WORTH_IT = 1.2  # times as fast as float32, as mixed precision also converts weights and activations
_TRIES = 7


@dataclass(frozen=True)
class ChosenPrecision:
    """The precision of a training.

    Attributes:
        name: of it, as Lightning has it.
        reason: why it was chosen; empty if the configuration names it.
    """

    name: str
    reason: str = ""


def choose_precision(trainer: dict[str, Any], *, begun: str | None = None, engine: str = "auto") -> ChosenPrecision:
    """Return the precision that the configuration names, or the fastest one on this machine.

    Args:
        trainer: section of the configuration.
        begun: precision that the run began with, perhaps on another machine, and keeps; None if it is new.
        engine: that the configuration asks for: only `single` computes in mixed precision.

    Example:
        >>> choose_precision({"accelerator": "cpu", "precision": "64-true"}).name
        '64-true'
        >>> choose_precision({"accelerator": "cpu", "precision": "auto"}, begun="bf16-mixed")
        ChosenPrecision(name='bf16-mixed', reason='as the run began')
    """
    if str(trainer["precision"]) != AUTO:
        return ChosenPrecision(str(trainer["precision"]))
    if begun is not None:
        return ChosenPrecision(begun, "as the run began")
    if engine not in (AUTO, "single"):
        return ChosenPrecision(FLOAT32, f"engine={engine} computes in it")
    return _fastest_on(device_type(trainer["accelerator"]))


def bfloat16_speed() -> float:
    """Measure how many times as fast as in float32 this CPU computes a convolution in bfloat16.

    The least of several interleaved times is taken, on one thread: it does not depend on what else the machine does. It
    takes .1 s where bfloat16 is fast and below 1 s where it is not.

    Example:
        >>> 0 < bfloat16_speed() < 100
        True
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        convolutions = [_convolution(dtype) for dtype in (torch.float32, torch.bfloat16)]
        times = [[_seconds(convolution) for convolution in convolutions] for _ in range(1 + _TRIES)]
    finally:
        torch.set_num_threads(threads)
    float32, bfloat16 = (min(of_one[1:]) for of_one in zip(*times, strict=True))  # the first one prepares
    return float32 / bfloat16


def _fastest_on(kind: str) -> ChosenPrecision:
    """Return the faster of bf16-mixed and 32-true on a kind of device."""
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ChosenPrecision(BFLOAT16 if native else FLOAT32, f"this GPU has {'' if native else 'no '}bfloat16")
    if kind != "cpu":
        return ChosenPrecision(FLOAT32, f"on {kind}")
    # Measured once, so that all runs of a CPU, such as the jobs of a sweep, compute in the same precision.
    measured = cached("bfloat16", _this_cpu(), lambda: {"speed": np.array(bfloat16_speed())})
    kept = measured.get("speed", np.array(0))
    speed = kept.item() if kept.dtype == float and kept.size == 1 and kept > 0 else bfloat16_speed()  # changed by hand
    name = BFLOAT16 if speed > _WORTH_IT else FLOAT32
    return ChosenPrecision(name, f"a convolution in bfloat16 has {speed:.1f} times the speed of float32 on this CPU")


def _this_cpu() -> tuple[object, ...]:
    """Return all that the speeds of a convolution depend on."""
    limits = [os.environ.get(name) for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")]
    found = Path("/proc/cpuinfo")
    names = (
        re.findall(r"^(?:model name|flags|Features)\s*: (.*)$", found.read_text(), re.MULTILINE)
        if found.exists()
        else []
    )
    capability = torch.backends.cpu.get_cpu_capability()  # as ATEN_CPU_CAPABILITY limits it
    return (torch.__version__, platform.machine(), platform.processor(), *names[:2], capability, *limits)


def _convolution(dtype: torch.dtype) -> Callable[[], Tensor]:
    """Return a convolution of the middle of a ResNet."""
    generator = torch.Generator().manual_seed(0)
    images, kernel = (
        torch.randn(shape, generator=generator).to(dtype, memory_format=torch.channels_last)
        for shape in ((32, 64, 16, 16), (64, 64, 3, 3))
    )
    return lambda: torch.conv2d(images, kernel, padding=1)


def _seconds(work: Callable[[], Tensor]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def device_type(accelerator: str) -> str:
    """Return the kind of device that Lightning takes for an accelerator."""
    if accelerator == "cpu":
        return "cpu"
    if accelerator in ("cuda", "mps"):
        return accelerator
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
