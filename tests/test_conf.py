"""Every file under conf/ composes with the rest, passes the checks, and builds what it names."""

import inspect
import math
import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from types import ModuleType, SimpleNamespace
from typing import get_args

import pytest
import torch
from hydra.utils import get_object, instantiate
from lightning.pytorch import Callback, Trainer
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

import noisereg
from noisereg import models
from noisereg.config.composing import compose_settings, conf_dir
from noisereg.config.plan import Plan
from noisereg.datasets import InMemory
from noisereg.errors import ConfigError
from noisereg.losses import Loss
from noisereg.noise import Corruption, Rule, Schedule
from noisereg.training.build import build_data, build_loss, build_model, build_rule
from noisereg.training.one_by_one import build_module


def options(group):
    """The values that a group may have."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


GROUPS = sorted({str(path.parent.relative_to(conf_dir())) for path in conf_dir().rglob("*.yaml")} - {"."})
ALL = [f"{group}={option}" for group in GROUPS for option in options(group)]
SHAPES = {  # of an input, and the number of classes
    "characters": ((32,), 27),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "fashion_mnist": ((1, 28, 28), 10),
    "gaussian": ((30,), 2),
    "hypercube": ((60,), 2),
    "image_folder": ((3, 32, 32), 2),
    "mnist": ((1, 28, 28), 10),
    "parity": ((30,), 2),
    "standard_basis": ((30,), 2),
}
FACTORS = {  # of p, in five epochs
    "constant": [1, 1, 1, 1, 1],
    "linear": [0, 0.25, 0.5, 0.75, 1],
    "cosine": [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0],
    "step": [1, 1, 1, 0, 0],
    "square_wave": [1, 0, 1, 0, 1],
}
RATES = {  # factors of the learning rate, in some of two hundred epochs
    "constant": {0: 1, 199: 1},
    "step": {4: 1, 5: 0.5, 9: 0.5, 10: 0.25},
    "multistep": {99: 1, 100: 0.1, 149: 0.1, 150: 0.01},
    "cosine": {0: 1, 50: (1 + math.sqrt(0.5)) / 2, 100: 0.5, 199: (1 + math.cos(math.pi * 199 / 200)) / 2},
}
NEEDS = {"recipe=text": ["model=gpt_tiny", "dataset=characters"]}  # beside the choice itself


@cache
def settings(*overrides):
    return compose_settings(*overrides, *(line for one in overrides for line in NEEDS.get(one, [])))


MATRIX = "noise.matrix=[[0.9,0.1],[0.5,0.5]]"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images in two classes."""
    root = tmp_path_factory.mktemp("images")
    for split, name in product(("train", "test"), ("cat", "dog")):
        (root / split / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(root / split / name / "0.png")
    return root


@pytest.mark.parametrize("choice", ALL)
def test_every_option_composes_with_the_rest_and_passes_the_checks(choice):
    assert settings(choice)["seed"] == 0


@pytest.mark.parametrize(("dataset", "loss"), list(product(options("dataset"), options("loss"))))
def test_every_data_set_composes_with_every_loss(dataset, loss):
    chosen = settings(f"dataset={dataset}", f"loss={loss}")
    _, num_classes = SHAPES[dataset]
    logits = torch.zeros(3, 1 if num_classes == 2 else num_classes)
    assert math.isfinite(build_loss(chosen)(logits, torch.tensor([0, 1, 1])))


RULES = [noise for noise in options("noise") if noise != "file"]  # that one needs a file, see tests/noise


@pytest.mark.parametrize(("noise", "loss"), list(product(RULES, options("loss"))))
def test_every_noise_composes_with_every_loss(noise, loss):
    chosen = settings(f"noise={noise}", f"loss={loss}", *([MATRIX] if noise == "transition" else []))
    num_classes = 2 if noise == "transition" else 10
    rule = build_rule(chosen, Plan(chosen).axes["p"][-1], num_classes=num_classes)
    labels = torch.arange(num_classes)
    targets = Corruption(rule, num_classes=num_classes, seed=0)(labels, 0, labels)
    assert targets.is_floating_point() == (noise == "smoothing")
    assert math.isfinite(build_loss(chosen)(torch.zeros(num_classes, num_classes), targets))


@pytest.mark.parametrize(("dataset", "model"), list(product(options("dataset"), options("model"))))
def test_every_model_fits_every_data_set_or_says_why_not(dataset, model):
    shape, num_classes = SHAPES[dataset]
    chosen = settings(f"dataset={dataset}", f"model={model}")
    if refusal := refusal_of(dataset, model):
        with pytest.raises(ConfigError, match=refusal):
            build_model(chosen, 0, input_shape=shape, num_classes=num_classes)
        return
    with torch.no_grad():
        logits = build_model(chosen, 0, input_shape=shape, num_classes=num_classes).eval()(torch.zeros(1, *shape))
    assert logits.shape == (1, 1 if num_classes == 2 else num_classes)
    assert unknown_keys(chosen["dataset"]) == set()


def refusal_of_library(dataset, model):
    """What is said of a network of a library that is not installed, or cannot take such inputs."""
    dimensions = len(SHAPES[dataset][0])
    if find_spec(model) is None:
        return rf"model: there is no module {model}: pip install 'noisereg\[{model}\]'"
    if model == "timm":
        return r"model: input_shape must be \(channels, height, width\)" if dimensions == 1 else None
    if dataset == "characters":
        return None
    return "name must be a classifier of images" if dimensions == 3 else "inputs must be tokens in"


def refusal_of(dataset, model):
    """What is said of a model that cannot take such inputs, or tell so many classes apart."""
    shape, num_classes = SHAPES[dataset]
    if model == "gpt_tiny" and dataset != "characters":
        return r"model: input_shape must be \(context,\) of at least 3 kinds of tokens"
    if model.startswith(("resnet", "vit", "cnn")) and len(shape) == 1:
        return r"model: input_shape must be \(channels, height, width\)"
    if model in ("timm", "transformers"):
        return refusal_of_library(dataset, model)
    if model == "torchvision" and shape[0] != 3:
        return r"model: input_shape must be \(3, height, width\)"
    return f"model: num_outputs must be 1, got {num_classes}" if model == "neuron" and num_classes > 2 else None


@pytest.mark.parametrize("dataset", options("dataset"))
def test_every_data_set_has_the_shape_and_the_classes_of_its_source(dataset, images):
    section = settings(f"dataset={dataset}", *([f"dataset.root={images}"] if dataset == "image_folder" else []))
    data = instantiate(section["dataset"], seed=0, _convert_="all")
    assert (tuple(data.input_shape), data.num_classes) == SHAPES[dataset]


@pytest.mark.parametrize("dataset", ["gaussian", "hypercube", "parity", "standard_basis", "image_folder", "characters"])
def test_every_data_set_without_a_download_loads(dataset, images, tmp_path, monkeypatch):
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path))
    root = [f"dataset.root={images}"] if dataset == "image_folder" else []
    data = build_data(settings(f"dataset={dataset}", *root), 0)
    batch = next(iter(data.train_dataloader()))
    assert tuple(batch["input"].shape[1:]) == SHAPES[dataset][0] and batch["label"].max() < SHAPES[dataset][1]


