import functools
import inspect

import lightning.pytorch
import pytest
import torch
import torchvision
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.feature_extraction import create_feature_extractor

import noisereg.theory
from noisereg.config.allowed import Listed, allowed_rules, check_object, check_targets
from noisereg.errors import ConfigError
from noisereg.losses import Hinge
from noisereg.models import initialize, timm_model, torchvision_model, transformers_model
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
        ("logger", "noisereg.noise.Resample", "nothing can be built here; for a package of your own"),
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


@pytest.mark.parametrize(
    ("key", "section", "message"),
    [
        ("model", {"_target_": "torch.nn.ModuleDict", "_args_": [{"a b": 1}]}, r"model has the key 'a b': a name here"),
        (
            "model",
            {"_target_": "torchvision.models.alexnet", "_args_": [1]},
            r"model._args_: give the arguments of torch",
        ),
        (
            "callbacks",
            {"a": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "out"}},
            r"callbacks.a.dirpath='out' does not stand on the command line, where alone",
        ),
        (
            "callbacks",
            {"a": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "filename": "a/b"}},
            r"callbacks.a.filename='a/b' does not stand on the command line",
        ),
        (
            "model",
            {"_target_": "noisereg.models.timm_model", "pretrained": True},
            "model.pretrained=True does not stand on the command line",
        ),
        (
            "model",
            {"_target_": "noisereg.models.transformers_model", "pretrained": "me/net"},
            "model.pretrained='me/net' does not stand on the command line",
        ),
        (
            "model",
            {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torchvision.models.alexnet", "weights": "X"}]},
            r"model._args_\[0\].weights='X' does not stand on the command line",
        ),
    ],
)
def test_arguments_that_a_file_cannot_give_are_refused(key, section, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        check_targets({key: section})


def test_the_command_line_can_say_where_files_are_written_and_what_is_downloaded():
    checkpoint = {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "out"}
    net = {"_target_": "torchvision.models.alexnet", "weights": "DEFAULT"}
    check_targets({"callbacks": {"a": checkpoint}, "model": net}, stated=["callbacks.a.dirpath", "model.weights"])


def test_ordinary_arguments_pass():
    checkpoint = {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "filename": "best", "dirpath": None}
    layers = {"_target_": "torch.nn.ModuleDict", "_args_": [{"layer-1": {"_target_": "torch.nn.ReLU"}, "größe": 1}]}
    net = {"_target_": "torchvision.models.alexnet", "weights": None, "dropout": 0.5}
    check_targets({"callbacks": {"a": checkpoint}, "model": {"_target_": "noisereg.models.MLP", "x": [layers, net]}})


def test_what_a_trusted_class_takes_is_its_own_matter():
    section = {"_target_": "mine.Table", "path": "table.csv", "names": {"a b": 1}, "_args_": [1]}
    check_targets({"callbacks": {"a": section}, "model": section}, trust=["mine"])


def test_a_trusted_package_is_that_one_and_not_its_namesakes():
    check_targets({"loss": {"_target_": "mine.deep.Loss"}}, trust=["mine"])
    with pytest.raises(ConfigError, match=r"loss._target_=mines.Loss: only"):
        check_targets({"loss": {"_target_": "mines.Loss"}}, trust=["mine"])


def test_text_that_would_be_resolved_once_more_is_refused():
    with pytest.raises(ConfigError, match=r"^model.init='\${oc.env:HOME}': an interpolation cannot give another one$"):
        check_targets({"model": {"init": "${oc.env:HOME}"}})


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        ("noise", "noisereg.noise.Resample", Resample),
        ("loss", "noisereg.losses.Hinge", Hinge),
        ("model", "noisereg.models.torchvision_model", torchvision_model),
        ("model", "noisereg.models.timm_model", timm_model),
        ("model", "noisereg.models.transformers_model", transformers_model),
        ("model", "torch.nn.Linear", torch.nn.Linear),
        ("model", "torchvision.models.resnet18", torchvision.models.resnet18),
        ("model", "torchvision.models.resnet.resnet18", torchvision.models.resnet18),
        ("trainer", "lightning.pytorch.Trainer", lightning.pytorch.Trainer),
        ("trainer", "lightning.pytorch.strategies.DDPStrategy", lightning.pytorch.strategies.DDPStrategy),
        ("callbacks", "lightning.pytorch.callbacks.EarlyStopping", lightning.pytorch.callbacks.EarlyStopping),
        ("experiment", "noisereg.theory.neuron_slope", noisereg.theory.neuron_slope),
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
        (
            "model",
            "torchvision.models.feature_extraction.create_feature_extractor",
            create_feature_extractor,
            "torchvision.models.feature_extraction.create_feature_extractor",
        ),
        (
            "model",
            "torchvision.models.detection.fasterrcnn_resnet50_fpn",
            fasterrcnn_resnet50_fpn,
            "torchvision.models.detection.faster_rcnn.fasterrcnn_resnet50_fpn",
        ),
        ("model", "torchvision.models.get_model", torchvision.models.get_model, "torchvision.models._api.get_model"),
        ("model", "torchvision.models.ResNet", torchvision.models.ResNet, "torchvision.models.resnet.ResNet"),
        ("model", "torch.nn.DataParallel", torch.nn.DataParallel, "torch.nn.parallel.data_parallel.DataParallel"),
        ("model", "noisereg.models.initialize", initialize, "noisereg.models.init.initialize"),
        (
            "callbacks",
            "lightning.pytorch.callbacks.SpikeDetection",
            lightning.pytorch.callbacks.SpikeDetection,
            "lightning.pytorch.callbacks.spike.SpikeDetection",
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


# Arguments that may be a text, or anything, by the class of Lightning; what they do stands in docs/security.md.
TEXTS = {
    "Trainer": {"accelerator", "strategy", "devices", "max_time", "val_check_interval", "gradient_clip_algorithm"}
    | {"profiler", "default_root_dir", "model_registry"},
    "DDPStrategy": {"ddp_comm_hook", "ddp_comm_wrapper", "process_group_backend", "kwargs"},
    "FSDPStrategy": {"process_group_backend", "kwargs"},
    "ModelParallelStrategy": {"process_group_backend"},
    "AdvancedProfiler": {"dirpath", "filename"},
    "PassThroughProfiler": {"dirpath", "filename"},
    "PyTorchProfiler": {"dirpath", "filename", "sort_by_key", "table_kwargs", "profiler_kwargs"},
    "SimpleProfiler": {"dirpath", "filename"},
    "BackboneFinetuning": {"lambda_func"},
    "EarlyStopping": {"monitor", "mode"},
    "EMAWeightAveraging": {"device", "kwargs"},
    "ModelCheckpoint": {"dirpath", "filename", "monitor", "mode"},
    "ModelPruning": {"pruning_fn", "parameters_to_prune", "parameter_names", "amount", "apply_pruning"}
    | {"use_lottery_ticket_hypothesis"},
    "ModelSummary": {"summarize_kwargs"},
    "OnExceptionCheckpoint": {"dirpath", "filename"},
    "RichModelSummary": {"summarize_kwargs"},
    "RichProgressBar": {"console_kwargs"},
    "StochasticWeightAveraging": {"avg_fn", "device"},
    "ThroughputMonitor": {"batch_size_fn", "length_fn", "kwargs"},
    "Timer": {"duration", "interval"},
    "WeightAveraging": {"device", "kwargs"},
}


def test_each_text_that_a_class_of_lightning_takes_has_been_looked_at():
    rules = [rule for part in ("trainer", "callbacks") for rule in allowed_rules(part) if isinstance(rule, Listed)]
    words = ("str", "Path", "Any", "Callable", "_empty")
    for found in (member for rule in rules for member in rule.members()):
        arguments = inspect.signature(found).parameters.values()
        texts = {item.name for item in arguments if any(word in str(item.annotation) for word in words)}
        hooks = {name for name in texts if name in dir(lightning.pytorch.Callback)}  # of LambdaCallback
        assert texts - hooks <= TEXTS.get(found.__name__, set()), found
