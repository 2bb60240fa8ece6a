from pathlib import Path
from types import SimpleNamespace

import pytest

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.runs.run_logger import RunDescription, kept_text


@pytest.mark.parametrize(
    ("overrides", "more", "name"),
    [
        (["noise.p=0.1", "seeds=1", "seed=3"], ["", ""], "TwoLayer-Hypercube-Resample-p0.1-s3"),
        ([], ["", ""], "TwoLayer-Hypercube-Resample-p0..0.2-s0..19"),
        ([], ["smoothing", ""], "TwoLayer-Hypercube-Resample-p0..0.2-s0..19-smoothing"),
        (["noise.p=0.1", "seeds=1"], ["", "noise.p=0.1,seed=0"], "TwoLayer-Hypercube-Resample-p0.1-s0"),
        (["noise.p=0.1", "seeds=1"], ["", "model.hidden=60"], "TwoLayer-Hypercube-Resample-p0.1-s0-model.hidden=60"),
    ],
)
def test_a_run_is_named_by_what_it_trains_and_what_sets_it_apart(overrides, more, name):
    arm, subdir = more
    sweep = SimpleNamespace(dir="multirun/a", subdir=subdir) if subdir else None
    described = RunDescription(Plan(compose_settings(*overrides)), Path("run"), arm, sweep)
    assert (described.name, described.group) == (name, "a" if subdir else None)


def test_a_text_is_made_once_and_read_from_then_on(tmp_path):
    path, made = tmp_path / "new" / "trackio.run", iter(["first", "second"])
    assert [kept_text(path, made.__next__), kept_text(path, made.__next__)] == ["first", "first"]
