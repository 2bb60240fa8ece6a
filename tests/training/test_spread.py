import pytest

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.training.build import build_data, build_trial
from noisereg.training.engines import measure_amount
from noisereg.training.spread import Amount, Spread, choose_spread

SHORT, MANY_STEPS, MUCH = Amount(1000, 1e9), Amount(60_000, 1e9), Amount(1000, 2e12)
GIB = 2.0**30


def choose(
    workers, amount=SHORT, *, seeds=4, own_threads=None, loaders=0, num_gpus=0, begun=None, free=1e12, devices=1, **env
):
    settings = {
        "noise": {"p": [0, 0.1]},
        "seed": 0,
        "seeds": seeds,
        "optimizer": {"lr": 0.1},
        "workers": workers,
        "threads": own_threads,
        "trainer": {"devices": devices},
        "dataset": {"workers": loaders},
    }
    given = {"threads": 8, "num_gpus": num_gpus, "begun": begun, "environment": env, "free_bytes": free}
    return choose_spread(Plan(settings), amount, **given)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (choose(1, MUCH), Spread(1, 8)),
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
        (choose("auto", MANY_STEPS), Spread(8, 1)),
        (choose("auto", MUCH), Spread(8, 1)),
        (choose("auto", MUCH, seeds=2), Spread(4, 2)),
        (choose("auto", MUCH, free=5 * GIB), Spread(3, 2)),
        (choose("auto", MUCH, free=2 * GIB), Spread(1, 8)),
        (choose("auto", MUCH, own_threads=8), Spread(1, 8)),
        (choose("auto", MUCH, loaders=2), Spread(1, 8)),
        (choose("auto", MUCH, begun={"workers": 1, "threads": 2}), Spread(1, 2)),
        (choose("auto", begun={"workers": 4, "threads": 1}), Spread(4, 1)),
        (choose("auto", MUCH, begun={"threads": 2}), Spread(1, 2)),  # of a version without workers
    ],
)
def test_a_cpu_is_shared_by_workers_where_a_run_takes_minutes_and_there_is_room_and_a_run_keeps_its_own(
    spread, expected
):
    assert spread == expected


def test_the_amount_is_that_of_all_steps_of_all_replicas():
    sizes = ["dataset.d=8", "dataset.train_size=10", "dataset.batch_size=4", "model=mlp", "model.hidden=[6]"]
    lengths = {"trainer.max_epochs=5": 15, "trainer.max_steps=7": 7}
    for length, steps in lengths.items():
        settings = compose_settings(*sizes, "seeds=3", "noise.p=[0,0.1]", length)
        data = build_data(settings, 0)
        amount = measure_amount(Plan(settings), data, build_trial(settings, data))
        assert amount == (6 * steps, 6 * steps * 4 * (8 * 6 + 6 * 1))
