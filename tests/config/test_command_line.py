import os
from typing import get_args

import pytest
import wandb

from noisereg.config.command_line import WANDB_MODES, _show_progress, check_command_line, complete_arguments
from noisereg.errors import ConfigError


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model=resnet20", "noise.p=0.1", "dataset.root=/somewhere"],
        ["dataset=mnist", "model=mlp", "loss=cross_entropy", "dataset.batch_size=128"],
        ["-m", "noise.p=0,0.1,0.2", "seed=range(3)"],
        ["-m", "noise=glob(*)"],
        ["-m", "experiment=glob(slides*)"],
        ["+sweeps=p_vs_width", "model.hidden=60"],
        ["--help"],
        ["--cfg", "job"],
        ["--info"],
        ["model=mlp", "noise.p=0.1", "seeds=1", "+trainer.gradient_clip_val=1.0"],
        ["~callbacks.norms"],
        ["model=mlp", "noise.p=0", "seeds=3"],
        ["-m", "engine=none", "optimizer.lr=0.1,0.2"],
    ],
)
def test_a_command_line_without_a_fault_is_accepted(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_command_line(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noise.p=1.5"], r"noise.p must be a number in \[0, 1\], or a list of different ones, got 1.5"),
        (
            ["model=resnet21"],
            r"model=resnet21: there is no such model; did you mean resnet20\? \(known: cnn, gpt",
        ),
        (["noise=flap"], r"noise=flap: there is no such noise; did you mean flip\?"),
        (["modle=resnet20"], r"modle=resnet20: there is no key or group modle; did you mean model\?"),
        (["noise.pp=0.1"], r"noise.pp=0.1: there is no key or group noise.pp; did you mean noise.p\?"),
        (["noise.p.x=1"], r"noise.p.x=1: there is no key or group noise.p.x; did you mean noise.p\?$"),
        (["nosie.p=0.1"], r"nosie.p=0.1: there is no key or group nosie.p; did you mean noise.p\?$"),
        (["nosie.frozn=1"], r"nosie.frozn=1: there is no key or group nosie.frozn; did you mean noise.frozen\?$"),
        (["+trainer.fast_dev_run=true"], "trainer.fast_dev_run must be false: for a trial run give trainer.max_steps"),
        (["+trainer.fast_dev_run=3"], "trainer.fast_dev_run must be false"),
        (["logger.tags=['']"], r"logger.tags must be a list of words of 1 to 64 characters, got"),
        ([f"logger.tags=[{'a' * 65}]"], r"logger.tags must be a list of words of 1 to 64 characters, got"),
        (["model=null"], "model=null: model must be the name of one of its options"),
        (["noise=null"], "noise=null: noise must be the name of one of its options"),
        (["lr=0.1"], r"lr=0.1: there is no key or group lr; did you mean optimizer.lr\?"),
        (["p=0.1"], r"p=0.1: there is no key or group p; did you mean noise.p\?$"),
        (["epochs=3"], r"epochs=3: there is no key or group epochs; did you mean trainer.max_epochs\?$"),
        (["device=2"], r"device=2: there is no key or group device; did you mean trainer.devices\?$"),
        (["suggested.foo=3"], r"suggested.foo=3: there is no key or group suggested.foo"),
        (["dataset.eval_batch_size=9"], r".*stands in no file; add it with a plus: \+dataset.eval_batch_size=9$"),
        (["trainer.accumulate_grad_batches=2"], r".*add it with a plus: \+trainer.accumulate_grad_batches=2$"),
        (
            ["dataset=cifar10", "dataset.eps=0.1"],
            r"dataset.eps=0.1: .*dataset.eps; if it is an argument of Cifar10, add",
        ),
        (
            ["callbacks.sparsity.batch_first=false"],
            r"callbacks.*: there is no .* argument of SparsityMonitor, add it with a plus: \+callbacks.*=false$",
        ),
        (["callbacks=3"], "callbacks=3: callbacks must be the name of one of its options$"),
        (["foo=1"], "foo=1: there is no key or group foo$"),
        (["+foo=1"], "foo=1: there is no such key$"),
        (["noise.p=["], r"noise.p=\[: cannot be read; write key=value"),
        (["noise.p"], "noise.p: cannot be read"),
        (["-m", "noise.p=0,0.1,2"], r"noise.p must be a number in \[0, 1\], or a list of different ones, got 2"),
        (["-m", "model=mlp,resnt20"], r"model=resnt20: there is no such model; did you mean resnet20\?"),
        (["-m", "noise.p=0,"], "noise.p=0,: cannot be read"),
        (["-m", "sweeps=p_mnist"], r"sweeps=p_mnist: a sweep is added, with a plus: -m \+sweeps=p_mnist"),
        (["-m", "+sweeps=p_mnst"], r"sweeps=p_mnst: there is no such sweeps; did you mean p_mnist\?"),
        (
            ["model=mlp", "engine=fused"],
            "engine=fused cannot run: model MLP is not TwoLayer or Neuron; set engine=auto",
        ),
        (
            ["-m", "engine=stacked", "optimizer.lr=0.1,0.2", "trainer.devices=2"],
            "engine=stacked cannot run: trainer.devices=2 needs engine=single; set engine=auto",
        ),
        (["+sweeps=p_vs_width"], "model.hidden has several values in the file of a sweep: give -m"),
    ],
)
def test_a_fault_is_told_in_one_line_that_names_it(arguments, message):
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        check_command_line(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["offlin", "Offline", "none", " "])
def test_a_mode_that_wandb_does_not_have_is_refused_where_it_is_used(mode, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(ConfigError, match=rf"^WANDB_MODE={mode} must be one of online, offline, shared, disabled, or"):
        check_command_line([])
    check_command_line(["logger=csv"])


def test_the_modes_are_those_of_wandb(monkeypatch):
    accepted = get_args(wandb.Settings.model_fields["mode"].annotation)
    assert set(accepted) == set(WANDB_MODES)
    for mode in ("", *accepted):
        monkeypatch.setenv("WANDB_MODE", mode)
        check_command_line([])


@pytest.mark.parametrize(
    ("written", "folder"),
    [("out/a=b", "out/a=b"), ("~/run", "/home/me/run"), ("out/é", "out/é"), ("a (b), c", "a (b), c"), ("it's", "it's")],
)
def test_a_folder_is_named_as_the_shell_gives_it(written, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("noisereg.config.command_line.check_writable_folder", lambda folder, *, key: None)
    found = check_command_line(complete_arguments([f"hydra.run.dir={written}"]))
    assert str(found.path) == folder


@pytest.mark.parametrize("group", ["recipe", "experiment"])
def test_a_group_of_which_none_may_be_chosen_takes_null(group):
    assert check_command_line(complete_arguments([f"{group}=null"])).composed.settings["experiment"] == {}
    found = check_command_line(complete_arguments(["recipe=short", "model=resnet20", "recipe=null"]))
    plain = check_command_line(["model=resnet20", "recipe=[]"])
    assert found.composed.settings["trainer"]["max_epochs"] == plain.composed.settings["trainer"]["max_epochs"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("range(0.1,0.4,0.1)", ["0.1", "0.2", "0.3", "0.4"]),
        ("range(0.7,0.95,0.1)", ["0.7", "0.8", "0.9"]),
        ("range(0.25,0.76,0.25)", ["0.25", "0.5", "0.75"]),
        ("0.1,0.30000000000000004", ["0.1", "0.30000000000000004"]),
    ],
)
def test_a_range_has_the_numbers_that_are_meant(given, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = check_command_line(["-m", f"noise.p={given}", "logger=csv"])
    assert [job.folder.name for job in sweep.jobs] == [f"noise.p={name}" for name in names]
    assert [job.composed.settings["noise"]["p"] for job in sweep.jobs] == [float(name) for name in names]


def test_a_folder_that_nobody_named_is_numbered_and_one_that_is_named_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    assert check_command_line([]).is_numbered
    assert not check_command_line(["hydra.run.dir=run"]).is_numbered
    assert not check_command_line(["hydra.run.dir=run/${now:%H}"]).is_numbered
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not check_command_line([]).is_numbered
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert check_command_line([]) is None


@pytest.mark.parametrize(("option", "key"), [([], "hydra.run.dir"), (["-m"], "hydra.sweep.dir")])
def test_a_folder_that_cannot_be_written_to_is_refused(option, key, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=rf"^{key}=.*file/run cannot be written to .*name another folder"):
        check_command_line([*option, f"{key}={tmp_path / 'file' / 'run'}"])


def test_options_of_a_folder_of_ones_own_are_found(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("_target_: noisereg.models.Neuron\n")
    check_command_line(["--config-dir", str(tmp_path), "model=mine"])
    with pytest.raises(ConfigError, match="there is no such model"):
        check_command_line(["model=mine"])


@pytest.mark.parametrize("content", [b"hidden: [1\n", b"a: 1\na: 2\n", b"\xff\xfe\x00"], ids=["open", "twice", "bytes"])
def test_a_file_of_ones_own_that_is_no_yaml_is_named(content, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/model/mine.yaml is no YAML: "):
        check_command_line(["--config-dir", str(tmp_path), "model=mine"])


def test_a_launcher_of_ones_own_is_found(tmp_path):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "mine.yaml").write_text("defaults: [submitit_slurm]\npartition: mine\n")
    options = ["-m", "--config-dir", str(tmp_path), "hydra/launcher=mine"]
    assert len(check_command_line([*options, "noise.p=0,0.1"]).jobs) == 2


def test_a_job_of_one_arm_is_found_in_the_folder_of_that_arm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = check_command_line(["-m", "experiment=fig7_resnet20", "arm=none,smoothing", "hydra.sweep.dir=fig7"])
    names = [str(job.folder.relative_to(tmp_path)) for job in sweep.jobs]
    assert names == ["fig7/arm=none/none", "fig7/arm=smoothing/smoothing"]
    assert [job.composed.settings["noise"]["expected"] for job in sweep.jobs] == [False, True]


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.job.name", "logger.group"])
def test_a_variable_that_is_not_there_is_named(key, monkeypatch):
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ConfigError, match=rf"^{key}: KeyError .*Environment variable 'NOT_THERE' not found"):
        check_command_line([f"{key}=out/${{oc.env:NOT_THERE}}"])


def test_a_pipe_among_the_options_is_refused_before_it_is_opened(tmp_path):
    (tmp_path / "experiment").mkdir()
    os.mkfifo(tmp_path / "experiment" / "theirs.yaml")
    with pytest.raises(ConfigError, match=r"theirs.yaml is no regular file; remove it"):
        check_command_line(["--config-dir", str(tmp_path), "experiment=theirs"])


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir()], ids=["pipe", "folder"])
def test_a_record_that_is_no_file_is_refused_before_it_is_opened(make, tmp_path):
    make(tmp_path / "result.json")
    for arguments in (["seed=1", f"hydra.run.dir={tmp_path}"], [f"resume={tmp_path}"]):
        with pytest.raises(ConfigError, match=r"result.json .*it is no regular file"):
            check_command_line(complete_arguments(arguments))