@pytest.mark.parametrize("noise", RULES)
def test_every_noise_builds_a_rule_whose_rows_are_laws(noise):
    chosen = settings(f"noise={noise}", *([MATRIX] if noise == "transition" else []))
    num_classes = 2 if noise == "transition" else 10
    for p in Plan(chosen).axes["p"]:
        transition = build_rule(chosen, p, num_classes=num_classes).transition(num_classes)
        assert transition.sum(dim=1).tolist() == pytest.approx([1.0] * len(transition))


@pytest.mark.parametrize("schedule", options("noise/schedule"))
def test_every_noise_schedule_has_the_factors_that_its_name_says(schedule):
    built = instantiate(settings(f"noise/schedule={schedule}")["noise"]["schedule"])
    assert [built.factor(epoch, 5) for epoch in range(5)] == pytest.approx(FACTORS[schedule])


@pytest.mark.parametrize("scheduler", options("scheduler"))
@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_every_optimizer_and_scheduler_sets_the_learning_rates_that_its_file_says(optimizer, scheduler):
    chosen = settings(f"optimizer={optimizer}", f"scheduler={scheduler}", "optimizer.lr=0.5", "trainer.max_epochs=200")
    made = build_module(chosen, build_data(chosen, 0), lr=0.5, seed=0).configure_optimizers()
    made = made if isinstance(made, dict) else {"optimizer": made}
    assert type(made["optimizer"]).__name__.lower() == optimizer
    rates = []
    for _ in range(200):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        for part in made.values():
            part.step()
    expected = RATES[scheduler]
    assert [rates[epoch] for epoch in expected] == pytest.approx([0.5 * factor for factor in expected.values()])


