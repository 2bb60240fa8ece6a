import errno
import fcntl
import json
import multiprocessing
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from noisereg.config.check import ComposedRun
from noisereg.config.composing import conf_dir
from noisereg.config.overrides import quote_value
from noisereg.config.run_folder import (
    RunFolder,
    check_unlocked,
    check_writable_folder,
    read_record,
    remove_refused_folder,
)
from noisereg.errors import ConfigError
from noisereg.files.lock import locked

SPAWN = multiprocessing.get_context("spawn")


def test_a_locked_folder_is_refused_with_the_name_of_its_holder_and_freed_when_that_is_killed(tmp_path):
    holder = SPAWN.Process(target=hold, args=(str(tmp_path),))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    told = rf"{tmp_path} is written by process {holder.pid} on .* since 20..-"
    with pytest.raises(ConfigError, match=told), locked(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    other = SPAWN.Process(target=hold, args=(str(tmp_path),))
    other.start()
    try:
        while not (tmp_path / "held").exists():
            assert other.is_alive()
            time.sleep(0.01)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        other.kill()
        other.join()


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ("[1]", "it is no section of keys"),
        ({"status": 3}, "its status must be one of finished, failed, stopped, running, got 3"),
        ({"environment": "x"}, "its environment is 'x'"),
        ({"fingerprint": []}, "its fingerprint is []"),
        ({"replicas": None}, "its replicas is None"),
        ({"seconds": "9"}, "its seconds is '9'"),
        ({"steps": [1] * 1000}, "its steps is [1, 1"),
        ({"reason": {}}, "its reason is {}"),
    ],
    ids=lambda case: str(case)[:20],
)
def test_a_record_that_no_run_has_written_is_refused_in_a_short_line(record, fault, tmp_path):
    text = record if isinstance(record, str) else json.dumps({"config": {"seed": 0}, **record})
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"result.json cannot be read ({fault}")) as refusal:
        read_record(tmp_path, {"seed": 0})
    assert len(str(refusal.value)) < len(str(tmp_path)) + 250


