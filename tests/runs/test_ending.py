import io
import json
import logging
import os
import shlex
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from hydra.errors import CompactHydraException
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from noisereg.callbacks import Stopped
from noisereg.errors import ConfigError, DiskError
from noisereg.runs import ending
from noisereg.runs.ending import (
    exclusive_folder,
    exit_message,
    exit_with_parent,
    named_as_parent,
    recorded_failure,
    removed_if_refused,
)
from noisereg.runs.record import RunRecord

QUIET = Console(quiet=True)
SIGNALS = [
    (Stopped(signal.SIGTERM), "SIGTERM", 143),  # 128 + 15, as shells count
    (Stopped(signal.SIGUSR2), "SIGUSR2", 140),
    (KeyboardInterrupt(), "SIGINT", 130),
    (SystemExit(138), "SIGUSR1", 138),  # another process of the same training was stopped
]


@pytest.fixture(autouse=True)
def job(monkeypatch):
    """A run of its own; `job.of_sweep = True` makes it a job of a sweep."""
    kind = SimpleNamespace(of_sweep=False)
    monkeypatch.setattr(ending, "is_job_of_sweep", lambda: kind.of_sweep)
    return kind


@pytest.fixture
def wandb(monkeypatch):
    """What is asked of W&B, whose run is open."""
    asked = []
    run = SimpleNamespace(mark_preempting=lambda: asked.append("preempting"))
    library = SimpleNamespace(run=run, finish=lambda **end: asked.append(end["exit_code"]))
    monkeypatch.setitem(sys.modules, "wandb", library)
    return asked


def fail(error, record, **known):
    """Let a run end by an error, and return what its record holds then; nothing if there is none."""
    record.known |= known
    with pytest.raises(type(error)) as caught, recorded_failure(record):
        raise error
    assert caught.value is error
    return json.loads(record.path.read_text()) if record.path.exists() else {}


def test_a_failure_is_recorded_with_its_reason_and_what_was_there_before(tmp_path):
    found = fail(ValueError("no end"), RunRecord(tmp_path, {"seed": 0}), environment={"cpus": 2})
    assert (found["status"], found["reason"]) == ("failed", "ValueError: no end")
    assert (found["config"], found["environment"]) == ({"seed": 0}, {"cpus": 2})


def test_bad_input_leaves_no_record(tmp_path):
    assert fail(ConfigError("p must be below 1"), RunRecord(tmp_path, {})) == {}
    assert list(tmp_path.iterdir()) == []


def test_bad_input_of_a_job_of_a_sweep_is_recorded(tmp_path, job):
    job.of_sweep = True
    assert fail(ConfigError("p must be below 1"), RunRecord(tmp_path, {}))["status"] == "failed"


def test_bad_input_is_recorded_where_the_run_had_begun(tmp_path):
    record = RunRecord(tmp_path, {})
    record.write("running")
    assert fail(ConfigError("the data are gone"), record)["reason"] == "ConfigError: the data are gone"


def test_a_command_that_was_refused_does_not_take_the_place_of_the_one_that_the_run_was_begun_by(tmp_path):
    begun = {"command": "python train.py dataset.root=a", "environment": {"precision": "32-true"}}
    RunRecord(tmp_path, {}).write("stopped", **begun)
    found = fail(ConfigError("b cannot be read"), RunRecord(tmp_path, {}), command="python train.py dataset.root=b")
    assert (found["status"], found["command"]) == ("failed", begun["command"])
    assert found["environment"] == begun["environment"]
    record = RunRecord(tmp_path, {})
    record.write("running")
    assert fail(RuntimeError("x"), record, command="python train.py seed=1")["command"] == "python train.py seed=1"


LOST = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:36219")


@pytest.fixture
def two_processes(tmp_path, monkeypatch):
    """Two processes that train together: `act(number)` makes this the one of that number, and returns its record."""
    monkeypatch.setattr(ending, "_PATIENCE", 0.3)

    def act(number):
        monkeypatch.setattr(rank_zero_only, "rank", number)
        return RunRecord(tmp_path, {"trainer": {"devices": 2}})

    yield act
    act(0)


