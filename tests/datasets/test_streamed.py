import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noisereg
from noisereg.datasets import BatchLoader, Pictures, Split, StreamLoader
from noisereg.datasets.image_files import list_tree
from noisereg.errors import DatasetError

SIZE = 8
ROOT = Path(noisereg.__file__).parents[1]


@pytest.fixture
def pictures(tmp_path, make_tree):
    """Ten images of the size that they are read at, in two classes."""
    make_tree(tmp_path, ["a", "b"], per_class=5, size=(SIZE, SIZE))
    return Pictures(tmp_path, list_tree(tmp_path, ("a", "b")).names[:10], size=SIZE)


def make_split(n=10):
    return Split(torch.arange(n), torch.arange(n) // 5)


def in_memory(pictures, n=10):
    """What the loader of a data set in memory is given, read here by other means."""
    pixels = [np.asarray(Image.open(pictures.root / os.fsdecode(name))) for name in pictures.names[:n]]
    return Split(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), make_split(n).labels)


def stamp(inputs, *, draw, index):
    """A transform whose result tells what it was given."""
    return inputs.float() + 1000 * draw.view(-1, 1, 1, 1) + 100_000 * index.view(-1, 1, 1, 1)


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name, part in batch.items():
            assert torch.equal(part, other[name]) and part.dtype == other[name].dtype


@pytest.mark.parametrize("order", ["shuffle", "replacement", "sequential"])
def test_batches_are_those_of_a_loader_in_memory(pictures, order):
    settings = {"order": order, "seed": 4, "transform": stamp}
    streamed = StreamLoader(make_split(), 4, pictures=pictures, **settings)
    held = BatchLoader(in_memory(pictures), 4, **settings)
    for epoch in (0, 3):
        streamed.set_epoch(epoch)
        held.set_epoch(epoch)
        assert_same(list(streamed), list(held))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_no_bit(tmp_path, pictures, workers):
    names = pictures.names
    loaders = [
        StreamLoader(make_split(), 2, pictures=Pictures(tmp_path, names, size=5, crop_seed=1), workers=w, keep=True)
        for w in (0, workers)
    ]
    for epoch in range(2):
        for loader in loaders:
            loader.set_epoch(epoch)
        assert_same(*(list(loader) for loader in loaders))
    loaders[1].close()


def test_kept_workers_serve_the_next_epoch_after_one_that_was_left(pictures):
    loader = StreamLoader(make_split(), 1, pictures=pictures, workers=1, keep=True)
    next(iter(loader))
    workers = set(multiprocessing.active_children())
    expected = list(StreamLoader(make_split(), 1, pictures=pictures))
    assert_same(list(loader), expected)
    assert set(multiprocessing.active_children()) == workers
    loader.close()
    assert workers.isdisjoint(multiprocessing.active_children())


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_does_not_end_early_without_a_word(pictures, workers):
    loader = StreamLoader(make_split(), 2, pictures=pictures, workers=workers, keep=True)
    batches = iter(loader)
    next(batches)
    loader.close()
    with pytest.raises(RuntimeError, match="closed after 1 of 5 batches of an epoch"):
        next(batches)


def test_workers_that_are_not_kept_end_with_the_epoch(pictures):
    before = set(multiprocessing.active_children())
    batches = iter(StreamLoader(make_split(), 5, pictures=pictures, workers=1))
    next(batches)
    assert len(set(multiprocessing.active_children()) - before) == 1
    assert len(list(batches)) == 1
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("done", [0, 1, 3])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_loader_goes_on_with_the_next_batch_though_workers_were_ahead(pictures, done, workers):
    loader = StreamLoader(make_split(), 3, pictures=pictures, workers=workers)
    loader.set_epoch(5)
    batches = iter(loader)
    for _ in range(done):
        next(batches)
    state = loader.state_dict()
    assert state == {"epoch": 5, "batches": done, "seed": 0, "n": 10, "batch_size": 3, "order": "shuffle"}
    resumed = StreamLoader(make_split(), 3, pictures=pictures)
    resumed.load_state_dict(state)
    rest = iter(resumed)  # Lightning asks for the iterator first and names the epoch then
    resumed.set_epoch(5)
    assert_same(list(rest), list(batches))
    assert resumed.state_dict() == loader.state_dict() == {**state, "batches": 4}


def test_a_loader_in_memory_goes_on_where_a_streamed_one_was_stopped(pictures):
    loader = StreamLoader(make_split(), 3, pictures=pictures, transform=stamp)
    batches = iter(loader)
    next(batches)
    resumed = BatchLoader(in_memory(pictures), 3, transform=stamp)
    resumed.load_state_dict(loader.state_dict())
    assert_same(list(resumed), list(batches))


