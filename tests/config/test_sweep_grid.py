from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from noisereg.config.composing import conf_dir
from noisereg.config.overrides import shared_overrides
from noisereg.config.sweep_grid import SweepGrid, folder_name, unfixed_keys
from noisereg.errors import ConfigError


@pytest.fixture(autouse=True)
def hydra_initialised():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def composed(*overrides, **params):
    config = compose("train", overrides=list(overrides), return_hydra_config=True)
    config.hydra.sweeper.params = {key.replace("__", "."): value for key, value in params.items()} or None
    return config


def test_the_jobs_are_all_combinations_of_the_values():
    grid = SweepGrid(["noise.p=0,0.1", "seed=range(3)", "loss=hinge"], composed())
    assert grid.jobs == [[f"noise.p={p}", f"seed={seed}", "loss=hinge"] for p, seed in product(("0", "0.1"), "012")]


def test_the_command_line_counts_over_the_file():
    config = composed(noise__p="0,0.1,0.2", seed="0,1,2")
    assert len(SweepGrid([], config).jobs) == 9
    assert SweepGrid(["seed=5"], config).jobs == [[f"noise.p={p}", "seed=5"] for p in ("0", "0.1", "0.2")]


def test_a_job_is_placed_by_what_sets_it_apart():
    grid = SweepGrid(["noise.p=0,0.1", "model=mlp", "model=two_layer,mlp", "loss=hinge"], composed())
    config = compose("train", overrides=[*grid.jobs[3], *grid.placing], return_hydra_config=True)
    assert config.hydra.sweep.subdir == "model=mlp,noise.p=0.1"


def test_a_folder_that_the_user_or_the_file_names_is_kept():
    overrides = ["noise.p=0,0.1", "hydra.sweep.dir='here/it\\'s'", "hydra.sweep.subdir=p${noise.p}"]
    grid = SweepGrid(overrides, composed(*shared_overrides(overrides)))
    config = compose("train", overrides=[*grid.jobs[1], *grid.placing], return_hydra_config=True)
    assert (config.hydra.sweep.dir, config.hydra.sweep.subdir) == (str(Path("here/it's").absolute()), "p0.1")


def test_a_sweep_without_a_name_is_found_again_by_its_command():
    grid = SweepGrid(["model=mlp", "noise.p=0,0.1", "logger=csv"], composed("model=mlp", "logger=csv"))
    assert grid.placing[0] == f"hydra.sweep.dir='{Path('multirun/model=mlp,noise.p=0,0.1').absolute()}'"


def test_the_name_of_a_long_command_has_what_is_varied_and_is_short():
    command = ["model=resnet20", "noise.p=0,0.1,0.2,0.3", "optimizer.lr=0.1,0.01", "trainer.max_epochs=200", "seeds=20"]
    name = folder_name(command)
    assert name.startswith("p,lr,resnet20,seeds=20-") and len(name) <= 40
    assert folder_name([*command, "loss.beta=2"]) != name


def test_jobs_whose_names_no_file_system_has_are_numbered():
    overrides = [f"model.hidden=[{','.join(map(str, range(80)))}],[1]", "model=mlp"]
    grid = SweepGrid(overrides, composed(*shared_overrides(overrides)))
    config = compose("train", overrides=[*grid.jobs[1], *grid.placing, "hydra.job.num=1"], return_hydra_config=True)
    assert config.hydra.sweep.subdir in (1, "1")


@pytest.mark.parametrize(
    ("one", "other"), [("dataset.root=/a", "dataset.root=_a"), ("model.hidden=[10]", "model.hidden=[11]")]
)
def test_different_commands_have_different_folders(one, other):
    assert folder_name([one]) != folder_name([other])
    assert "/" not in folder_name([one])


def test_a_name_fits_into_a_file_system():
    names = {folder_name(["seed=" + ",".join(map(str, range(count)))]) for count in (200, 201)}
    assert len(names) == 2
    assert max(map(len, names)) < 200
    assert folder_name([]) == "default"
    assert all(Path(name).name == name for name in names)


def test_a_run_alone_needs_a_value_of_all_that_a_file_varies():
    config = composed(noise__p="0,0.1", seed="0,1", loss="hinge")
    assert unfixed_keys(["seed=0"], config) == ["noise.p"]
    assert unfixed_keys(["seed=0", "noise.p=0.1"], config) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=range(0)", r"-m seed=range\(0\): this is no run at all"),
        ("noise.p=interval(0,1)", "does not support sweep type : INTERVAL"),
        ("noise.p=0,", "noise.p=0,: cannot be read"),
    ],
)
def test_a_grid_that_is_none_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        SweepGrid([override], composed())
