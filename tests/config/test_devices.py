import os

import pytest
import torch

from noisereg.config.devices import check_devices
from noisereg.errors import ConfigError


@pytest.mark.parametrize("asked", ["gpu", "cuda", "mps"])
def test_an_accelerator_that_is_not_there_is_refused(asked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"^trainer.accelerator={asked}: torch finds none on this machine"):
        check_devices({"accelerator": asked, "devices": 1})
    check_devices({"accelerator": "auto", "devices": 1})


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices({"accelerator": "gpu", "devices": 2})
    with pytest.raises(ConfigError, match=r"^trainer.devices=3: torch finds 2 of cuda on this machine$"):
        check_devices({"accelerator": "cuda", "devices": 3})


def test_more_devices_than_gpus_are_refused_under_auto_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices({"accelerator": "auto", "devices": 2})
    with pytest.raises(ConfigError, match=r"^trainer.devices=4: torch finds 2 of gpu on this machine$"):
        check_devices({"accelerator": "auto", "devices": 4})


@pytest.mark.parametrize("asked", ["cpu", "auto"])
def test_more_processes_than_cores_are_warned_of(asked, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    check_devices({"accelerator": asked, "devices": 2})
    assert caplog.messages == []
    check_devices({"accelerator": asked, "devices": 4})
    assert caplog.messages == ["warning: trainer.devices=4 processes share the 2 cores of this CPU"]
