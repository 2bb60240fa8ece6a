"""What comes from a stranger, a configuration, a checkpoint, a run's folder, runs nothing and takes no secret away."""

import contextlib
import copy
import csv
import gzip
import hashlib
import json
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from attacks import BUILT_BY_HYDRA, FOLDERS, PARTS, fill_places, make_malicious_pickle, write_attack_files
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.utils import instantiate
from omegaconf import OmegaConf
from run_program import run_program
from runs.run_folders import CONFIG

from noisereg.config.command_line import check_command_line, complete_arguments, expand_resume
from noisereg.config.commands import split_options
from noisereg.config.composing import check_safe, conf_dir
from noisereg.config.trust_file import with_project_trust
from noisereg.datasets.image_files import list_archive_files, open_image
from noisereg.errors import ConfigError, DatasetError
from noisereg.report.__main__ import main as report
from noisereg.training.build import build

TINY = [
    "trainer.max_epochs=1",
    "dataset.train_size=20",
    "dataset.test_size=20",
    "engine=none",
    "seeds=1",
    "noise.p=0.2",
]
SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def plain():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train"))


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that is there once an attack has run; the module `evil` can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield write_attack_files(tmp_path)
    for name in ("evil", "hubconf"):
        sys.modules.pop(name, None)


def test_there_are_54_attacks_by_a_part_of_a_configuration_and_25_by_a_folder_of_options():
    assert (len(PARTS), len(FOLDERS)) == (54, 27)


def check_and_build(config, key):
    """What a run does with a part of its configuration."""
    section = check_safe(config, [])
    for name in key.split("."):
        section = section[name]
    build(key, section)


@pytest.mark.parametrize("attack", BUILT_BY_HYDRA.values(), ids=BUILT_BY_HYDRA)
def test_an_attack_runs_where_nothing_stands_before_it(attack, marker):
    with contextlib.suppress(Exception):  # it may fail once it has run
        instantiate(OmegaConf.create(fill_places(attack, marker.parent)))
    assert marker.exists()


@pytest.mark.parametrize(("key", "attack"), PARTS.values(), ids=PARTS)
def test_no_part_of_a_configuration_runs_what_it_names(key, attack, plain, marker):
    changed = OmegaConf.create(copy.deepcopy(plain))
    OmegaConf.update(changed, "logger.project", "evil.attack")
    OmegaConf.update(changed, key, fill_places(attack, marker.parent), merge=False, force_add=True)
    with pytest.raises(ConfigError) as refusal:
        check_and_build(changed, key)
    assert "\n" not in str(refusal.value)
    assert not marker.exists()


@pytest.mark.parametrize(("group", "text", "options"), FOLDERS.values(), ids=FOLDERS)
def test_no_option_of_a_folder_runs_anything(group, text, options, marker):
    place = marker.parent / "theirs" / group
    place.mkdir(parents=True)
    (place / "a.yaml").write_text(text.replace("MARK", str(marker)))
    adds = "+" if group.startswith("hydra") else ""
    with pytest.raises(ConfigError) as refusal:
        check_command_line(["--config-dir", str(marker.parent / "theirs"), *options, f"{adds}{group}=a"])
    assert "\n" not in str(refusal.value)
    assert not marker.exists()


def test_a_callback_of_hydra_runs_where_nothing_stands_before_it(marker):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", ["+hydra.callbacks.a={_target_: evil.Net}"], return_hydra_config=True)
    Callbacks(config)
    assert marker.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experimental-rerun", "pickle"], "--experimental-rerun reads a pickle, which can run code"),
        (["--config-path", "theirs"], "--config-path must be an absolute path, got theirs"),
        (["--config-path", "pkg://evil"], "--config-path must be an absolute path, got pkg://evil"),
        (["--config-name", "../a"], "--config-name must be a name without a slash"),
        (["+hydra.callbacks.a={_target_: evil.Net}"], "hydra.callbacks.a._target_=evil.Net: only Hydra's own classes"),
        (["model._target_=evil.Net"], r"model._target_=evil.Net: .*; for a package of your own: trust=\[evil\]"),
        (["model._target_=os.system"], "model._target_=os.system: only noisereg.models.*, .* can be built here$"),
        (["trust=evil"], "trust must be a list of names of packages"),
        (["-m", "hydra/sweeper=basic", "model._target_=evil.Net"], "model._target_=evil.Net"),
    ],
)
def test_a_command_line_is_told_what_it_cannot_do(arguments, message, marker):
    with pytest.raises(ConfigError, match=f"^{message}"):
        check_command_line(arguments)
    assert not marker.exists()


def _write_config(folder, name, text):
    """Write a primary configuration into a new folder, and return the folder."""
    folder.mkdir()
    (folder / name).write_text(text)
    return folder


