import os
from functools import partial

import pytest
import torch

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.training import engines
from noisereg.training import spread as spread_module
from noisereg.training.build import build_data, build_trial
from noisereg.training.spread import Spread, choose_spread

GIB = 2.0**30


def choose(
    workers, is_long=False, *, seeds=4, own_threads=None, loaders=0, num_gpus=0, begun=None, free=1e12, devices=1, **env
):
    settings = {
        "noise": {"p": [0, 0.1]},
        "seed": 0,
        "seeds": seeds,
        "optimizer": {"lr": 0.1},
        "workers": workers,
        "threads": own_threads,
        "trainer": {"devices": devices, "accelerator": "cuda" if num_gpus else "cpu"},
        "dataset": {"workers": loaders},
    }
    with pytest.MonkeyPatch.context() as machine:
        machine.setattr(torch, "get_num_threads", lambda: 8)
        machine.setattr(torch.cuda, "device_count", lambda: num_gpus)
        machine.setattr(os, "environ", env)
        machine.setattr(spread_module, "_free_bytes", lambda: free)
        plan = Plan(settings)
        return choose_spread(plan, num_parts=partial(min, len(plan.replicas)), is_long=is_long, begun=begun)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (choose(1, True), Spread(1, 8)),
        (choose(2), Spread(2, 4)),
        (choose(3), Spread(3, 2)),
        (choose(100, seeds=1), Spread(2, 4)),
        (choose(8, seeds=8), Spread(8, 1)),
        (choose(4, own_threads=3), Spread(4, 3)),
        (choose(4, num_gpus=2), Spread(4, 2, ("0", "1"))),
        (choose(2, begun={"workers": 4, "threads": 1}), Spread(2, 4)),
    ],
)
def test_as_many_workers_as_are_asked_for_share_the_threads(spread, expected):
    assert spread == expected


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (choose("auto", num_gpus=1), Spread(1, 8)),
        (choose("auto", num_gpus=4), Spread(4, 2, ("0", "1", "2", "3"))),
        (choose("auto", num_gpus=4, seeds=1), Spread(2, 4, ("0", "1"))),
        (choose("auto", num_gpus=2, CUDA_VISIBLE_DEVICES="3,MIG-5"), Spread(2, 4, ("3", "MIG-5"))),
        (choose("auto", num_gpus=4, devices=2), Spread(1, 8)),
    ],
)
def test_there_is_a_worker_for_each_gpu(spread, expected):
    assert spread == expected


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (choose("auto"), Spread(1, 8)),
        (choose("auto", True), Spread(8, 1)),
        (choose("auto", True, seeds=2), Spread(4, 2)),
        (choose("auto", True, free=5 * GIB), Spread(3, 2)),
        (choose("auto", True, free=2 * GIB), Spread(1, 8)),
        (choose("auto", True, own_threads=8), Spread(1, 8)),
        (choose("auto", True, loaders=2), Spread(1, 8)),
        (choose("auto", True, begun={"workers": 1, "threads": 2}), Spread(1, 2)),
        (choose("auto", begun={"workers": 4, "threads": 1}), Spread(4, 1)),
        (choose("auto", True, begun={"threads": 2}), Spread(1, 2)),  # of a version without workers
    ],
)
def test_a_cpu_is_shared_by_workers_where_a_run_takes_minutes_and_there_is_room_and_a_run_keeps_its_own(
    spread, expected
):
    assert spread == expected


def test_a_run_is_long_by_the_steps_of_all_replicas_or_by_their_multiplications(monkeypatch):
    sizes = ["dataset.d=8", "dataset.train_size=10", "dataset.batch_size=4", "model=mlp", "model.hidden=[6]"]

    def is_long(*lengths):
        settings = compose_settings(*sizes, "seeds=3", "noise.p=[0,0.1]", *lengths)
        data = build_data(settings, 0)
        return engines.is_long(Plan(settings), data, build_trial(settings, data))

    # six replicas of three steps an epoch, and 50,000 steps
    assert [is_long(f"trainer.max_epochs={epochs}") for epochs in (2777, 2778)] == [False, True]
    assert [is_long("trainer.max_epochs=9999", f"trainer.max_steps={steps}") for steps in (8333, 8334)] == [False, True]
    for most, expected in ((6 * 15 * 4 * (8 * 6 + 6 * 1), True), (6 * 15 * 4 * (8 * 6 + 6 * 1) + 1, False)):
        monkeypatch.setattr(engines, "_MANY_MULTIPLICATIONS", most)
        assert is_long("trainer.max_epochs=5") == expected
