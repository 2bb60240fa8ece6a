import pytest

from noisereg.config.command_line import check_command_line
from noisereg.errors import ConfigError


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model=resnet20", "noise.p=0.1", "dataset.root=/somewhere"],
        ["dataset=mnist", "model=mlp", "loss=cross_entropy", "dataset.batch_size=128"],
        ["-m", "noise.p=0,0.1,0.2", "seed=range(3)"],
        ["-m", "noise=glob(*)"],
        ["-m", "experiment=glob(fig*)"],
        ["+sweeps=p_vs_width", "model.hidden=60"],
        ["--help"],
        ["--cfg", "job"],
        ["--info"],
        ["model=mlp", "noise.p=0.1", "seeds=1", "+trainer.gradient_clip_val=1.0"],
        ["~callbacks.norms"],
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
        (["model=resnet21"], r"model=resnet21: there is no such model; did you mean resnet20\? \(known: mlp, neuron,"),
        (["noise=flap"], r"noise=flap: there is no such noise; did you mean flip\?"),
        (["modle=resnet20"], r"modle=resnet20: there is no key or group modle; did you mean model\?"),
        (["noise.pp=0.1"], r"noise.pp=0.1: there is no key or group noise.pp; did you mean p\?"),
        (["lr=0.1"], r"lr=0.1: there is no key or group lr; did you mean optimizer.lr\?"),
        (["dataset=cifar10", "dataset.eps=0.1"], "dataset.eps=0.1: there is no key or group dataset.eps$"),
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


def test_a_job_of_one_arm_is_found_in_the_folder_of_that_arm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = check_command_line(["-m", "experiment=fig7_resnet20", "arm=none,smoothing", "hydra.sweep.dir=fig7"])
    names = [str(job.folder.relative_to(tmp_path)) for job in sweep.jobs]
    assert names == ["fig7/arm=none/none", "fig7/arm=smoothing/smoothing"]
    assert [job.settings["noise"]["expected"] for job in sweep.jobs] == [False, True]
