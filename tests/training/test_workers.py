import io
import logging
import os
import signal
import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from noisereg.callbacks.run_checkpoint import Stopped
from noisereg.engine.measurement import Measurement
from noisereg.errors import WorkerError
from noisereg.runs.progress import RunDisplay
from noisereg.runs.signals import stopped_by_signals
from noisereg.training.workers import Workers

NAMES = ["replica 1", "replica 2", "replica 3"]


class Seen:
    """Keeps what is measured."""

    def __init__(self):
        self.measurements = []

    def observe(self, measurement):
        self.measurements.append(measurement)


def train(work, folder, *, num_replicas=3, num_workers=2, devices=None):
    """Let workers do some work; return what was printed, what was measured and the replicas in their order."""
    console, seen, finished = Console(record=True, width=500, file=io.StringIO()), Seen(), []
    try:
        Workers(
            partial(work, folder),
            num_workers=num_workers,
            threads=1,
            devices=devices,
            console=console,
            display=RunDisplay(console, 10, parts=[[number] for number in range(num_replicas)]),
            observers=[seen],
            names=NAMES[:num_replicas],
            when_finished=finished.append,
        ).train(range(num_replicas))
    finally:
        (folder / "printed").write_text(console.export_text())
    return (folder / "printed").read_text().splitlines(), seen.measurements, finished


def speak(folder, number, outlet):
    outlet.begin(number, 0, 0, goes_on=number == 1)
    outlet.print_values(number, 5, 50, {"test/error": 0.25}, {})
    outlet.observe(Measurement(step=50, epoch=5, replicas=[number], values={"test/error": np.array([0.25])}))
    outlet.console.print("a [line]")
    logging.getLogger("of_a_library").warning("%s is %d", "this", 7)
    warnings.warn("an odd value", RuntimeWarning, stacklevel=1)
    (folder / f"device{number}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    while not all((folder / f"device{other}").exists() for other in (0, 1)):  # each worker takes one of the first two
        time.sleep(0.01)


def test_what_workers_say_is_said_by_their_parent(tmp_path, caplog):
    with pytest.warns(RuntimeWarning, match="an odd value") as warned:
        printed, measured, finished = train(speak, tmp_path, devices=("5", "GPU-7"))
    assert sorted(finished) == [0, 1, 2]
    assert sorted(part.replicas[0] for part in measured) == [0, 1, 2]
    assert {(part.step, part.epoch, part.values["test/error"].item()) for part in measured} == {(50, 5, 0.25)}
    assert printed.count("a [line]") == 3
    assert "goes on replica 2 of 3, at epoch 0 of 10" in printed
    assert any(line.startswith("replica 1 of 3, epoch 5 of 10: test error 25.00 %") for line in printed)
    assert [record.getMessage() for record in caplog.records if record.name == "of_a_library"] == ["this is 7"] * 3
    assert len(warned) >= 1
    assert {(tmp_path / f"device{number}").read_text() for number in (0, 1)} == {"5", "GPU-7"}


def die_once(folder, number, outlet):
    trace = folder / f"trace{number}"
    if number == 1 and not trace.exists():
        trace.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    trace.write_text("done")


def test_a_worker_that_dies_is_told_and_its_replica_is_begun_again_after_the_others(tmp_path):
    printed, _, finished = train(die_once, tmp_path, num_workers=1)
    assert finished == [0, 2, 1]
    assert printed == [
        "warning: replica 2: its worker 1 was killed by SIGKILL, as one that needs too much memory is; "
        "it goes on from its last checkpoint after the others"
    ]


def die(folder, number, outlet):
    if number == 0:
        os._exit(3)


def test_a_replica_over_which_two_workers_die_is_lost_and_the_others_are_finished(tmp_path):
    with pytest.raises(WorkerError, match=r"^replica 1: its worker 1 ended with exit code 3, for the second time; "):
        train(die, tmp_path, num_workers=1)
    printed = (tmp_path / "printed").read_text().splitlines()
    assert [line.rpartition("; ")[2] for line in printed] == [
        "it goes on from its last checkpoint after the others",
        "the others go on",
    ]


class Odd(Exception):
    """One that cannot be made anew from its arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(folder, number, outlet):
    if number == 0:
        while not (folder / "began").exists():
            time.sleep(0.01)
        raise Odd("this", "that")
    try:
        (folder / "began").write_text("")
        time.sleep(60)
    except Stopped as end:
        (folder / "saved").write_text(end.signal.name)
        outlet.console.print("x" * 200_000)  # more than a pipe holds
        raise


def test_what_is_raised_in_a_worker_is_raised_here_after_the_others_have_saved(tmp_path):
    with pytest.raises(RuntimeError, match=r"^Odd: this and that$") as raised:
        train(fail, tmp_path)
    assert "in fail" in str(raised.value.__cause__)
    assert (tmp_path / "saved").read_text() == "SIGTERM"


def save_slowly(folder, number, outlet):
    try:
        (folder / f"began{number}").write_text("")
        time.sleep(60)
    except Stopped:
        time.sleep(0.5)
        (folder / f"saved{number}").write_text("")
        raise


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_is_passed_on_and_every_worker_saves_before_the_run_ends(number, tmp_path):
    def interrupt():
        while not all((tmp_path / f"began{number}").exists() for number in (0, 1)):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Stopped) as stopped, stopped_by_signals():
        train(save_slowly, tmp_path)
    assert stopped.value.signal == number
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved0", "saved1"]


def never_end(folder, number, outlet):
    while True:
        try:
            (folder / f"pid {os.getpid()}").touch()
            time.sleep(60)
        except Stopped:
            (folder / "asked").touch()


def test_a_second_ctrl_c_waits_for_no_worker(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a program that a terminal has started

    def interrupt():
        for name in ("pid *", "asked"):
            while not list(tmp_path.glob(name)):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(Stopped), stopped_by_signals():
            train(never_end, tmp_path, num_replicas=1, num_workers=1)
    finally:
        signal.signal(signal.SIGINT, before)
    (path,) = tmp_path.glob("pid *")
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.name.removeprefix("pid ")), 0)
