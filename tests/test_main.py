import gc
import io

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