def test_another_primary_configuration_is_checked_as_ours_is(marker):
    folder = _write_config(marker.parent / "theirs", "train.yaml", "hydra: {callbacks: {a: {_target_: evil.Net}}}")
    with pytest.raises(ConfigError, match=r"^hydra.callbacks can be set on the command line only"):
        check_command_line(["--config-path", str(folder)])
    assert not marker.exists()


@pytest.mark.parametrize("option", ["--config-path", "--config-dir"])
def test_another_primary_configuration_names_no_package_to_look_into(option, marker):
    folder = shutil.copytree(conf_dir(), marker.parent / "theirs")
    (folder / "mine.yaml").write_text("hydra: {searchpath: ['pkg://evil']}")
    with pytest.raises(ConfigError, match=r"^hydra.searchpath can be set on the command line only, and .*mine.yaml"):
        check_command_line([option, str(folder), "--config-name", "mine"])
    assert not marker.exists()


def test_a_primary_configuration_beside_ours_sets_no_launcher_for_a_shell(marker):
    text = "defaults: [train, _self_]\nhydra: {launcher: {setup: ['touch x']}}"
    folder = _write_config(marker.parent / "theirs", "mine.yaml", text)
    with pytest.raises(ConfigError, match=r"^hydra.launcher.setup can be set on the command line only"):
        check_command_line(
            ["-m", "--config-dir", str(folder), "--config-name", "mine", "hydra/launcher=submitit_slurm"]
        )


def test_options_are_checked_as_hydra_finds_them_in_two_folders(marker):
    for name, text in {"theirs": "hydra: {callbacks: {a: {_target_: evil.Net}}}", "mine": "seed: 1"}.items():
        (marker.parent / name / "experiment").mkdir(parents=True)
        (marker.parent / name / "experiment" / "x.yaml").write_text(f"# @package _global_\n{text}\n")
    places = [f"--config-dir={marker.parent / 'theirs'}", f"hydra.searchpath=[file://{marker.parent / 'mine'}]"]
    with pytest.raises(ConfigError, match=r"^hydra.callbacks can be set on the command line only"):
        check_command_line([*places, "experiment=x"])
    (marker.parent / "theirs" / "experiment" / "x.yaml").unlink()
    assert check_command_line([*places, "experiment=x"]).composed.settings["seed"] == 1


def test_a_package_is_built_from_once_the_command_line_trusts_it(plain, marker):
    changed = OmegaConf.create({**copy.deepcopy(plain), "trust": ["evil"]})
    OmegaConf.update(changed, "loss", {"_target_": "evil.Net"}, merge=False)
    settings = check_safe(changed, ["trust=[evil]"])
    with pytest.raises(ConfigError, match=r"^loss: Net must be derived from noisereg.losses.loss.Loss"):
        build("loss", settings["loss"])
    assert marker.exists()


def test_trust_ends_at_the_borders_of_the_package(plain, marker):
    changed = OmegaConf.create({**copy.deepcopy(plain), "trust": ["evil"]})
    OmegaConf.update(changed, "loss", {"_target_": "evil.os.mkdir", "path": "made"}, merge=False)
    settings = check_safe(changed, ["trust=[evil]"])
    with pytest.raises(ConfigError, match=r"^loss._target_=evil.os.mkdir stands for posix.mkdir"):
        build("loss", settings["loss"])
    assert not (marker.parent / "made").exists()


def record_command(folder, *overrides):
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps({"command": shlex.join(["python", "train.py", *overrides])}))


@pytest.mark.parametrize("recorded", ["hydra.callbacks={}", "+hydra={callbacks: {}}"])
def test_the_command_in_a_folder_of_a_stranger_cannot_steer_hydra(recorded, tmp_path):
    record_command(tmp_path, "seed=1", recorded)
    with pytest.raises(ConfigError, match="which no run writes there"):
        expand_resume([f"resume={tmp_path}"])


@pytest.mark.parametrize(
    "recorded",
    [
        ["trust=[evil]", "++trust=[evil]"],
        ["--config-dir=theirs"],
        ["--experimental-rerun=pickle"],
        ["-cp=x"],
        ["callbacks.a.dirpath=/"],
        ["+callbacks.a={_target_: a.B, dirpath: /}"],
        ["+model.weights=DEFAULT"],
    ],
)
def test_the_command_in_a_folder_of_a_stranger_does_not_bring_its_trust_nor_its_options(recorded, tmp_path):
    record_command(tmp_path, "seed=1", *recorded)
    assert expand_resume([f"resume={tmp_path}"])[:-1] == ["seed=1"]


