import copy

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from noisereg.config.composing import conf_dir
from noisereg.config.hydra_section import check_hydra
from noisereg.errors import ConfigError


@pytest.fixture(scope="module")
def hydra():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", return_hydra_config=True).hydra, resolve=False)


def check(hydra, key, value, *, keys=(), trust=()):
    changed = OmegaConf.create(copy.deepcopy(hydra))
    OmegaConf.update(changed, key, value, force_add=True)
    plain = OmegaConf.to_container(changed, resolve=False)
    check_hydra(plain, overrides=["seed=1"], keys=keys, trust=trust)


def test_what_hydra_has_by_itself_passes(hydra):
    check_hydra(hydra, overrides=[], keys=[], trust=[])
    check(hydra, "overrides.task", ["seed=1"])
    check(hydra, "output_subdir", None)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("callbacks", {"a": {"_target_": "hydra.experimental.callbacks.LogJobReturnCallback"}}, "hydra/callbacks"),
        ("callbacks", {"a": {"_target_": "hydra.experimental.callbacks.LogJobReturnCallback"}}, "hydra.callbacks.a"),
        ("job.env_set", {"OMP_NUM_THREADS": "1"}, "hydra.job.env_set.OMP_NUM_THREADS"),
        ("launcher", {"_target_": "hydra_plugins.hydra_joblib.JoblibLauncher"}, "hydra/launcher"),
        ("sweeper._target_", "hydra_plugins.hydra_optuna.OptunaSweeper", "hydra/sweeper"),
    ],
)
def test_what_starts_programs_is_taken_from_the_command_line_alone(hydra, key, value, named):
    check(hydra, key, value, keys=[named])
    with pytest.raises(ConfigError, match=r"^hydra.\S+ can be set on the command line only, and a file sets it$"):
        check(hydra, key, value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mode", "MULTIRUN", "hydra.mode=MULTIRUN: give -m for a sweep, and nothing for a single run"),
        ("output_subdir", "../../x", "hydra.output_subdir must be a name of letters, digits, _ and -, as .hydra, got"),
        ("output_subdir", "..", "hydra.output_subdir must be a name of letters"),
        ("output_subdir", "${hydra.runtime.cwd}", "hydra.output_subdir must be a name of letters"),
        ("overrides.task", ["trust=[x]"], r"hydra.overrides.task='trust=\[x\]' does not stand on the command line"),
        ("sweeper.params", {"+trust": "[x]"}, r"hydra.sweeper.params.\+trust cannot be swept over"),
        ("sweeper.params", {"hydra.mode": "x"}, r"hydra.sweeper.params.hydra.mode cannot be swept over"),
        ("job.name", "../x", "hydra.job.name must be a name without a slash, got '../x'"),
        ("env", {"_target_": "os.system"}, "hydra.env._target_=os.system: only Hydra's own classes and its plugins"),
        (
            "launcher.x",
            {"_target_": "hydra.utils.instantiate"},
            "hydra.launcher.x._target_=hydra.utils.instantiate: only",
        ),
        ("launcher.x", "${model}", "hydra.launcher.x='\\${model}': only"),
        ("job_logging.root", "${oc.decode:x}", "hydra.job_logging.root='.*': only"),
        ("job_logging.a", "${oc.env:MY_TOKEN}", "hydra.job_logging.a='.*': only"),
        (
            "job_logging.handlers.file.class",
            "logging.os.system",
            "hydra.job_logging.handlers.file.class='logging.os.sys",
        ),
        (
            "job_logging.filters.a",
            {"()": "os.system"},
            r"hydra.job_logging.filters.a.\(\)='os.system': logging can use",
        ),
        (
            "hydra_logging.handlers.console.stream",
            "ext://os.environ",
            "hydra.hydra_logging.handlers.console.stream='ext",
        ),
        (
            "job_logging.handlers.file.filename",
            "/x.log",
            "hydra.job_logging.handlers.file.filename='/x.log': a log lies",
        ),
    ],
)
def test_what_would_run_code_or_write_elsewhere_is_refused(hydra, key, value, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        check(hydra, key, value)


def test_a_package_that_is_trusted_may_be_a_callback_of_hydra(hydra):
    check(hydra, "callbacks", {"a": {"_target_": "mine.A"}}, keys=["hydra/callbacks"], trust=["mine"])


def test_sweeps_that_a_file_names_pass(hydra):
    check(hydra, "sweeper.params", {"noise.p": "0,0.1", "hydration": "1"})
