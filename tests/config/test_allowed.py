import functools

import pytest
import torch

from noisereg.config.allowed import check_object, check_targets
from noisereg.errors import ConfigError
from noisereg.losses import Hinge
from noisereg.models import torchvision_model
from noisereg.noise import Resample


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("noise", "noisereg.noise.Resample"),
        ("loss", "noisereg.losses.hinge.Hinge"),
        ("model", "torch.nn.Linear"),
        ("model", "torchvision.models.resnet18"),
        ("trainer", "lightning.pytorch.Trainer"),
        ("callbacks", "lightning.pytorch.callbacks.EarlyStopping"),
        ("experiment", "noisereg.theory.neuron_slope"),
    ],
)
def test_each_part_takes_what_it_is_for(key, name):
    check_targets({key: {"part": {"_target_": name}}})


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        ("model", "torch.load", "only noisereg.models.*, torch.nn.*, torchvision.models.* can be built here"),
        ("model", "torch.nnx.Linear", "can be built here"),
        ("noise", "noisereg.losses.Hinge", "only noisereg.noise.* can be built here"),
        ("trainer", "lightning.pytorch.Trainer2", "only lightning.pytorch.Trainer, lightning"),
        ("logger", "noisereg.noise.Resample", "only nothing can be built here; for a package of your own"),
        ("loss", "mine.Loss", r"can be built here; for a package of your own: trust=[mine]"),
        ("loss", "noisereg.losses._private", "can be built here"),
        (
            "loss",
            "noisereg.losses..Hinge",
            "must be the dotted name of what is to be built, got 'noisereg.losses..Hinge'",
        ),
        ("loss", None, "must be the dotted name of what is to be built, got None"),
    ],
)
def test_any_other_name_is_refused(key, name, words):
    with pytest.raises(ConfigError) as refusal:
        check_targets({key: {"_target_": name}})
    assert str(refusal.value).startswith(f"{key}._target_")
    assert words in str(refusal.value)


def test_a_trusted_package_is_that_one_and_not_its_namesakes():
    check_targets({"loss": {"_target_": "mine.deep.Loss"}}, trust=["mine"])
    with pytest.raises(ConfigError, match=r"loss._target_=mines.Loss: only"):
        check_targets({"loss": {"_target_": "mines.Loss"}}, trust=["mine"])


def test_a_constant_rate_has_no_target():
    check_targets({"scheduler": {"_target_": None}})


def test_text_that_would_be_resolved_once_more_is_refused():
    with pytest.raises(ConfigError, match=r"^model.init='\${oc.env:HOME}': an interpolation cannot give another one$"):
        check_targets({"model": {"init": "${oc.env:HOME}"}})


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        ("noise", "noisereg.noise.Resample", Resample),
        ("loss", "noisereg.losses.Hinge", Hinge),
        ("model", "noisereg.models.torchvision_model", torchvision_model),
        ("model", "torch.nn.Linear", torch.nn.Linear),
        ("optimizer", "torch.optim.Adam", torch.optim.Adam),
        ("scheduler", "torch.optim.lr_scheduler.StepLR", torch.optim.lr_scheduler.StepLR),
        ("loss", "mine.Loss", type("Loss", (), {"__module__": "mine"})),
    ],
)
def test_an_object_that_is_what_its_part_builds_passes(key, name, found):
    check_object(key, name, found)


@pytest.mark.parametrize(
    ("key", "name", "found", "home"),
    [
        ("model", "torch.nn.modules.module.functools.reduce", functools.reduce, "_functools.reduce"),
        ("model", "torch.nn.modules.module.torch.load", torch.load, "torch.serialization.load"),
        ("model", "torch.nn.functional.relu", torch.nn.functional.relu, "torch.nn.functional.relu"),
        (
            "model",
            "torch.nn.Module.load_state_dict",
            torch.nn.Module.load_state_dict,
            "torch.nn.modules.module.Module.",
        ),
        ("noise", "noisereg.noise.sample", sum, "builtins.sum"),
        ("loss", "noisereg.losses.rule", Resample, "noisereg.noise.resample.Resample"),
        ("loss", "mine.os.system", print, "builtins.print"),
        ("loss", "noisereg.losses.loss", torch, "builtins.module"),
    ],
)
def test_a_name_that_stands_for_something_else_is_refused(key, name, found, home):
    with pytest.raises(ConfigError, match=rf"^{key}._target_={name} stands for {home}.*, which cannot be built here$"):
        check_object(key, name, found)