def test_a_file_of_trust_in_the_folders_of_strangers_is_not_believed(marker):
    """The module `evil` can be imported, and files in the folders of a run, of data and of options trust it."""
    here = marker.parent
    for name in ("run", "data", "theirs"):
        (here / name).mkdir()
        (here / name / "noisereg.toml").write_text('trust = ["evil"]')
    record_command(here / "run", "loss._target_=evil.attack", "seed=1")
    (here / "theirs" / "experiment").mkdir()
    (here / "theirs" / "experiment" / "x.yaml").write_text("# @package _global_\nloss:\n  _target_: evil.attack\n")
    commands = [
        ["resume=run"],
        ["dataset=image_folder", "dataset.root=data", "loss._target_=evil.attack"],
        ["--config-dir=theirs", "experiment=x"],
    ]
    for command in commands:
        completed = complete_arguments(command)
        with pytest.raises(
            ConfigError, match=r"loss\._target_=evil\.attack: only noisereg\.losses\.\* can be built here"
        ):
            check_command_line(with_project_trust(completed, split_options(completed)[1]))
    assert not marker.exists()


FILES_IN_PLACE = (".lock", "train.log", ".hydra/config.yaml", "checkpoints/curves-1.jsonl")
FOLDERS_OF_A_RUN = (".hydra", "checkpoints", "figures", "wandb", "replicas/p=0,seed=0/checkpoints")


@pytest.mark.parametrize("name", [*FILES_IN_PLACE, *FOLDERS_OF_A_RUN])
def test_a_run_in_the_folder_of_a_stranger_does_not_write_through_its_links(name, tmp_path):
    """A lock is written in place, and Hydra opens its files and the log by their names."""
    mine, run = tmp_path / "mine", tmp_path / "run"
    mine.mkdir()
    (mine / "file").write_text("mine")
    record_command(run, "seed=1", "logger=csv")
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).symlink_to(mine / "file" if name in FILES_IN_PLACE else mine)
    for command in ([f"resume={run}"], [f"hydra.run.dir={run}"], ["-m", "seed=1,2", f"hydra.sweep.dir={run}"]):
        with pytest.raises(ConfigError, match=rf"has a link that leads out of it, {re.escape(name)}; remove it"):
            check_command_line(complete_arguments(command))
    assert [path.name for path in mine.iterdir()] == ["file"] and (mine / "file").read_text() == "mine"


def test_the_folders_of_arms_and_of_jobs_are_looked_through_too(tmp_path):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "checkpoints").symlink_to("/usr")
    arms = ["+experiment.arms={slow: ['optimizer.lr=0.1'], quick: ['optimizer.lr=0.2']}", f"hydra.run.dir={tmp_path}"]
    with pytest.raises(ConfigError, match="leads out of it, slow/checkpoints; remove it"):
        check_command_line(arms)
    (tmp_path / "seed=1").symlink_to("/usr/lib")
    with pytest.raises(ConfigError, match="leads out of it, seed=1; remove it"):
        check_command_line(["-m", "seed=1,2", f"hydra.sweep.dir={tmp_path}"])


def test_links_of_w_and_b_and_those_within_a_folder_are_no_fault(tmp_path):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "debug.log").symlink_to("/elsewhere.log")
    (tmp_path / "store").mkdir()
    (tmp_path / "checkpoints").symlink_to("store")
    (tmp_path / "figures").symlink_to("figures")
    (tmp_path / "venv").symlink_to("/usr")  # as in hydra.run.dir=. in a project
    check_command_line([f"hydra.run.dir={tmp_path}"])


def test_a_report_builds_nothing_that_a_result_names(marker):
    experiment = {"id": "X", "title": "x", "claims": [{"id": "c", "predicted": {"_target_": "evil.attack"}}]}
    config = {part: {"_target_": "evil.Net"} for part in ("model", "dataset", "noise", "loss", "optimizer")}
    row = {"p": 0.1, "seed": 0, "test/error": 0.5}
    result = {"status": "finished", "config": config, "experiment": experiment, "replicas": [row], "steps": 1}
    folder = marker.parent / "run"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(result))
    with contextlib.suppress(SystemExit):
        report([str(folder)])
    assert not marker.exists()