@pytest.mark.parametrize("tries", [100])
def test_of_two_that_start_at_once_exactly_one_gets_the_folder(tries, tmp_path):
    barrier, won = SPAWN.Barrier(2), SPAWN.Value("i", 0)
    pair = [SPAWN.Process(target=race, args=(str(tmp_path), tries, barrier, won)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(60)
        assert process.exitcode == 0
    assert won.value == tries


def hold(folder):
    with locked(Path(folder)):
        (Path(folder) / "held").touch()
        time.sleep(60)


def race(folder, tries, barrier, won):
    for number in range(tries):
        barrier.wait()
        try:
            with locked(Path(folder) / str(number)):
                with won.get_lock():
                    won.value += 1
                barrier.wait()
        except ConfigError:
            barrier.wait()


def scaffold(folder):
    """What Hydra, the log and the lock leave in the folder of a run and of an arm before anything is trained."""
    for name in (
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/overrides.yaml",
        ".lock",
        "arm-1/.lock",
        "train.log",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_the_folder_of_a_refused_run_is_taken_away_with_the_empty_ones_above_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scaffold(tmp_path / "outputs" / "day" / "run")
    for _ in range(2):
        remove_refused_folder(tmp_path / "outputs" / "day" / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["result.json", "checkpoints/last.ckpt", "notes/mine.txt", ".hydra/mine.yaml"])
def test_a_folder_that_holds_anything_else_is_left_as_it_is(name, tmp_path):
    scaffold(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    before = sorted(tmp_path.rglob("*"))
    remove_refused_folder(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_folder_that_one_is_in_and_those_outside_it_stay(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    scaffold(tmp_path / "here")
    remove_refused_folder(tmp_path / "here")
    scaffold(tmp_path / "other" / "run")
    remove_refused_folder(tmp_path / "other" / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "other"]
    assert list((tmp_path / "other").iterdir()) == []


def test_a_folder_that_can_be_written_to_is_not_made(tmp_path):
    check_writable_folder(tmp_path / "a" / "b", key="hydra.run.dir")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=rf"^x={tmp_path}/file/run cannot be written to \({tmp_path}/file: Not a directory\);"
    ):
        check_writable_folder(tmp_path / "file" / "run", key="x")


def test_a_folder_is_unlocked_once_its_holder_is_gone_and_gets_no_lock_by_the_check(tmp_path):
    check_unlocked(tmp_path, key="hydra.run.dir")
    assert list(tmp_path.iterdir()) == []
    holder = SPAWN.Process(target=hold, args=(str(tmp_path),))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(ConfigError, match=rf"^hydra.sweep.dir={tmp_path} is written by process {holder.pid} on "):
        check_unlocked(tmp_path, key="hydra.sweep.dir")
    holder.kill()
    holder.join()
    check_unlocked(tmp_path, key="hydra.sweep.dir")


def claim(path, *, arm="", settings=None, is_numbered=False):
    return RunFolder(path, arm, ComposedRun(settings or {"seed": 1}, {}), is_numbered).claimed(lambda settings: {})


def test_a_folder_that_nobody_named_gets_a_number_where_it_is_taken(tmp_path):
    for name in ("12-00-00", "12-00-00-2", "12-00-00-3"):
        with claim(tmp_path / "day" / "12-00-00", is_numbered=True) as folder:
            assert folder == tmp_path / "day" / name
            assert (tmp_path / "day" / name / ".lock").exists()


def test_a_claimed_folder_is_locked_until_the_run_ends_though_the_run_locks_it_too(tmp_path):
    with claim(tmp_path / "run"):
        with locked(tmp_path / "run"):
            pass
        other = SPAWN.Process(target=hold, args=(str(tmp_path / "run"),))
        other.start()
        other.join()
        assert other.exitcode == 1 and not (tmp_path / "run" / "held").exists()


def test_a_claimed_folder_is_removed_if_the_run_ends_with_nothing_of_use_in_it(tmp_path):
    with suppress(SystemExit), claim(tmp_path / "run", arm="a"):
        scaffold(tmp_path / "run")
        raise SystemExit(143)
    assert list(tmp_path.iterdir()) == []
    with suppress(SystemExit), claim(tmp_path / "run", arm="a"):
        (tmp_path / "run" / "a" / "result.json").write_text('{"config": {"seed": 1}}')
        raise SystemExit(143)
    assert (tmp_path / "run" / "a" / "result.json").exists()


def test_the_run_of_another_configuration_is_refused_once_the_folder_is_locked(tmp_path):
    (tmp_path / "result.json").write_text('{"config": {"seed": 2}}')
    with pytest.raises(ConfigError, match=r"another configuration \(seed was 2 and is 1\)"), claim(tmp_path):
        raise AssertionError("it is not reached")


def test_a_run_on_other_data_is_refused_once_the_folder_is_locked_and_nothing_is_written(tmp_path):
    text = '{"config": {"seed": 1}, "fingerprint": {"images": 4}}'
    (tmp_path / "result.json").write_text(text)
    folder = RunFolder(tmp_path, "", ComposedRun({"seed": 1}, {"": {"seed": 1}}), is_numbered=False)
    told = r"on other data \(images was 4 and is 5\)"
    with pytest.raises(ConfigError, match=told), folder.claimed(lambda settings: {"images": 5}):
        raise AssertionError("it is not reached")
    assert (tmp_path / "result.json").read_text() == text and not (tmp_path / ".hydra").exists()
    with folder.claimed(lambda settings: {"images": 4}) as path:
        assert path == tmp_path


@pytest.mark.parametrize("name", ["a b", "a=b,c", "it's", "back\\slash", "end\\", "${seed}", "é", "[x]"])
def test_a_quoted_name_is_what_hydra_reads(name):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=[f"hydra.run.dir={quote_value(name)}"], return_hydra_config=True)
        assert config.hydra.run.dir == name


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 45])  # 45: ENOTSUP of macOS
def test_a_file_system_without_locks_is_used_without_one_and_with_a_warning(code, tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    for _ in range(2):
        with locked(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    (line,) = caplog.messages
    assert line == f"warning: {tmp_path} has no locks ({os.strerror(code)}): start no other run in it"


def test_a_lock_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / ".lock").mkdir()
    told = rf"^x={tmp_path} cannot be locked \(.lock: Is a directory\); name another"
    with pytest.raises(ConfigError, match=told), locked(tmp_path, key="x"):
        pass
