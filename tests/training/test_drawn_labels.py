import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from rich.console import Console
from run_here import start

import noisereg
from noisereg.config.composing import compose_settings
from noisereg.errors import ConfigError
from noisereg.noise import FileLabels
from noisereg.training import run as story
from noisereg.training.drawn_labels import drawn_labels, write_labels
from noisereg.training.labels_command import main
from noisereg.training.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
QUIET = Console(quiet=True)
SMALL = ["dataset.d=6", "dataset.train_size=40", "dataset.test_size=20", "dataset.val_size=8", "dataset.order=shuffle"]
SMALL += ["model.hidden=5", "trainer.max_epochs=3", "loss=logistic", "logger=csv", "dataset.batch_size=4"]


class Targets(Callback):
    """Keep the target of each sample in each epoch."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        for index, target in zip(batch["index"].tolist(), batch["target"].tolist(), strict=True):
            self.seen[trainer.current_epoch, index] = target


def trained(folder, *overrides):
    training = prepare(compose_settings(*SMALL, "seeds=1", "engine=single", *overrides), folder=folder, console=QUIET)
    training.trainer.callbacks.append(targets := Targets())
    training.train()
    return training, targets.seen


def drawn(training, epoch=None):
    settings, (replica,) = training.settings, training.plan.replicas
    return drawn_labels(settings, training.data, rule=training.rules[0], seed=replica["seed"], epoch=epoch)


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_the_labels_of_an_epoch_are_those_that_were_trained_on(schedule, tmp_path):
    training, seen = trained(tmp_path, "noise.p=0.6", f"noise/schedule={schedule}", "seed=3")
    for epoch in range(3):
        table = drawn(training, epoch)
        assert table["given"].tolist() == [seen[epoch, row] for row in range(32)]
        assert table["index"].tolist() == training.data.training_samples().trained.tolist()
    assert (table["given"] != table["clean"]).any()


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_labels_that_are_written_and_read_again_train_the_same_network(suffix, tmp_path):
    training, seen = trained(tmp_path / "rule", "noise=flip", "noise.p=0.3", "noise.frozen=true")
    table = drawn(training)
    write_labels(table, tmp_path / f"labels.{suffix}")
    again, seen_again = trained(tmp_path / "file", "noise=file", f"noise.path={tmp_path / 'labels'}.{suffix}")
    rule = again.rules[0]
    assert isinstance(rule, FileLabels)
    assert rule.assigned.labels.tolist() == table["given"].tolist()
    assert rule.assigned.rate == pytest.approx((table["given"] != table["clean"]).mean())
    assert seen == seen_again
    weights = [[*part.module.model.parameters()] for part in (training, again)]
    assert all(torch.equal(mine, other) for mine, other in zip(*weights, strict=True))


@pytest.mark.parametrize(
    ("overrides", "epoch", "match"),
    [
        (["noise.expected=true"], 0, "noise.expected=true draws no labels"),
        (["dataset.order=replacement"], 0, "dataset.order=replacement draws a sample several times in an epoch"),
        ([], None, "labels are drawn anew in each epoch: give --epoch, from 0 to 2"),
        (["noise.frozen=true", "noise/schedule=linear"], None, "give --epoch, from 0 to 2"),
        ([], 3, "--epoch must be a whole number from 0 to 2, got 3"),
        ([], -1, "--epoch must be a whole number from 0 to 2, got -1"),
    ],
)
def test_where_there_is_no_one_label_a_sample_it_is_said(overrides, epoch, match, tmp_path):
    chosen = compose_settings(*SMALL, "seeds=1", "noise.p=0.2", *overrides)
    training = prepare(chosen, folder=tmp_path, console=QUIET)
    with pytest.raises(ValueError, match=match):
        drawn(training, epoch)


def test_names_of_images_are_written_and_kept(tmp_path):
    names = ["ant/1.png", "b,e\u00e9/\u65e5.png"]
    table = pd.DataFrame({"index": [4, 7], "file": names, "clean": [0, 1], "given": [1, 1]})
    for suffix in ("csv", "npy"):
        write_labels(table, tmp_path / f"labels.{suffix}")
    assert pd.read_csv(tmp_path / "labels.csv")["file"].tolist() == names
    found = np.load(tmp_path / "labels.npy", allow_pickle=False)
    assert found["file"].tolist() == names and found["given"].tolist() == [1, 1]


def test_no_file_is_written_over_and_no_other_kind_is_written(tmp_path):
    table = pd.DataFrame({"index": [0], "clean": [0], "given": [1]})
    (tmp_path / "labels.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"labels\.csv exists; name another file"):
        write_labels(table, tmp_path / "labels.csv")
    with pytest.raises(ValueError, match=r"must end in .csv or .npy"):
        write_labels(table, tmp_path / "labels.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_the_command_writes_the_labels_of_the_replica_that_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(story, "draw_replicas", lambda training, rows: [])
    run, path = tmp_path / "run", tmp_path / "labels.csv"
    start(run, *SMALL, "noise.p=[0,0.5]", "seeds=2", "engine=blocked")
    assert main([str(run), "--p", "0.5", "--seed", "1", "--epoch", "2", "--output", str(path)]) == 0
    table = pd.read_csv(path)
    assert table.equals(noisereg.load(run).labels(p=0.5, seed=1, epoch=2)) and list(table) == [
        "index",
        "clean",
        "given",
    ]
    rate = (table["given"] != table["clean"]).mean()
    assert f"the labels of 32 training samples, {rate:.2%} of them not the clean ones" in capsys.readouterr().out
    for wrong, line in {
        ("--p", "0.5", "--epoch", "2"): "p=0.5 names 2 of the replicas",
        ("--p", "0.5", "--seed", "1", "--epoch", "2"): "labels.csv exists",
        ("--p", "0.5", "--seed", "1"): "give --epoch",
    }.items():
        assert main([str(run), *wrong, "--output", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and line in error and error.count("\n") == 1


def test_labels_of_a_run_whose_file_has_changed_are_refused_and_its_network_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(story, "draw_replicas", lambda training, rows: [])
    clean = prepare(compose_settings(*SMALL, "seeds=1"), folder=tmp_path, console=QUIET).data.training_samples().labels
    np.save(tmp_path / "labels.npy", 1 - clean.numpy())
    run = tmp_path / "run"
    start(run, *SMALL, "noise=file", f"noise.path={tmp_path / 'labels.npy'}", "noise.p=0.5", "seeds=1")
    table = noisereg.load(run).labels(epoch=1)
    assert 0 < (table["clean"] != table["given"]).sum() < 32
    np.save(tmp_path / "labels.npy", clean.numpy())
    with pytest.raises(ConfigError, match=r"holds a run on other data \(label_file\.sha256 was"):
        noisereg.load(run).labels(epoch=1)
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(ConfigError, match=r"^noise\.path=.* cannot be read"):
        noisereg.load(run).labels(epoch=1)
    assert noisereg.load(run).network().training is False
