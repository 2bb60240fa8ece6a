import pytest
import torch

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.training.run import _DEFAULT_THREADS, _name, _set_threads


@pytest.mark.parametrize(
    ("overrides", "threads"),
    [
        (["model=mlp"], 1),
        (["model=mlp", "threads=4"], 4),
        (["model=mlp", "dataset.batch_size=8"], _DEFAULT_THREADS),
        ([], _DEFAULT_THREADS),
        (["threads=3"], 3),
    ],
)
def test_a_single_network_at_one_sample_a_step_runs_on_one_thread(overrides, threads, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    settings = compose_settings(*overrides)
    _set_threads(settings, Plan(settings))
    assert asked == [threads]


@pytest.mark.parametrize(
    ("overrides", "more", "name"),
    [
        (["noise.p=0.1", "seeds=1", "seed=3"], [], "TwoLayer-Hypercube-Resample-p0.1-s3"),
        ([], [], "TwoLayer-Hypercube-Resample-p0..0.2-s0..19"),
        ([], ["smoothing", ""], "TwoLayer-Hypercube-Resample-p0..0.2-s0..19-smoothing"),
        (["noise.p=0.1", "seeds=1"], ["", "noise.p=0.1,seed=0"], "TwoLayer-Hypercube-Resample-p0.1-s0"),
        (["noise.p=0.1", "seeds=1"], ["", "model.hidden=60"], "TwoLayer-Hypercube-Resample-p0.1-s0-model.hidden=60"),
    ],
)
def test_a_run_is_named_by_what_it_trains_and_what_sets_it_apart(overrides, more, name):
    assert _name(Plan(compose_settings(*overrides)), *more) == name