def test_no_text_of_a_run_is_a_formula_in_the_table_of_a_report(tmp_path):
    claim = {"metric": "test/error", "paper": -0.5, "tolerance": 0.1}
    texts = ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "plain")
    claims = [{**claim, "id": f"{number}", "says": text, "place": text} for number, text in enumerate(texts)]
    experiment = {"id": "=1", "title": '=cmd|"/c calc"!A1', "claims": claims}
    record = {"status": "finished", "config": CONFIG, "replicas": [{"p": 0.1, "seed": 0, "test/error": -0.5}]}
    (tmp_path / "result.json").write_text(json.dumps({**record, "experiment": experiment, "command": "@evil"}))
    assert report([str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "claims.csv").read_text().splitlines()))
    assert [row["says"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "plain"]
    assert {row["title"] for row in rows} == {'\'=cmd|"/c calc"!A1'}
    assert {row["paper"] for row in rows} == {row["ours"] for row in rows} == {"-0.5"}
    cells = {(name, cell) for row in rows for name, cell in row.items() if cell.startswith(("=", "+", "-", "@", "\t"))}
    assert cells == {("paper", "-0.5"), ("ours", "-0.5")}


def test_an_image_that_is_a_program_is_not_started(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(ran) (w) file closefile\n%%EOF\n"
    with pytest.raises(DatasetError, match=r"a.png cannot be read \(it does not decode as an image\)"):
        open_image(lambda: eps, tmp_path / "a.png")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("noisereg.datasets.image_files._LARGEST", 1000)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(DatasetError, match=r"a.tgz unpacks to more than 1,000 bytes"):
        list_archive_files(tmp_path / "a.tgz", "a")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"+logger.api_key={SECRET}", "logger.api_key looks like a secret"),
        (f"logger.api_key={SECRET}", "logger.api_key looks like a secret"),
        (f"+trainer.password={SECRET}", "trainer.password looks like a secret"),
        (f"+model={{hub: {{auth_token: {SECRET}}}}}", "model.hub.auth_token looks like a secret"),
        (f"+hydra.job.env_set.WANDB_API_KEY={SECRET}", "hydra.job.env_set.WANDB_API_KEY looks like a secret"),
        ("hydra.job.env_copy=[WANDB_API_KEY]", "hydra.job.env_set.WANDB_API_KEY looks like a secret"),
        (f"logger.tags=[{SECRET}]", r"logger.tags\[0\] holds the value of WANDB_API_KEY"),
        ("logger.tags=['${oc.env:WANDB_API_KEY}']", r"logger.tags\[0\] holds the value of WANDB_API_KEY"),
        ("logger.project=${oc.env:WANDB_API_KEY}", "logger.project holds the value of WANDB_API_KEY"),
        ("hydra.run.dir=out/${oc.env:WANDB_API_KEY}", "hydra.run.dir holds the value of WANDB_API_KEY"),
        ("logger.tags=['${oc.env:GITHUB_PAT}']", r"logger.tags\[0\] holds the value of GITHUB_PAT"),
        ("logger.group=${oc.env:GITHUB_PAT}", "logger.group holds the value of GITHUB_PAT"),
        ("hydra.run.dir=out/${oc.env:MY_DB_PWD}", "hydra.run.dir holds the value of MY_DB_PWD"),
        ("hydra.job.name=${oc.env:MY_DB_PWD}", "hydra.job.name holds the value of MY_DB_PWD"),
        ("dataset.root='https://hidden@host/data'", "dataset.root holds an address with a password"),
        (f"logger.group=ghp_{SECRET}", "logger.group holds the value of WANDB_API_KEY"),
        ("logger.group=ghp_" + "hidden01" * 5, "logger.group holds a token of GitHub"),
        ("dataset.root='https://me:hidden@host/data'", "dataset.root holds an address with a password"),
    ],
)
def test_no_secret_gets_into_a_configuration(override, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("GITHUB_PAT", "hidden-pat-1")
    monkeypatch.setenv("MY_DB_PWD", "hidden-and-without-a-digit")
    with pytest.raises(ConfigError, match=f"^{message}") as refusal:
        check_command_line([override])
    assert SECRET not in str(refusal.value) and "hidden" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_a_secret_of_the_environment_is_in_no_file_of_a_run_and_a_refused_run_leaves_none(tmp_path):
    key = {"WANDB_API_KEY": SECRET, "WANDB_MODE": "offline"}
    refused = run_program(*TINY, f"+logger.api_key={SECRET}", "hydra.run.dir=none", cwd=tmp_path, **key)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert SECRET not in refused.stderr and not list(tmp_path.iterdir())

    done = run_program(*TINY, "hydra.run.dir=run", cwd=tmp_path, **key)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]

    checkpoint = Path(tmp_path / "run" / "checkpoints" / "last.ckpt")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (tmp_path / "run" / "result.json").write_text(json.dumps({**result, "status": "running"}))
    _replace_pickle(checkpoint, make_malicious_pickle(tmp_path / "ran"))
    ended = run_program(*TINY, "hydra.run.dir=run", cwd=tmp_path, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1", **key)
    assert ended.returncode == 2, ended.stderr
    assert "holds more than tensors and plain values, and is not loaded" in ended.stderr
    assert not (tmp_path / "ran").exists()


def _replace_pickle(path: Path, content: bytes) -> None:
    """Write another pickle into a checkpoint of torch, all else as it was, and seal it as a run does."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, old in members.items():
            archive.writestr(name, content if name.endswith("/data.pkl") else old)
    data = path.read_bytes()
    path.write_bytes(data + b"\nsha256 %s\n" % hashlib.sha256(data).hexdigest().encode())
