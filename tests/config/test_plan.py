import pytest

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan, count_parts
from noisereg.errors import ConfigError


def _plan(*overrides):
    return Plan(compose_settings(*overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=neuron", "dataset=gaussian"],
        ["dataset=mnist"],
        ["trainer.precision=64-true"],
        ["dataset.batch_size=8"],
        ["scheduler=cosine", "noise/schedule=linear"],
        ["+optimizer.fused=true"],
        ["model._target_=noisereg.models.two_layer.TwoLayer", "optimizer._target_=torch.optim.sgd.SGD"],
    ],
)
def test_networks_with_one_hidden_layer_and_plain_sgd_are_blocked(overrides):
    assert "blocked" not in _plan(*overrides).obstacles()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model=mlp"], "model MLP is not TwoLayer or Neuron"),
        (["compile=true"], "compile=true is for any network"),
        (["callbacks.sparsity.layers=[relu]"], "callbacks.sparsity chooses layers"),
    ],
)
def test_what_only_networks_of_any_kind_do_keeps_the_engines_of_one_kind(overrides, reason):
    obstacles = _plan(*overrides).obstacles()
    assert (obstacles["fused"], obstacles["blocked"]) == (reason, reason)
    assert "stacked" not in obstacles


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["trainer.devices=2"], "trainer.devices=2 needs engine=single"),
        (["trainer.precision=bf16-mixed"], "trainer.precision=bf16-mixed needs engine=single"),
        (["+trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches is beyond it"),
        (["+trainer.deterministic=true"], "trainer.deterministic is beyond it"),
        (["channels_last=true"], "channels_last=true needs engine=single"),
        (["dataset=image_folder", "dataset.stream=true"], "dataset.stream=true reads images batch by batch"),
        (["callbacks.finite_loss.action=skip"], "callbacks.finite_loss.action=skip needs engine=single"),
        (["+callbacks.sparsity.name=all"], "callbacks.sparsity needs engine=single"),
        (
            ["callbacks.checkpoint.every_n_train_steps=9"],
            "callbacks.checkpoint.every_n_train_steps needs engine=single",
        ),
    ],
)
def test_what_only_lightning_does_keeps_all_engines_but_single(overrides, reason):
    obstacles = _plan(*overrides).obstacles()
    assert obstacles.keys() == {"fused", "blocked", "stacked"}
    assert obstacles["stacked"] == reason


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["optimizer=adam"], " Adam"),
        (["+optimizer.dampening=0.1", "optimizer.momentum=0.9"], ".dampening"),
        (["+optimizer.maximize=true"], ".maximize"),
    ],
)
def test_an_optimiser_that_is_beyond_the_compiled_steps_is_named(overrides, key):
    obstacles = _plan(*overrides).obstacles()
    assert obstacles["fused"] == f"optimizer{key} is not SGD with momentum and weight decay"
    assert "plain SGD" in obstacles["blocked"] and "stacked" not in obstacles


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.momentum=0.9"],
        ["optimizer.weight_decay=0.1"],
        ["optimizer.momentum=0.9", "+optimizer.nesterov=true", "dataset.batch_size=128"],
    ],
)
def test_momentum_and_weight_decay_are_for_fused_and_not_for_blocked(overrides):
    key = overrides[0].partition("=")[0]
    assert _plan(*overrides).obstacles() == {"blocked": f"{key} is not plain SGD"}


def test_fused_takes_up_to_128_samples_a_step():
    assert _plan("dataset.batch_size=128").obstacles() == {}
    reason = "dataset.batch_size=129, and it takes at most 128 samples a step"
    assert _plan("dataset.batch_size=129").obstacles() == {"fused": reason}


def test_an_optimizer_that_evaluates_the_loss_several_times_is_not_stacked():
    obstacles = _plan("optimizer._target_=torch.optim.LBFGS").obstacles()
    assert obstacles["stacked"] == "optimizer LBFGS evaluates the loss several times a step"


def test_gradients_may_be_clipped_where_networks_are_stacked():
    assert _plan("+trainer.gradient_clip_val=1").obstacles().keys() == {"fused", "blocked"}


def test_dormant_units_are_looked_for_in_any_network_but_not_in_compiled_loops():
    obstacles = _plan("+callbacks.sparsity.dormant=0.1").obstacles()
    assert obstacles == dict.fromkeys(("fused", "blocked"), "callbacks.sparsity.dormant is for any network")


def test_an_engine_that_cannot_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"^engine=fused cannot run: model MLP is not TwoLayer .*; set engine=auto$"):
        _plan("model=mlp", "engine=fused").check_engine()
    for engine in ("auto", "single", "none", "blocked"):
        _plan(f"engine={engine}").check_engine()


def test_none_is_another_name_of_single():
    assert _plan("engine=none").asked == _plan("engine=single").asked == "single"


def test_the_grid_runs_over_learning_rates_p_and_seeds():
    plan = _plan("optimizer.lr=[0.1,1]", "noise.p=[0,0.2]", "seeds=[4,9]")
    assert len(plan.replicas) == 8
    assert plan.names[:3] == [
        {"p": 0, "seed": 4, "lr": 0.1},
        {"p": 0, "seed": 9, "lr": 0.1},
        {"p": 0.2, "seed": 4, "lr": 0.1},
    ]
    assert plan.folder_names()[-1] == "p=0.2,seed=9,lr=1"
    assert _plan("seeds=2", "seed=5", "noise.p=0.1").names == [{"p": 0.1, "seed": 5}, {"p": 0.1, "seed": 6}]


