import sys
from contextlib import suppress

from noisereg.__main__ import train
from noisereg.config.composing import conf_dir
from noisereg.config.help_text import compose_help


def test_the_help_is_word_for_word_that_which_hydra_composes_itself(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with suppress(SystemExit):
        train()
    assert capsys.readouterr().out == compose_help(conf_dir()) + "\n"
