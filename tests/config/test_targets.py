import functools
import sys

import pytest
import torch

from noisereg.config.targets import check_object, check_targets, defining_name, same_target, targets
from noisereg.errors import ConfigError
from noisereg.losses import Hinge
from noisereg.models import torchvision_model
from noisereg.noise import Resample


def test_every_target_is_found_however_deep_it_lies():
    config = {"a": {"_target_": "x.Y", "_args_": [{"_target_": 3}], "b": [[{"c": {"_target_": "z.Z"}}]]}}
    assert list(targets(config)) == [("a", "x.Y"), ("a._args_[0]", 3), ("a.b[0][0].c", "z.Z")]


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


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("noisereg.models.two_layer.TwoLayer", "noisereg.models.TwoLayer"),
        ("noisereg.models.TwoLayer", "noisereg.models.TwoLayer"),
        ("torch.optim.sgd.SGD", "torch.optim.SGD"),
        ("mine.Net", "mine.Net"),
    ],
)
def test_two_names_of_one_class_are_the_same_target(name, other):
    assert same_target(name, other)
    assert same_target(other, name)
    assert same_target({"_target_": name, "hidden": 3}, other)


@pytest.mark.parametrize("name", ["mine.SGD", "torch.optim.Adam", "torch.optim.nothing.SGD", "noisereg.models.SGD"])
def test_a_class_of_the_same_last_name_is_another_target(name):
    assert not same_target(name, "torch.optim.SGD")


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("torch.optim.SGD", torch.optim.SGD),
        ("torch.optim.Adam", torch.optim.Adam),
        ("torch.optim.lr_scheduler.StepLR", torch.optim.lr_scheduler.StepLR),
        ("noisereg.losses.Hinge", Hinge),
        ("noisereg.noise.Resample", Resample),
    ],
)
def test_the_defining_name_is_the_one_that_the_class_itself_has(name, cls):
    assert defining_name(name) == f"{cls.__module__}.{cls.__qualname__}"
    assert defining_name(f"{cls.__module__}.{cls.__qualname__}") == f"{cls.__module__}.{cls.__qualname__}"


def test_a_defining_name_is_found_through_other_names_without_an_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "unseen_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit\nfrom unseen_package.inner import Net as Model\n")
    (package / "inner.py").write_text("from noisereg.models import TwoLayer as Net\nfrom unseen_package import a\n")
    (package / "a.py").write_text("from unseen_package.b import Round\n")
    (package / "b.py").write_text("from unseen_package.a import Round\n")
    (package / "broken.py").write_text("def")
    assert defining_name("unseen_package.Model") == "noisereg.models.two_layer.TwoLayer"
    assert same_target("unseen_package.Model", "noisereg.models.TwoLayer")
    assert defining_name("unseen_package.a.Round").endswith(".Round")
    assert defining_name("unseen_package.broken.Net") == "unseen_package.broken.Net"
    assert defining_name("__main__.Net") == "__main__.Net"
    assert "unseen_package" not in sys.modules