@pytest.mark.parametrize(
    ("group", "value"),
    [
        *[("loss", value) for value in ("[1]", "[null]", "[[a]]", "[{a: 1}]", "[hinge,1]", "1")],
        ("noise", "[0.1,1]"),
        ("noise/schedule", "[true]"),
        ("experiment", "[0.1,1]"),
    ],
)
def test_a_group_that_is_given_something_else_than_names_is_refused(group, value):
    with pytest.raises(ConfigError) as refusal:
        check_command_line([f"{group}={value}"])
    assert str(refusal.value) == f"{group}={value}: {group} must be the name of one of its options"


@pytest.mark.parametrize(
    "text",
    [
        *("defaults: 5", "defaults: [{loss: [1]}]", "defaults: [1]", "- a", "a"),
        "experiment: {arms: {a: ['loss=[1]']}}",
        "defaults: [/experiment/theirs]",
        pytest.param(f"a: {'[' * 3000}{']' * 3000}", id="lists in lists"),
        pytest.param(f"a: {'{b: ' * 500}1{'}' * 500}", id="sections in sections"),
        *("a: &a [*a]", "? null\n: 1", "seed: !!set {a, b}", "seed: ${", "seed: ${seed}", "hydra: null"),
    ],
)
def test_a_file_with_something_else_than_names_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(ConfigError) as refusal:
        check_command_line(["--config-dir", str(tmp_path), "experiment=theirs"])
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


def test_the_check_of_many_jobs_is_shown_on_a_terminal_alone(monkeypatch, capfd):
    jobs = [["seed=0"]] * 20
    assert list(_show_progress(jobs)) == jobs and capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # for rich: as on a terminal
    assert list(_show_progress(jobs)) == jobs
    stdout, stderr = capfd.readouterr()
    assert stdout == "" and "checking the jobs" in stderr and "100%" in stderr
    assert list(_show_progress(jobs[:3])) == jobs[:3] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "noise.p=0,1", "--cfg", "job"], "^--multirun does not go with --cfg: leave one of them out$"),
        (["--run", "-m", "noise.p=0,1"], "^--run does not go with --multirun"),
        (["-c", "job", "--info", "config"], "^--cfg does not go with --info"),
    ],
)
def test_options_of_which_hydra_takes_one_are_refused_together(arguments, message):
    with pytest.raises(ConfigError, match=message):
        check_command_line(arguments)
