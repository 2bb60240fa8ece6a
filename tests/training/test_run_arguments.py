from argparse import Namespace

import pytest
from omegaconf import OmegaConf

from noisereg.config.composing import check_safe, compose_settings
from noisereg.errors import ConfigError
from noisereg.runs.reading import Run
from noisereg.terminal import open_console
from noisereg.training import run_arguments
from noisereg.training.load import TrainedRun
from noisereg.training.run_arguments import load_asked

ASKED = {"run": "run", "arm": "", "root": None, "trust": []}


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """What runs are loaded with, in an empty folder."""
    seen = []
    monkeypatch.chdir(tmp_path)

    def load(folder, **given):
        seen.append(given["trust"])
        return TrainedRun(Run(tmp_path, "finished", record={}), {})

    monkeypatch.setattr(run_arguments, "load", load)
    return seen


def test_a_command_on_a_run_trusts_what_the_project_does_unless_it_names_its_own(loaded, tmp_path, capsys):
    load_asked(Namespace(**ASKED), open_console())
    (tmp_path / "noisereg.toml").write_text('trust = ["lab"]\n')
    load_asked(Namespace(**ASKED), open_console())
    load_asked(Namespace(**ASKED | {"trust": ["other"]}), open_console())
    assert loaded == [[], ["lab"], ["other"]]
    assert capsys.readouterr().out == "trust=[lab] stands in noisereg.toml\n"


def test_what_a_stranger_could_have_left_with_a_run_or_with_data_is_not_trusted(loaded, tmp_path):
    (tmp_path / "noisereg.toml").write_text('trust = ["lab"]\n')
    with pytest.raises(ConfigError, match="the folder of data, where it counts for nothing"):
        load_asked(Namespace(**ASKED | {"root": tmp_path}), open_console())
    (tmp_path / "result.json").touch()
    with pytest.raises(ConfigError, match="the folder of a run, where it counts for nothing"):
        load_asked(Namespace(**ASKED), open_console())
    assert loaded == []


def test_a_package_that_is_not_trusted_is_named_with_the_option_of_the_command(monkeypatch):
    settings = compose_settings("noise.p=0.2")
    settings["model"] = {"_target_": "lab.net.Net"}
    config = OmegaConf.create(settings)
    monkeypatch.setattr(run_arguments, "load", lambda *run, **given: check_safe(config, []))
    with pytest.raises(ConfigError, match=r"for a package of your own: --trust lab$"):
        load_asked(Namespace(**ASKED), open_console())
