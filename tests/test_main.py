import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from noisereg.__main__ import _load_run, main


def test_training_is_loaded_once_a_process_and_garbage_is_searched_for_afterwards():
    run = _load_run()
    frozen = gc.get_freeze_count()
    garbage = [[number] for number in range(1000)]
    assert _load_run() is run
    assert gc.get_freeze_count() == frozen
    assert gc.isenabled() and len(garbage) == 1000


@pytest.mark.parametrize(("is_terminal", "printed"), [(True, "loading torch and Lightning ...\n"), (False, "")])
def test_a_terminal_says_at_once_what_takes_seconds(is_terminal, printed, monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=is_terminal, color_system=None, highlight=False)
    monkeypatch.setattr("noisereg.__main__.open_console", lambda: console)
    _load_run.__wrapped__()
    assert console.file.getvalue() == printed


def test_a_run_says_first_what_the_file_of_the_project_trusts(tmp_path, monkeypatch, capsys):
    (tmp_path / "noisereg.toml").write_text('trust = ["mypkg"]')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    monkeypatch.setattr("sys.argv", ["train.py", "seed=1"])
    monkeypatch.setattr("noisereg.__main__._start_checked", lambda found: print("started"))
    main()
    assert capsys.readouterr().out.splitlines() == ["trust=[mypkg] stands in noisereg.toml", "started"]


@pytest.mark.parametrize(("end", "code", "is_taken_down"), [("", 0, False), ("sys.exit(3)", 3, True)])
def test_a_whole_program_does_what_is_registered_for_its_end_and_takes_nothing_down(end, code, is_taken_down, tmp_path):
    script = f"""
import atexit, logging, sys
from logging.handlers import MemoryHandler
from noisereg import __main__ as program

class Library:
    def __del__(self):
        print("taken down", flush=True)

def work(found):
    atexit.register(print, "registered")
    logging.getLogger().addHandler(MemoryHandler(9, target=logging.StreamHandler(sys.stdout)))
    logging.getLogger().warning("logged")
    library.files = [open("text", "w"), open("bytes", "wb")]
    library.files[0].write("kept")
    library.files[1].write(b"kept")
    {end}

library, program._start_checked = Library(), work
sys.argv[1:] = []
program.start()
"""
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=around, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == ["registered", "logged", *(["taken down"] * is_taken_down)]
    assert [(tmp_path / name).read_text() for name in ("text", "bytes")] == ["kept"] * 2  # though never closed
