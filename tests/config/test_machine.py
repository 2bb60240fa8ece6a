import os
import re
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from noisereg.config import machine
from noisereg.config.machine import LOGGERS, check_devices, check_installed, check_loggers
from noisereg.errors import ConfigError


@pytest.mark.parametrize("asked", ["gpu", "cuda", "mps"])
def test_an_accelerator_that_is_not_there_is_refused(asked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"^trainer.accelerator={asked}: torch finds none on this machine"):
        check_devices({"accelerator": asked, "devices": 1})
    check_devices({"accelerator": "auto", "devices": 1})


@pytest.mark.parametrize(("asked", "too_many", "named"), [("cuda", 3, "cuda"), ("gpu", 3, "gpu"), ("auto", 4, "gpu")])
def test_more_devices_than_there_are_gpus_are_refused(asked, too_many, named, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices({"accelerator": asked, "devices": 2})
    with pytest.raises(ConfigError, match=rf"^trainer.devices={too_many}: torch finds 2 of {named} on this machine$"):
        check_devices({"accelerator": asked, "devices": too_many})


@pytest.mark.parametrize("asked", ["cpu", "auto"])
def test_more_processes_than_cores_are_warned_of(asked, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    check_devices({"accelerator": asked, "devices": 2})
    assert caplog.messages == []
    check_devices({"accelerator": asked, "devices": 4})
    assert caplog.messages == ["warning: trainer.devices=4 processes share the 2 cores of this CPU"]


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_that_is_not_installed_is_refused_with_what_installs_it(name, monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"^logger={name} is not installed: pip install 'noisereg\[{name}\]'$"):
        check_loggers({name: True}, [f"logger={name}"])


@pytest.mark.parametrize("name", LOGGERS)
def test_a_folder_that_a_run_has_left_is_no_package(name, monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: ModuleSpec(name, None, is_package=True))
    with pytest.raises(ConfigError, match="is not installed"):
        check_loggers({name: True}, [f"logger={name}"])


def test_what_is_not_asked_for_needs_no_package(monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    check_loggers({"csv": True, "wandb": True, **dict.fromkeys(LOGGERS, False)}, ["logger=wandb"])
    check_loggers({"csv": True}, [])  # the record of an older version knows no others


@pytest.mark.parametrize("chosen", ["[none,csv]", "[wandb,none]"])
def test_none_stands_alone(chosen):
    with pytest.raises(ConfigError, match=rf"^logger=\{chosen[:-1]}\]: none stands alone$"):
        check_loggers({}, [f"logger={chosen}"])


@pytest.mark.parametrize("name", LOGGERS)
def test_what_installs_a_logger_is_an_extra_of_the_package(name):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (requirement,) = project["optional-dependencies"][name]
    assert re.match(rf"{name}>=[\d.]+$", requirement)


@pytest.mark.parametrize(("launcher", "extra"), [("ray_cpu", "ray"), ("slurm", "slurm"), ("submitit_local", "slurm")])
def test_a_launcher_that_is_not_installed_is_named_with_what_to_install(launcher, extra, monkeypatch):
    for plugin in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, f"hydra_plugins.hydra_{plugin}_launcher", None)
    with pytest.raises(ConfigError, match=rf"^hydra/launcher={launcher} .*pip install 'noisereg\[{extra}\]'$"):
        check_installed(launcher)