def test_the_reason_of_the_process_that_failed_is_recorded_where_another_only_lost_it(tmp_path, two_processes, capsys):
    assert fail(ValueError("no such class: 11"), two_processes(1)) == {}
    error = RuntimeError(str(LOST))
    assert fail(error, two_processes(0))["reason"] == "process 1: ValueError: no such class: 11"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    message(error, tmp_path)
    assert "\nfailed: process 1: ValueError: no such class: 11; [../gloo" in capsys.readouterr().err


def test_of_a_process_that_was_killed_there_is_no_reason_and_the_record_says_so(two_processes):
    reason = fail(RuntimeError(str(LOST)), two_processes(0))["reason"]
    assert reason.startswith("another process has ended and left no reason, as one that is killed for its memory (Runt")


def test_a_process_that_fails_by_itself_or_only_lost_another_leaves_the_reason_as_it_is(tmp_path, two_processes):
    fail(RuntimeError(str(LOST)), two_processes(1))
    assert list(tmp_path.iterdir()) == []
    assert fail(ValueError("mine"), two_processes(0))["reason"] == "ValueError: mine"


def test_no_secret_gets_into_the_record_or_the_last_lines_of_a_run_that_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_TOKEN", "4f2a8812-token")
    error = ValueError("no access with 4f2a8812-token")
    assert fail(error, RunRecord(tmp_path, {"seed": 0}))["reason"] == "ValueError: no access with ***"
    message(error, tmp_path)
    printed = capsys.readouterr().err
    assert "4f2a8812" not in printed and printed.count("no access with ***") == 2


@pytest.mark.parametrize(("error", "name", "code"), SIGNALS)
def test_a_signal_is_recorded_by_its_name_and_tells_wandb_that_the_run_may_go_on(error, name, code, tmp_path, wandb):
    found = fail(error, RunRecord(tmp_path, {}))
    assert (found["status"], found["reason"]) == ("stopped", name)
    assert wandb == ["preempting", code]


def test_a_failure_and_another_exit_code_end_the_run_of_wandb_as_failed(tmp_path, wandb):
    assert fail(RuntimeError("x"), RunRecord(tmp_path, {}))["status"] == "failed"
    assert fail(SystemExit(3), RunRecord(tmp_path, {}))["reason"] == "SystemExit: 3"
    assert wandb == [1, 1]


def test_a_run_that_ends_well_is_not_recorded_by_this(tmp_path, wandb):
    with recorded_failure(RunRecord(tmp_path, {})):
        pass
    assert list(tmp_path.iterdir()) == [] and wandb == []


@pytest.fixture(autouse=True)
def _command(monkeypatch):
    """What Hydra knows of the command line is there in a run alone; `config.commands` has tests of its own."""
    monkeypatch.setattr(ending, "resuming_command", lambda folder: f"again {shlex.quote(str(folder))}")


def message(error, folder):
    """Let a run end by an error, and return the exit code and what is printed on the console."""
    console = Console(file=io.StringIO(), width=40)
    with pytest.raises(SystemExit) as caught, exit_message(console, folder):
        raise error
    return caught.value.code, console.file.getvalue()


@pytest.mark.parametrize(("error", "name", "code"), SIGNALS)
def test_a_stopped_run_says_in_its_last_line_how_to_go_on(error, name, code, tmp_path):
    folder = tmp_path / "a folder"
    assert message(error, folder) == (code, f"stopped by {name}; nothing was trained yet\n")
    RunRecord(folder, {"seed": 0}).write("running")
    assert message(error, folder) == (code, f"stopped by {name}; to go on: again {shlex.quote(str(folder))}\n")


def test_other_processes_of_a_stopped_training_keep_their_exit_code(tmp_path):
    assert message(Stopped(signal.SIGTERM, code=0), tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("error", "has_trace"),
    [(DiskError("disk full: 0 bytes"), False), (FloatingPointError("nan"), False), (KeyError(1), True)],
)
def test_a_failed_run_exits_with_1_and_a_trace_where_its_text_is_no_whole_report(error, has_trace, tmp_path, capsys):
    assert message(error, tmp_path)[0] == 1
    assert capsys.readouterr().err.endswith(f"failed: {error}\n")
    RunRecord(tmp_path, {"seed": 0}).write("running")
    code, _ = message(error, tmp_path)
    text = capsys.readouterr().err
    assert code == 1
    assert text.endswith(f"failed: {error}\nto go on, once that is mended: again {tmp_path}\n")
    assert ("Traceback" in text) == has_trace


