import pytest

from noisereg.config.overrides import is_for_user_only, parse_overrides, shared_overrides, trusted_packages
from noisereg.errors import ConfigError


def test_an_override_that_cannot_be_read_is_named_with_how_they_are_written():
    with pytest.raises(ConfigError, match=r"^noise.p=\[: cannot be read; write key=value, a list as"):
        parse_overrides(["seed=1", "noise.p=["])


def test_the_runs_of_a_sweep_share_what_has_one_value():
    lines = ["seed=0,1", "noise.p=[0,1]", "model.hidden=range(3)", "loss=hinge", "+trainer.x='a,b'"]
    assert shared_overrides(lines) == ["noise.p=[0,1]", "loss=hinge", "+trainer.x='a,b'"]


@pytest.mark.parametrize(
    ("overrides", "packages"),
    [
        ([], []),
        (["trust=[one]", "seed=1", "trust=[two,three]"], ["two", "three"]),
        (["trust=one"], []),
        (["trust=null"], []),
    ],
)
def test_the_last_list_of_trusted_packages_counts(overrides, packages):
    assert trusted_packages(overrides) == packages


@pytest.mark.parametrize("line", ["hydra.run.dir=x", "hydra/launcher=ray", "++hydra.callbacks.a=1", "+trust=[x]"])
def test_what_steers_the_program_is_for_the_user_only(line):
    assert is_for_user_only(*parse_overrides([line]))


@pytest.mark.parametrize("line", ["seed=1", "model.trust=1", "hydration=1", "~noise.p"])
def test_a_value_of_a_run_may_stand_in_a_file(line):
    assert not is_for_user_only(*parse_overrides([line]))
