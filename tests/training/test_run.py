import pytest
import torch

from noisereg.config.composing import compose_settings
from noisereg.training.run import _DEFAULT_THREADS, _name, _set_threads


@pytest.mark.parametrize(
    ("overrides", "stacked", "threads"),
    [
        (["dataset.batch_size=1"], False, 1),
        (["dataset.batch_size=1", "threads=4"], False, 4),
        (["dataset.batch_size=8"], False, _DEFAULT_THREADS),
        (["dataset.batch_size=1"], True, _DEFAULT_THREADS),
        (["threads=3"], True, 3),
    ],
)
def test_a_single_network_at_one_sample_a_step_runs_on_one_thread(overrides, stacked, threads, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    _set_threads(compose_settings(*overrides), stacked=stacked)
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
    assert _name(compose_settings(*overrides), *more) == name
