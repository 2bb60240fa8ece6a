import json
import os
import signal
import sys
import threading

import pytest

from noisereg.callbacks.run_checkpoint import SIGNALS, Stopped
from noisereg.runs import ending
from noisereg.runs.ending import recorded_failure
from noisereg.runs.record import RunRecord
from noisereg.runs.signals import held_signals, stopped_by_signals


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No job of a sweep; the handlers are as before after a test."""
    monkeypatch.setattr(ending, "is_job_of_sweep", lambda: False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


@pytest.fixture
def handled():
    """Register a handler as submitit does, before the run begins."""
    before = {}

    def register(number, handler):
        before[number] = signal.signal(number, handler)

    yield register
    for number, handler in before.items():
        signal.signal(number, handler)


def requeue(number, frame):
    """End the process as submitit does once SLURM has its job back, and has told it to end."""
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(-1)


def test_ctrl_c_stops_a_run_that_python_would_end_by_an_error_of_its_own(handled):
    handled(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(Stopped) as end, stopped_by_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert (end.value.code, end.value.signal) == (130, signal.SIGINT)


def test_a_job_that_is_queued_again_has_been_stopped_and_keeps_the_code_of_submitit(tmp_path, handled):
    handled(signal.SIGUSR2, requeue)
    with pytest.raises(Stopped) as end, stopped_by_signals(), recorded_failure(RunRecord(tmp_path, {"seed": 0})):
        os.kill(os.getpid(), signal.SIGUSR2)
    assert end.value.code == -1
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["reason"]) == ("stopped", "SIGUSR2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_nobody_handles_or_that_submitit_bypasses_stops_the_run(number, handled):
    calls = []
    if number == signal.SIGTERM:
        handled(number, lambda *arguments: calls.append(arguments[0]))
    with pytest.raises(Stopped) as end, stopped_by_signals():
        os.kill(os.getpid(), number)
    assert (end.value.code, end.value.signal) == (128 + number, number)
    assert calls == ([number] if number == signal.SIGTERM else [])


def test_of_several_processes_submitit_ends_the_first_alone(handled):
    handled(signal.SIGUSR2, lambda *arguments: None)  # as in any other process
    with stopped_by_signals():
        os.kill(os.getpid(), signal.SIGUSR2)


def test_the_signal_that_follows_a_requeue_does_not_disturb_the_record(tmp_path, handled, monkeypatch):
    handled(signal.SIGUSR2, requeue)
    record, write = RunRecord(tmp_path, {"seed": 0}), RunRecord.write

    def disturbed(self, *arguments, **contents):
        os.kill(os.getpid(), signal.SIGTERM)
        write(self, *arguments, **contents)

    monkeypatch.setattr(RunRecord, "write", disturbed)
    with pytest.raises(Stopped) as end, stopped_by_signals(), recorded_failure(record):
        os.kill(os.getpid(), signal.SIGUSR2)
    assert end.value.signal == signal.SIGUSR2
    assert json.loads((tmp_path / "result.json").read_text())["reason"] == "SIGUSR2"


def test_signals_wait_for_what_takes_seconds_and_then_stop_what_follows():
    done = []
    with pytest.raises(Stopped) as end, stopped_by_signals(), held_signals():
        done += [os.kill(os.getpid(), signal.SIGTERM), "written"]
    assert (end.value.signal, done) == (signal.SIGTERM, [None, "written"])


def test_signals_are_forgotten_where_nothing_is_left_to_stop():
    with stopped_by_signals():
        with held_signals(dropped=True):
            for number in SIGNALS:
                os.kill(os.getpid(), number)
        done = True
    assert done


def test_a_second_interrupt_does_not_wait():
    with pytest.raises(Stopped) as end, stopped_by_signals(), held_signals(dropped=True):
        _ = [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]
    assert end.value.signal == signal.SIGINT


def test_a_thread_that_gets_no_signals_registers_no_handler():
    found = []

    def look():
        with stopped_by_signals(), held_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]