def test_resume_refuses_another_order(pictures):
    loader = StreamLoader(make_split(), 3, pictures=pictures)
    with pytest.raises(ValueError, match="made with seed=1, this run has seed=0"):
        loader.load_state_dict({**loader.state_dict(), "seed": 1})


def test_processes_share_out_the_batches_of_one(pictures):
    whole = list(StreamLoader(make_split(), 4, pictures=pictures))
    shares = [list(StreamLoader(make_split(), 4, pictures=pictures, rank=rank, world=2, even=True)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for name, rows in batch.items():
            assert torch.equal(torch.stack([part[name] for part in parts], dim=1).flatten(0, 1), rows)


def test_a_process_without_a_share_gets_an_empty_batch(pictures):
    loader = StreamLoader(
        make_split(1), 4, pictures=pictures, workers=1, order="sequential", transform=stamp, rank=1, world=2
    )
    (batch,) = loader
    assert batch["input"].shape == (0, 3, SIZE, SIZE) and batch["input"].dtype == torch.float32
    assert batch["label"].shape == (0,) and len(loader) == 1


def test_batches_that_processes_cannot_share_are_refused(pictures):
    with pytest.raises(ValueError, match="must divide among 2 processes, got batches of 3"):
        StreamLoader(make_split(), 3, pictures=pictures, world=2, even=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_named_in_one_line(pictures, workers):
    path = pictures.root / os.fsdecode(pictures.names[2])
    path.write_bytes(path.read_bytes()[:60])
    loader = StreamLoader(make_split(), 4, pictures=pictures, workers=workers, order="sequential")
    with pytest.raises(DatasetError) as caught:
        list(loader)
    assert str(caught.value) == f"{path} cannot be read (it does not decode as an image); put a whole copy there"


def test_a_file_that_is_gone_is_named(pictures):
    path = pictures.root / os.fsdecode(pictures.names[0])
    path.unlink()
    with pytest.raises(DatasetError, match=rf"{path} cannot be read \(No such file or directory\)"):
        list(StreamLoader(make_split(), 4, pictures=pictures))


def test_reading_moves_no_global_generator(pictures):
    before = torch.get_rng_state()
    list(StreamLoader(make_split(), 5, pictures=pictures, workers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_lie_in_channels_last_memory(pictures):
    batch = next(iter(StreamLoader(make_split(), 4, pictures=pictures)))
    assert batch["input"].is_contiguous(memory_format=torch.channels_last) and batch["input"].dtype == torch.uint8


def test_workers_live_through_the_signals_that_stop_a_run(pictures):
    before = set(multiprocessing.active_children())
    loader = StreamLoader(make_split(), 1, pictures=pictures, workers=1)
    batches = iter(loader)
    first = next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(worker.pid, number)
    assert_same([first, *batches], list(StreamLoader(make_split(), 1, pictures=pictures)))


def test_a_program_that_ends_within_an_epoch_does_not_wait_for_its_workers(pictures):
    program = f"""
import sys, torch
from pathlib import Path
from noisereg.datasets import Pictures, Split, StreamLoader
from noisereg.datasets.image_files import list_tree
root = Path({str(pictures.root)!r})
split = Split(torch.arange(10), torch.zeros(10, dtype=torch.int64))
files = Pictures(root, list_tree(root, ("a", "b")).names, size=4)
batches = iter(StreamLoader(split, 1, pictures=files, workers=1, keep=True))
next(batches)
sys.exit(3)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode == 3


@pytest.mark.parametrize("keep", [False, True])
def test_a_program_that_is_interrupted_while_it_waits_for_a_worker_ends(pictures, keep):
    program = f"""
import signal, time, torch
from pathlib import Path
from noisereg.datasets import Pictures, Split, StreamLoader
from noisereg.datasets.image_files import list_tree
root = Path({str(pictures.root)!r})

class Slow(Pictures):
    def __getitem__(self, visits):
        time.sleep(1)
        return super().__getitem__(visits)

split = Split(torch.arange(10), torch.zeros(10, dtype=torch.int64))
files = Slow(root, list_tree(root, ("a", "b")).names, size=4)
loader = StreamLoader(split, 1, pictures=files, workers=1, keep={keep})
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.5)
next(iter(loader))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=False, timeout=120, capture_output=True, text=True
    )
    assert done.stderr.rstrip().endswith("KeyboardInterrupt"), done.stderr
