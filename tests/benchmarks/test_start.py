import pytest

from benchmarks import start
from benchmarks.start import Start


def test_the_ratio_is_to_the_peer_of_the_same_round_and_the_first_round_is_dropped(monkeypatch):
    seconds = iter([9.0, 9.0, 1.0, 3.0, 2.0, 4.0, 1.0, 2.5])
    monkeypatch.setattr(start, "wait_for", lambda program: next(seconds))
    starts = {"peer": Start(["-c", ""]), "ours": Start(["-c", ""], peer="peer", goal=2.5)}
    peer, ours = start.measure(starts, rounds=3)
    assert (peer["seconds"], ours["seconds"]) == ([1.0, 2.0, 1.0], [3.0, 4.0, 2.5])
    assert (ours["ratio"], ours["met"]) == ([3.0, 2.0, 2.5], True)


def test_a_program_is_waited_for_until_its_line():
    assert start.wait_for(Start(["-c", "import time; print('engine x'); time.sleep(60)"], until="engine")) < 50


def test_a_line_that_never_comes_is_an_error():
    with pytest.raises(RuntimeError, match=r"^no line of .* began with engine$"):
        start.wait_for(Start(["-c", "print('other')"], until="engine"))


def test_no_round_is_refused(capsys):
    with pytest.raises(SystemExit):
        start.main(["--rounds", "0"])
    assert "--rounds: it must be at least 1, got 0" in capsys.readouterr().err