def test_bad_input_goes_on_to_whom_it_is_for(tmp_path, capsys):
    with pytest.raises(ConfigError, match="no such key"), exit_message(QUIET, tmp_path):
        raise ConfigError("no such key")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "raised"), [(ConfigError("no such key"), ConfigError), (DiskError("disk full"), CompactHydraException)]
)
def test_a_job_of_a_sweep_fails_alone_and_says_why_in_its_log(error, raised, tmp_path, job, caplog):
    job.of_sweep = True
    with caplog.at_level(logging.ERROR), pytest.raises(raised, match=str(error)), exit_message(QUIET, tmp_path):
        raise error
    assert [record.message for record in caplog.records] == [f"failed: {error}"]


def in_a_child(function):
    """Return the exit code of a process that does nothing else."""
    if (child := os.fork()) == 0:
        code = 99
        try:
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_second_process_is_refused_while_the_first_has_the_folder(tmp_path):
    folder = tmp_path / "run"

    def enter():
        try:
            with exclusive_folder(folder):
                return 0
        except ConfigError as error:
            return 2 if f"is written by process {parent} on" in str(error) else 3

    parent = os.getpid()
    with exclusive_folder(folder):
        assert in_a_child(enter) == 2
    assert in_a_child(enter) == 0


def test_what_a_killed_run_left_half_written_is_removed_once_the_folder_is_locked(tmp_path):
    for part in ("", "checkpoints", "figures"):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / ".last.ckpt.abcdefgh.tmp").touch()
        (tmp_path / part / "kept").touch()
    with exclusive_folder(tmp_path):
        names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"kept", ".lock"}


@pytest.mark.parametrize("kept", [False, True])
def test_a_folder_of_a_refused_run_is_removed_if_it_holds_nothing_but_its_start(kept, tmp_path):
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").touch()
    if kept:
        (folder / "notes.txt").touch()
    with pytest.raises(ConfigError), removed_if_refused(folder):
        raise ConfigError("p must be below 1")
    assert folder.exists() == kept


def test_a_folder_stays_where_a_run_failed_otherwise(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="x"), removed_if_refused(tmp_path / "run"):
        raise ValueError("x")
    assert (tmp_path / "run").exists()


def test_a_process_exits_soon_after_the_one_that_started_it():
    """The pipe is open as long as the inner process lives."""
    reading, writing = os.pipe()

    def start():
        if os.fork() == 0:
            exit_with_parent()
            os.write(writing, b"x")
            time.sleep(60)
            os._exit(0)
        return 0 if os.read(reading, 1) == b"x" else 1

    assert in_a_child(start) == 0
    os.close(writing)
    began = time.monotonic()
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert time.monotonic() - began < 20


def test_a_process_exits_at_once_if_the_one_that_started_it_went_while_it_was_loaded(monkeypatch):
    with named_as_parent():
        assert os.environ["NOISEREG_PARENT"] == str(os.getpid())
    monkeypatch.setenv("NOISEREG_PARENT", str(2**22 + 1))  # no process has such a number

    def start():
        exit_with_parent()
        time.sleep(60)
        return 0

    began = time.monotonic()
    assert in_a_child(start) == 1
    assert time.monotonic() - began < 20


class FullDisk(RunRecord):
    """A record of which so many bytes can be written."""

    room = 0

    def write(self, status, **contents):
        if len(json.dumps([self.known, contents])) > self.room:
            raise DiskError("disk full")
        super().write(status, **contents)


def test_of_a_run_that_fails_on_a_full_disk_the_smallest_record_is_written(tmp_path, capsys):
    record = FullDisk(tmp_path, {"seed": 0})
    record.room, record.known = 100, {"replicas": [0] * 100, "command": "x y"}
    with pytest.raises(DiskError, match="of the run"), recorded_failure(record):
        raise DiskError("of the run")
    found = json.loads(record.path.read_text())
    assert (found["status"], found["reason"], found["command"]) == ("failed", "DiskError: of the run", "x y")
    assert "replicas" not in found and capsys.readouterr().err == ""


def test_what_cannot_be_written_at_all_is_printed_and_hides_no_reason(tmp_path, capsys):
    with pytest.raises(DiskError, match="of the run"), recorded_failure(FullDisk(tmp_path, {"seed": 0})):
        raise DiskError("of the run")
    assert capsys.readouterr().err == f"{tmp_path}/result.json does not say that the run failed: disk full\n"
