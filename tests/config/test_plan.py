import pytest

from noisereg.config.composing import compose_settings
from noisereg.config.plan import trains_replicas, why_not_stacked
from noisereg.errors import ConfigError

ONE = ("noise.p=0.1", "seeds=1")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=neuron", "dataset=gaussian"],
        ["dataset=mnist"],
        ["trainer.precision=64-true"],
        ["dataset.batch_size=8"],
        ["engine=blocked"],
        ["scheduler=cosine", "noise/schedule=linear"],
    ],
)
def test_networks_with_one_hidden_layer_and_plain_sgd_are_stacked(overrides):
    assert trains_replicas(compose_settings(*overrides))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model=mlp"], r"model MLP cannot be stacked \(two_layer and neuron can\)"),
        (["model=resnet20"], "model ResNet cannot be stacked"),
        (["engine=none"], "engine=none trains one network"),
        (["optimizer=adam"], "Adam is not plain SGD"),
        (["optimizer.momentum=0.9"], "optimizer.momentum is not plain SGD"),
        (["optimizer.weight_decay=0.1"], "optimizer.weight_decay is not plain SGD"),
        (["+optimizer.dampening=0.1"], "optimizer.dampening is not plain SGD"),
        (["trainer.devices=2"], "trainer.devices=2 shares one network"),
        (["trainer.precision=bf16-mixed"], "trainer.precision=bf16-mixed is not an engine's"),
        (["+trainer.gradient_clip_val=1"], "trainer.gradient_clip_val is not for an engine"),
        (["callbacks.sparsity.layers=[relu]"], "callbacks.sparsity chooses layers"),
        (["callbacks.checkpoint.every_n_train_steps=9"], "callbacks.checkpoint counts the steps of one network"),
    ],
)
def test_what_cannot_be_stacked_is_trained_alone_and_its_lists_are_refused_with_the_reason(overrides, reason):
    assert not trains_replicas(compose_settings(*overrides, *ONE))
    with pytest.raises(
        ConfigError, match=rf"^noise.p=\[0, 0.2\] trains replicas in one run, but {reason}.*; for a run "
    ):
        trains_replicas(compose_settings(*overrides, "noise.p=[0,0.2]", "seeds=1"))


def test_each_list_is_refused_with_the_multirun_that_does_the_same():
    alone = ["model=mlp", "noise.p=0.1", "seeds=1"]
    with pytest.raises(ConfigError, match=r"-m noise.p=0,0.2$"):
        trains_replicas(compose_settings(*alone, "noise.p=[0,0.2]"))
    with pytest.raises(ConfigError, match=r"^seeds=3 trains .* -m seed=5,6,7$"):
        trains_replicas(compose_settings(*alone, "seeds=3", "seed=5"))
    with pytest.raises(ConfigError, match=r"^seeds=\[4, 9\] trains .* -m seed=4,9$"):
        trains_replicas(compose_settings(*alone, "seeds=[4,9]"))
    with pytest.raises(ConfigError, match=r"^optimizer.lr=\[0.1, 1\] trains .* -m optimizer.lr=0.1,1$"):
        trains_replicas(compose_settings(*alone, "optimizer.lr=[0.1,1]"))
    assert why_not_stacked(compose_settings(*alone, "seeds=[4]", "noise.p=[0.1]")) is not None
    assert not trains_replicas(compose_settings(*alone, "seeds=[4]", "noise.p=[0.1]"))


def test_an_engine_or_a_stop_that_one_network_does_not_have_is_refused():
    alone = ["model=mlp", "noise.p=0.1", "seeds=1"]
    with pytest.raises(ConfigError, match=r"^engine=fused cannot run: model MLP cannot be stacked.*; set engine=auto$"):
        trains_replicas(compose_settings(*alone, "engine=fused"))
    with pytest.raises(ConfigError, match=r"^stopping.extra_epochs needs an engine, but model MLP cannot be stacked"):
        trains_replicas(compose_settings(*alone, "stopping.extra_epochs=3"))


def test_a_class_is_known_by_the_name_of_its_module_too():
    model, optimizer = "model._target_=noisereg.models.two_layer.TwoLayer", "optimizer._target_=torch.optim.sgd.SGD"
    assert why_not_stacked(compose_settings(model, optimizer)) is None
