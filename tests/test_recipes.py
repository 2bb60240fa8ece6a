"""What the files under conf/ say: the recipes that a choice brings, and that the command line wins over them."""

import pytest

from noisereg.config.composing import compose_settings
from noisereg.config.sections import walk


def settings(*overrides):
    """Return the configuration by dotted keys."""
    values = walk(compose_settings(*overrides), into=(dict,))
    return {key: value for key, value in values if not isinstance(value, dict)}


CIFAR_RECIPE = {
    "dataset._target_": "noisereg.datasets.Cifar10",
    "dataset.batch_size": 128,
    "dataset.order": "shuffle",
    "dataset.augment": True,
    "dataset.normalize": "imagenet",
    "model.depth": 20,
    "loss._target_": "noisereg.losses.CrossEntropy",
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 1e-4,
    "scheduler.milestones": [100, 150],
    "scheduler.gamma": 0.1,
    "trainer.max_epochs": 200,
}
MNIST_RECIPE = {
    "dataset._target_": "noisereg.datasets.Mnist",
    "dataset.batch_size": 1,
    "dataset.order": "replacement",
    "dataset.normalize": "unit",
    "model._target_": "noisereg.models.TwoLayer",
    "model.hidden": 600,
    "model.init": "torch",
    "loss._target_": "noisereg.losses.Logistic",
    "optimizer.lr": 0.01,
    "optimizer.momentum": 0.0,
    "scheduler.step_size": 5,
    "scheduler.gamma": 0.5,
    "trainer.max_epochs": 25,
    "seeds": 1,
}
HYPERCUBE_RECIPE = {
    "dataset.d": 60,
    "dataset.eps": 0.3,
    "dataset.train_size": 240,
    "dataset.batch_size": 1,
    "dataset.order": "replacement",
    "model.hidden": 240,
    "model.init": "uniform",
    "model.bias": "zero",
    "loss._target_": "noisereg.losses.Logistic",
    "noise._target_": "noisereg.noise.Resample",
    "optimizer.lr": 1 / 60,
    "noise.p": [0, 0.2],
    "seeds": 20,
    "trainer.max_epochs": 1000,
}


@pytest.mark.parametrize(
    ("overrides", "recipe"),
    [
        ([], HYPERCUBE_RECIPE),
        (["experiment=fig1_hypercube"], HYPERCUBE_RECIPE),
        (["dataset=mnist"], MNIST_RECIPE | {"noise.p": 0.2}),
        (["noise=smoothing"], HYPERCUBE_RECIPE | {"noise.p": 0.1, "noise.expected": True}),
        (["noise=none"], HYPERCUBE_RECIPE | {"noise.p": 0, "noise._target_": "noisereg.noise.NoNoise"}),
        (["model=mlp"], {"noise.p": 0.2, "seeds": 1}),
        (["model=neuron", "dataset=gaussian"], {"noise.p": 0.2, "seeds": 1}),
        (["experiment=fig5_mnist"], MNIST_RECIPE | {"noise.p": [0, 0.1], "seeds": 5}),
        (["model=resnet20"], CIFAR_RECIPE),
        (["experiment=fig7_resnet20"], CIFAR_RECIPE),
        (["model=resnet110"], CIFAR_RECIPE | {"model.depth": 110}),
        (["model=resnet20", "dataset=cifar100"], CIFAR_RECIPE | {"dataset._target_": "noisereg.datasets.Cifar100"}),
    ],
)
def test_a_choice_brings_its_recipe(overrides, recipe):
    found = settings(*overrides)
    assert {key: found.get(key) for key in recipe} == recipe


@pytest.mark.parametrize("choice", ["model=resnet20", "dataset=mnist", "experiment=fig7_resnet20"])
def test_the_command_line_wins_over_every_recipe(choice):
    values = {
        "dataset.batch_size": 32,
        "dataset.order": "replacement",
        "optimizer.lr": 0.3,
        "optimizer.momentum": 0.5,
        "trainer.max_epochs": 7,
        "noise.p": 0.4,
        "callbacks.sparsity.every_n_epochs": 3,
    }
    words = [f"{key}={value}" for key, value in values.items()]
    found = settings(choice, "dataset=cifar100", "loss=hinge", "scheduler=cosine", *words)
    assert {key: found[key] for key in values} == values
    assert found["dataset._target_"] == "noisereg.datasets.Cifar100"
    assert found["loss._target_"] == "noisereg.losses.Hinge"
    assert found["scheduler.T_max"] == 7 and "scheduler.gamma" not in found


@pytest.mark.parametrize(
    ("logger", "names"),
    [
        ("wandb", {"csv", "wandb"}),
        ("csv", {"csv"}),
        ("none", set()),
        ("tensorboard", {"csv", "tensorboard"}),
        ("[wandb,csv]", {"csv", "wandb"}),
        ("[csv,wandb]", {"csv", "wandb"}),
        ("[mlflow,trackio,tensorboard]", {"csv", "mlflow", "trackio", "tensorboard"}),
    ],
)
def test_a_logger_writes_what_its_name_says(logger, names):
    found = settings(f"logger={logger}")
    assert {name for name in ("csv", "wandb", "tensorboard", "trackio", "mlflow") if found[f"logger.{name}"]} == names
