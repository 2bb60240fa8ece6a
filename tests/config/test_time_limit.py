import json
import os
import signal
import threading
import time

import pytest
from run_program import read_result, run_program

from noisereg.config.command_line import check_command_line
from noisereg.config.time_limit import run_within
from noisereg.errors import ConfigError

SECONDS = 1 / 60  # in minutes


def write_record(folder, status, **contents):
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps({"status": status, "config": {}, **contents}))


def test_what_ends_within_its_limit_ends_as_it_does_without_one(tmp_path):
    assert run_within(1, lambda: None, folder=tmp_path) == (0, False, "")
    assert run_within(1, lambda: os._exit(3), folder=tmp_path) == (3, False, "")
    write_record(tmp_path, "failed", reason="no memory")
    assert run_within(1, lambda: os.kill(os.getpid(), signal.SIGKILL), folder=tmp_path) == (-9, False, "no memory")
    assert read_result(tmp_path)["status"] == "failed"


def test_what_is_asked_to_end_may_finish_or_save(tmp_path):
    def save():
        signal.signal(signal.SIGTERM, lambda *_: (write_record(tmp_path, "stopped", reason="SIGTERM"), os._exit(143)))
        time.sleep(1e6)

    assert run_within(0.5 * SECONDS, save, folder=tmp_path) == (143, True, "time limit of 0.00833333 minutes")
    assert (read_result(tmp_path)["status"], read_result(tmp_path)["reason"][:10]) == ("stopped", "time limit")

    def finish():
        signal.signal(signal.SIGTERM, lambda *_: (write_record(tmp_path, "finished"), os._exit(0)))
        time.sleep(1e6)

    assert run_within(0.5 * SECONDS, finish, folder=tmp_path) == (0, False, "")
    assert read_result(tmp_path)["status"] == "finished"


def test_what_hangs_is_killed_and_its_records_say_why(tmp_path):
    def hang():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write_record(tmp_path, "running", config={"experiment": {"arms": {"a": [], "b": []}}})
        write_record(tmp_path / "a", "finished")
        write_record(tmp_path / "b", "running")
        threading.Lock().acquire()
        time.sleep(1e6)

    began = time.monotonic()
    code, is_late, reason = run_within(0.5 * SECONDS, hang, folder=tmp_path)
    assert (code, is_late) == (-signal.SIGKILL, True)
    assert time.monotonic() - began < 20
    records = [read_result(tmp_path / place) for place in ("", "a", "b")]
    assert [record["status"] for record in records] == ["stopped", "finished", "stopped"]
    assert records[0]["reason"] == records[2]["reason"] == reason


def test_a_signal_is_passed_on(tmp_path):
    def wait():
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(1e6)

    before = signal.getsignal(signal.SIGINT)
    assert run_within(1, wait, folder=tmp_path).code == 130
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("value", ["0", "-1", "soon", "true", "[1]", "inf"])
def test_a_limit_that_is_no_number_of_minutes_is_refused(value):
    with pytest.raises(ConfigError, match=r"^time_limit.*must be a number of minutes above 0, or null"):
        check_command_line([f"time_limit={value}"])


def test_a_launcher_that_starts_the_jobs_elsewhere_limits_them_itself():
    with pytest.raises(ConfigError, match=r"^time_limit is for runs .* take hydra.launcher.timeout_min"):
        check_command_line(["-m", "seed=0,1", "time_limit=1", "hydra/launcher=slurm"])


MODULE = """
import ctypes, time
from noisereg.datasets import Hypercube

class Hanging(Hypercube):
    def __init__(self, *arguments, hangs=0, **keywords):
        super().__init__(*arguments, **keywords)
        if hangs == 1:
            time.sleep(1e9)
        if hangs == 2:
            ctypes.PyDLL(None).sleep(10**9)  # holds the interpreter, so no thread and no handler of it runs
"""


@pytest.mark.slow
def test_a_job_that_hangs_is_ended_and_the_sweep_goes_on(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    tiny = ["dataset.train_size=40", "dataset.test_size=40", "trainer.max_epochs=2", "logger=csv"]
    own = ["dataset._target_=mine.Hanging", "trust=[mine]", "+dataset.hangs=1,2,0", "time_limit=0.4"]
    done = run_program("-m", *tiny, *own, "hydra.sweep.dir=sweep", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "1 done" in done.stdout, done.stdout
    ends = [read_result(path.parent) for path in sorted((tmp_path / "sweep").glob("*/result.json"))]
    assert sorted(end["status"] for end in ends) == ["finished", "stopped", "stopped"]
    assert done.stdout.count(": time limit of 0.4 minutes") == 2


@pytest.mark.slow
def test_a_run_that_takes_longer_is_saved_and_goes_on(tmp_path):
    tiny = ["dataset.train_size=200", "dataset.test_size=40", "dataset.batch_size=10", "logger=csv"]
    tiny += ["engine=none", "seeds=1", "noise.p=0.2"]
    long = [*tiny, "trainer.max_epochs=100000", "hydra.run.dir=run"]
    done = run_program(*long, "time_limit=0.6", cwd=tmp_path)
    assert done.returncode == 143, done.stderr
    assert "to go on: " in done.stdout and "stopped: time limit of 0.6 minutes" in done.stderr
    record = read_result(tmp_path / "run")
    assert (record["status"], record["reason"]) == ("stopped", "time limit of 0.6 minutes")
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
