"""Counter-based random numbers: every draw is a function of (seed, stream, step, index) and of nothing else.

The generator is SplitMix64, whose k-th output is a hash of its start plus k times an odd constant. Here the start is a
hash of (seed, stream, step) and k is the index, so any draw can be had alone, in any order, on any device.

Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = (1 << 64) - 1
_LOWER_53 = (1 << 53) - 1
_LIBRARIES = threading.RLock()  # held by the thread that has seeded the generators that libraries share


class Stream(IntEnum):
    """What a draw is for. Two streams never share draws, so that one more draw in one of them moves no other.

    Example:
        >>> uniform(0, Stream.NOISE, 0, 0) == uniform(0, Stream.REDRAW, 0, 0)
        tensor(False)
    """

    INIT = 1  # initial weights and biases: step counts the tensors
    ORDER = 2  # order of the samples: step is the epoch
    NOISE = 3  # whether a label is redrawn
    REDRAW = 4  # which label it is redrawn to
    AUGMENT = 5  # crops and flips
    TRAIN_DATA = 6  # synthetic inputs
    TEST_DATA = 7
    TRAIN_LABEL = 8  # labels of pure noise
    TEST_LABEL = 9
    SUBSET = 10  # which samples are kept of a larger data set, and the split into train and val
    LIBRARY = 11  # the start of the generators that libraries share, for code that knows no other
    DROPOUT = 12  # and for what a network draws in a training step
    GRADIENT_NOISE = 13  # added to the gradient of a step


def uniform(seed: int | Tensor, stream: int, step: int | Tensor, index: int | Tensor) -> Float64[Tensor, "..."]:
    """Draw from the uniform law on [0, 1), 53 bits each.

    Args:
        seed: of the run, in [0, 2**63); an int, or an int64 tensor of many runs that broadcasts with `index`.
        stream: what the draw is for, see `Stream`.
        step: the epoch or step; an int, or an int64 tensor that broadcasts with `index`.
        index: of the sample; an int or an int64 tensor. The result lies on its device.

    Returns:
        float64, in the broadcast shape of `seed`, `step` and `index`.

    Example:
        >>> uniform(0, Stream.NOISE, 0, torch.arange(3)).shape
        torch.Size([3])
    """
    place = torch.as_tensor(index, dtype=torch.int64)
    if place.device.type != "cpu":
        return (_hash(seed, stream, step, place) >> 11 & _LOWER_53).double() * 2.0**-53
    # numpy is several times quicker at small operations
    runs, times = (np.atleast_1d(value.numpy()) if isinstance(value, Tensor) else value for value in (seed, step))
    bits = _hash(runs, stream, times, np.atleast_1d(place.numpy()))
    values = torch.from_numpy((bits >> 11 & _LOWER_53) * 2.0**-53)
    return values if any(isinstance(value, Tensor) and value.ndim for value in (seed, step, place)) else values[0]


def traceable_uniform(seed: Tensor, stream: int, step: Tensor, index: Tensor) -> Float64[Tensor, "..."]:
    """Return the draws of `uniform` by operations of torch alone, which `torch.func` and `torch.compile` follow.

    Example:
        >>> seed, step, index = torch.tensor(5), torch.tensor(7), torch.arange(3)
        >>> torch.equal(traceable_uniform(seed, Stream.NOISE, step, index), uniform(5, Stream.NOISE, 7, index))
        True
    """
    return (_hash(seed, stream, step, index) >> 11 & _LOWER_53).double() * 2.0**-53


def normal(seed: int, stream: int, step: int | Tensor, index: int | Tensor) -> Float64[Tensor, "..."]:
    """Draw from the standard normal law, as the quantile of one uniform draw.

    Args and result are those of `uniform`; values lie within +-8.3.

    Example:
        >>> bool(normal(0, Stream.INIT, 0, torch.arange(10_000)).std().sub(1).abs() < 0.05)
        True
    """
    chance = uniform(seed, stream, step, index) + 2.0**-54  # the greatest is rounded to 1, whose quantile is infinite
    return torch.special.ndtri(chance.clamp(max=1 - 2.0**-53))


def permutation(seed: int, stream: int, step: int, n: int) -> Int64[Tensor, "n"]:
    """Return 0 ... n-1 in random order.

    Example:
        >>> permutation(0, Stream.ORDER, 0, 5).sort().values
        tensor([0, 1, 2, 3, 4])
    """
    return uniform(seed, stream, step, torch.arange(n)).argsort(stable=True)


@contextmanager
def library_generator(seed: int, step: int = 0) -> Iterator[None]:
    """Seed the generators that libraries share with (seed, step) while the `with` block lasts, and restore them after.

    Example:
        >>> with library_generator(seed=0):
        ...     a = torch.rand(2), random.random()
        >>> with library_generator(seed=0):
        ...     b = torch.rand(2), random.random()
        >>> bool((a[0] == b[0]).all()), a[1] == b[1]
        (True, True)
    """
    with restored_libraries():
        seed_libraries(hash_key(seed, Stream.LIBRARY, step))
        yield


@contextmanager
def restored_libraries() -> Iterator[None]:
    """Restore, after the `with` block, the generators that libraries share: torch's on the CPU, numpy's and Python's.

    All threads share them too, so each waits for the others to leave such a block.

    Example:
        >>> before = random.getstate()
        >>> with restored_libraries():
        ...     number = random.random()
        >>> random.getstate() == before
        True
    """
    with _LIBRARIES:
        of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - the one that libraries share
        try:
            with torch.random.fork_rng(devices=[]):
                yield
        finally:
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)


def seed_libraries(start: int) -> None:
    """Seed the generators that libraries share: torch's on the CPU, numpy's and Python's own.

    Args:
        start: 64 bits, as `hash_key` returns; numpy takes the lower half.
    """
    torch.default_generator.manual_seed(start)
    np.random.seed(start & 0xFFFFFFFF)  # noqa: NPY002
    random.seed(start)


def hash_key(seed: int, stream: int, step: int) -> int:
    """Hash (seed, stream, step) to the 64 bits at which SplitMix64 starts for them.

    Example:
        >>> hash_key(0, Stream.NOISE, 0) == hash_key(0, Stream.NOISE, 1)
        False
    """
    return _mix_int(_mix_int(_mix_int(seed) + stream) + step)


def _hash(seed: Any, stream: int, step: Any, place: Any) -> Any:
    """Hash int64 tensors, or arrays of at least one axis, to as many int64 of 64 random bits."""
    gamma = _signed(_GAMMA)
    if not isinstance(seed, int):
        begin = _mix(_mix(_mix(seed + gamma) + stream + gamma) + step + gamma)
    elif isinstance(step, int):
        begin = _signed(hash_key(seed, stream, step))
    else:
        begin = _mix(step + _signed(_mix_int(_mix_int(seed) + stream) + _GAMMA))
    return _mix((place + 1) * _signed(_GAMMA) + begin)


def _mix(z: Any) -> Any:
    """Compute a SplitMix64 output. Products of int64 wrap as unsigned ones do; right shifts drag the sign along."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _signed(_MULTIPLIERS[0])
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _signed(_MULTIPLIERS[1])
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def _mix_int(z: int) -> int:
    """Compute one step of SplitMix64 on a Python int: a hundred times quicker for a single number."""
    z = (z + _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _MULTIPLIERS[0]) & _MASK
    z = ((z ^ (z >> 27)) * _MULTIPLIERS[1]) & _MASK
    return z ^ (z >> 31)


def _signed(z: int) -> int:
    """Return 64 bits as an int64."""
    return ((z & _MASK) ^ (1 << 63)) - (1 << 63)