def test_one_replica_is_a_run_of_its_own_with_the_same_configuration_but_for_the_grid():
    plan = _plan("optimizer.lr=[0.1,1]", "noise.p=[0,0.2]", "seeds=[4,9]")
    alone = plan.settings_of(7)
    assert Plan(alone).replicas == [{"lr": 1, "p": 0.2, "seed": 9}]
    assert {key for key in alone if alone[key] != plan.settings[key]} == {"seed", "seeds", "noise", "optimizer"}


def test_a_callback_that_is_not_ours_is_found_by_its_class():
    assert _plan().foreign_callback() is None
    assert _plan("+callbacks.own={_target_: lightning.pytorch.callbacks.EarlyStopping}").foreign_callback() == "own"
    replaced = "callbacks.sparsity._target_=lightning.pytorch.callbacks.EarlyStopping"
    assert _plan(replaced).foreign_callback() == "sparsity"


def test_a_class_in_the_place_of_a_callback_of_ours_is_for_single_alone():
    stop = "lightning.pytorch.callbacks.EarlyStopping"
    for name in ("sparsity", "norms", "gradients", "checkpoint"):
        obstacles = _plan(f"callbacks.{name}._target_={stop}").obstacles()
        reason = f"callbacks.{name} is another class than ours, which needs engine=single"
        assert obstacles == dict.fromkeys(("fused", "blocked", "stacked"), reason)
    assert _plan(f"callbacks.finite_loss._target_={stop}").obstacles() == {}


@pytest.mark.parametrize("written", ["noise.p=[0]", "noise.p=[0.0]"])
def test_a_replica_has_one_folder_however_its_values_are_written(written, tmp_path):
    plan = _plan(written, "optimizer.lr=[1.0,0.5]", "seed=3", "seeds=1")
    assert plan.folder_names() == ["p=0,seed=3,lr=1", "p=0,seed=3,lr=0.5"]
    assert plan.replica_folder(1, tmp_path) == tmp_path / "replicas" / "p=0,seed=3,lr=0.5"


@pytest.mark.parametrize("former", ["p=0.0,seed=3,lr=1.0", "p=0,seed=3,lr=1.0", "p=0.0,seed=3,lr=1"])
def test_a_replica_keeps_the_folder_that_an_older_version_named(former, tmp_path):
    (tmp_path / "replicas" / former).mkdir(parents=True)
    plan = _plan("noise.p=[0]", "optimizer.lr=[1,0.5]", "seed=3", "seeds=1")
    assert plan.replica_folder(0, tmp_path).name == former


@pytest.mark.parametrize(
    ("overrides", "most", "expected"),
    [
        (["seeds=5"], 2, [[0, 1, 2], [3, 4]]),
        (["seeds=4", "noise.p=[0,0.2]"], 2, [[0, 1, 4, 5], [2, 3, 6, 7]]),  # seeds first: each has data of its own
        (["seeds=3", "noise.p=[0,0.2]"], 2, [[0, 1, 2], [3, 4, 5]]),  # as equal as can be
        (["seeds=2", "noise.p=[0,0.2]", "optimizer.lr=[1,2]"], 4, [[0, 2], [1, 3], [4, 6], [5, 7]]),
        (["seeds=4", "noise.p=[0,0.2]"], 8, [[0, 4], [1, 5], [2, 6], [3, 7]]),  # two replicas in each
        (["seeds=3"], 3, [[0, 1, 2]]),
        (["seeds=8"], 1, [list(range(8))]),
    ],
)
def test_a_grid_is_divided_into_grids_that_are_runs_of_their_own(overrides, most, expected, tmp_path):
    plan = _plan("noise.p=0.1", *overrides)
    parts = plan.grid_parts(most, tmp_path)
    assert [part.numbers for part in parts] == expected
    for number, part in enumerate(parts, 1):
        assert part.plan.replicas == [plan.replicas[number] for number in part.numbers]
        assert part.plan.names == [plan.names[number] for number in part.numbers]
        assert part.folder == tmp_path / "replicas" / f"{number}-of-{len(parts)}"
        assert part.plan.settings["logger"]["csv"] is True
    assert [part.numbers for part in plan.grid_parts(len(parts), tmp_path)] == expected  # when the run goes on


def test_a_replica_is_found_in_its_own_folder_in_its_part_or_in_the_run(tmp_path):
    plan = _plan("seeds=4", "noise.p=0.1")
    assert plan.part_of(2, tmp_path) == (plan, [0, 1, 2, 3], tmp_path)
    assert count_parts(tmp_path) == 0
    for part in plan.grid_parts(2, tmp_path):
        part.folder.mkdir(parents=True)
    assert count_parts(tmp_path) == 2
    assert plan.part_of(2, tmp_path)[1:] == ([2, 3], tmp_path / "replicas" / "2-of-2")
    own = tmp_path / "replicas" / "p=0.1,seed=2"
    own.mkdir()
    assert plan.part_of(2, tmp_path)[1:] == ([2], own)


def test_workers_are_for_stacked_and_single_and_not_for_callbacks_that_may_act_on_all_replicas():
    reason = "workers=2 needs engine=stacked or engine=single"
    assert _plan("workers=2").obstacles() == {"fused": reason, "blocked": reason}
    own = "+callbacks.own={_target_: lightning.pytorch.callbacks.EarlyStopping}"
    assert _plan("workers=2", own).obstacles()["stacked"] == (
        "callbacks.own may act on all replicas, which workers=2 would divide"
    )
    assert "stacked" not in _plan("workers=1", own).obstacles()
