import re
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from noisereg.config import loggers
from noisereg.config.loggers import EXTRAS, check_loggers
from noisereg.errors import ConfigError


@pytest.mark.parametrize("name", EXTRAS)
def test_a_logger_that_is_not_installed_is_refused_with_what_installs_it(name, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"^logger={name} is not installed: pip install 'noisereg\[{name}\]'$"):
        check_loggers({name: True}, [f"logger={name}"])


@pytest.mark.parametrize("name", EXTRAS)
def test_a_folder_that_a_run_has_left_is_no_package(name, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: ModuleSpec(name, None, is_package=True))
    with pytest.raises(ConfigError, match="is not installed"):
        check_loggers({name: True}, [f"logger={name}"])


def test_what_is_not_asked_for_needs_no_package(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    check_loggers({"csv": True, "wandb": True, **dict.fromkeys(EXTRAS, False)}, ["logger=wandb"])
    check_loggers({"csv": True}, [])  # the record of an older version knows no others


@pytest.mark.parametrize("chosen", ["[none,csv]", "[wandb,none]"])
def test_none_stands_alone(chosen):
    with pytest.raises(ConfigError, match=rf"^logger=\{chosen[:-1]}\]: none stands alone$"):
        check_loggers({}, [f"logger={chosen}"])


@pytest.mark.parametrize("name", EXTRAS)
def test_what_installs_a_logger_is_an_extra_of_the_package(name):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (requirement,) = project["optional-dependencies"][name]
    assert re.match(rf"{name}>=[\d.]+$", requirement)