def test_every_callback_is_built(tmp_path):
    for name, section in settings()["callbacks"].items():
        place = {"dirpath": str(tmp_path)} if name == "checkpoint" else {}
        assert isinstance(instantiate(section, **place), Callback)


def test_the_trainer_is_built():
    trainer = instantiate(settings()["trainer"], accelerator="cpu", logger=False, enable_progress_bar=False)
    assert isinstance(trainer, Trainer) and trainer.max_epochs == settings()["trainer"]["max_epochs"]


@cache
def targets():
    """Whatever a file under conf/ names as its target."""
    files = [OmegaConf.to_container(OmegaConf.load(path)) for path in conf_dir().rglob("*.yaml")]
    return {get_object(name) for file in files for name in _names(file)}


def _names(node):
    for key, value in node.items() if isinstance(node, dict) else ():
        yield from [value] if key == "_target_" else _names(value)


def modules_of(room):
    package = import_module(f"noisereg.{room}")
    return [import_module(found.name) for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]


def concrete(base, modules):
    """The classes that can be built, of those that the modules define."""
    found = [thing for module in modules for thing in vars(module).values() if inspect.isclass(thing)]
    names = {module.__name__ for module in modules}
    return {c for c in found if issubclass(c, base) and not inspect.isabstract(c) and c.__module__ in names}


def makers_of_models(package):
    """The public classes of networks, and the public functions that return one."""
    public = [getattr(package, name) for name in package.__all__]
    return {
        thing
        for thing in public
        if (inspect.isclass(thing) and issubclass(thing, nn.Module))
        or (inspect.isfunction(thing) and inspect.signature(thing).return_annotation is nn.Module)
    }


@pytest.mark.parametrize(
    ("base", "room", "at_least"),
    [(Rule, "noise", 4), (Schedule, "noise", 5), (Loss, "losses", 5), (InMemory, "datasets", 8)],
)
def test_every_class_that_can_be_built_is_the_target_of_a_file(base, room, at_least):
    found = concrete(base, modules_of(room))
    assert len(found) >= at_least
    assert found <= targets()


def test_every_public_model_is_the_target_of_a_file():
    found = makers_of_models(models)
    assert {"TwoLayer", "torchvision_model"} <= {maker.__name__ for maker in found}
    assert found <= targets()


def test_a_class_without_a_file_is_found():
    module = ModuleType("made_up")
    module.Forgotten = type("Forgotten", (noisereg.noise.Flip,), {"__module__": "made_up"})
    assert concrete(Rule, [module]) - targets() == {module.Forgotten}
    package = SimpleNamespace(__all__=["Forgotten"], Forgotten=type("Forgotten", (nn.Module,), {}))
    assert makers_of_models(package) - targets() == {package.Forgotten}


def arguments_of(target):
    """The names that a target takes, those of an unpacked dictionary included."""
    names = set()
    for parameter in inspect.signature(target).parameters.values():
        unpacked = get_args(parameter.annotation) if parameter.kind is parameter.VAR_KEYWORD else ()
        names |= set(unpacked[0].__annotations__) if unpacked else {parameter.name}
    return names


def unknown_keys(section):
    """The keys that the target of a section does not take."""
    known = arguments_of(get_object(section["_target_"]))
    return {key for key in section if not key.startswith("_")} - known


@pytest.mark.parametrize("choice", ALL)
def test_every_key_is_an_argument_of_the_target(choice):
    chosen = settings(choice)
    noise = {key: value for key, value in chosen["noise"].items() if key != "schedule"}
    sections = {**chosen, **chosen["callbacks"], "noise": noise, "noise.schedule": chosen["noise"]["schedule"]}
    built = {name: part for name, part in sections.items() if isinstance(part, dict) and "_target_" in part}
    assert {"dataset", "model", "loss", "noise", "noise.schedule", "optimizer", "trainer", "sparsity"} <= set(built)
    assert {name: unknown for name, part in built.items() if (unknown := unknown_keys(part))} == {}


def test_a_key_that_is_no_argument_is_found():
    assert unknown_keys({"_target_": "noisereg.datasets.Hypercube", "d": 3, "val_size": 0, "foo": 1}) == {"foo"}
