import pytest
import torch
from run_here import start
from torch import nn

import noisereg
from noisereg.pruning import load_pruned
from noisereg.training import run as story
from noisereg.training.prune import Change, prune
from noisereg.training.prune_command import main

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
SMALL = ["dataset.d=6", "dataset.train_size=5", "dataset.test_size=200", "trainer.max_epochs=3", "logger=csv"]
SMALL += ["model.hidden=60", "noise.p=[0.2,0.5]", "seeds=1", "+dataset.train_eval_size=2", "engine=blocked"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(story, "draw_replicas", lambda training, rows: [])
    start(tmp_path / "run", *SMALL)
    return tmp_path / "run"


def silent_net():
    """Of four units the first never fires on the samples, the second on one, and the others always."""
    net = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
        net[0].bias.copy_(torch.tensor([-9.0, -1.5, 1.0, 2.0]))
        net[2].weight.fill_(1.0)
        net[2].bias.zero_()
    return net


def split(name):
    inputs = {"train": [[0.0], [1.0], [2.0]], "test": [[0.0], [10.0]]}[name]
    return [{"input": torch.tensor(inputs), "label": torch.ones(len(inputs), dtype=torch.int64)}]


def test_a_unit_that_never_fires_in_training_goes_and_the_test_samples_that_notice_are_counted():
    done = prune(silent_net(), split)
    assert done.kept["0"].tolist() == [1, 2, 3]
    assert done.train.largest_difference == 0 and done.train.num_differing == 0
    assert (done.test.num_differing, done.test.num_classes_changed) == (1, 0)
    assert done.test.largest_difference == 1  # the first unit gives 1 at 10
    assert done.num_parameters() == (13, 10)
    assert done.num_multiplications(torch.zeros(1, 1)) == (8, 6)
    before, after = done.seconds(torch.zeros(2, 1))[0]
    assert 0 < before < 1 and 0 < after < 1


def test_tau_takes_dormant_units_too_and_what_it_costs_is_measured():
    # means over the three samples: 0, 1/6, 1 and 2, of a layer's mean of 19/24
    done = prune(silent_net(), split, tau=0.25)
    assert done.kept["0"].tolist() == [2, 3]
    assert done.train.largest_difference == 0.5 and done.train.num_differing == 1
    assert done.train.errors == (0, 0)


def test_outputs_that_must_not_differ_and_do_are_an_error(monkeypatch):
    monkeypatch.setattr("noisereg.pruning.scores.UnitScores.kept", lambda self, tau: torch.arange(4) > 1)
    with pytest.raises(ArithmeticError, match=r"differ by 0\.5, and rounding makes at most 0\.000"):
        prune(silent_net(), split)


def test_errors_and_classes_are_counted():
    labels = torch.tensor([0, 1, 1])
    change = Change(torch.tensor([[-1.0], [1.0], [2.0]]), torch.tensor([[-1.0], [-1.0], [2.0]]), labels)
    assert change.errors == (0, pytest.approx(1 / 3))
    assert (change.num_differing, change.num_classes_changed) == (1, 1)


def test_the_command_prunes_every_replica_and_each_file_is_read_again(run, capsys):
    assert main([str(run)]) == 0
    printed = capsys.readouterr().out
    loaded = noisereg.load(run)
    for p in (0.2, 0.5):
        whole, path = loaded.network(p=p), run / "pruned" / f"p={p},seed=0.pt"
        small = load_pruned(loaded.network(p=p), path)
        assert torch.load(path, weights_only=True)["replica"] == {"p": p, "seed": 0}
        batches = list(loaded.whole_split("train", p=p))
        assert sum(len(batch["label"]) for batch in batches) == 5  # not the two that are evaluated
        with torch.no_grad():
            outputs = torch.cat([whole(batch["input"]) for batch in batches])
            active = torch.cat([torch.relu(whole.hidden(batch["input"])) for batch in batches])
            torch.testing.assert_close(torch.cat([small(batch["input"]) for batch in batches]), outputs)
        dead = int((active == 0).all(dim=0).sum())
        assert small.hidden.out_features == 60 - dead and dead > 0
        assert f"hidden: 60 units, {dead} never fire, {60 - dead} are kept" in printed
    assert printed.count("times as fast") == 2
    assert main([str(run), "--p", "0.5"]) == 2
    assert "p=0.5,seed=0.pt exists; name another folder by --output" in capsys.readouterr().err


def test_the_command_refuses_what_it_cannot_do_in_one_line(run, capsys, tmp_path):
    for words, line in {
        ("--tau", "-1"): "--tau must be a number, at least 0, got -1.0",
        ("--tau", "nan"): "--tau must be a number, at least 0, got nan",
        ("--p", "0.3"): "--p 0.3 names no replica of",
    }.items():
        assert main([str(run), *words]) == 2
        error = capsys.readouterr().err
        assert line in error and error.count("\n") == 1
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err
    assert not (run / "pruned").exists()
    lr = str(noisereg.load(run).settings["optimizer"]["lr"])  # of which there is one, so that no replica is named by it
    assert main([str(run), "--tau", "0.1", "--p", "0.5", "--lr", lr, "--output", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p=0.5,seed=0,tau=0.1.pt"]
