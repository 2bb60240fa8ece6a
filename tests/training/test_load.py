import json
import os
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from run_here import start

import noisereg
from noisereg.datasets import Hypercube, Split
from noisereg.errors import ConfigError
from noisereg.training import run as story

GUIDE = Path(noisereg.__file__).parents[1] / "docs" / "guide.md"
SMALL = [
    "dataset.d=6",
    "dataset.train_size=40",
    "dataset.test_size=200",
    "trainer.max_epochs=3",
    "logger=csv",
    "seed=3",
]
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
ARMS = "+experiment.arms={slow: ['optimizer.lr=0.1'], quick: ['optimizer.lr=0.2']}"
MLP = ["model=mlp", "model.hidden=[12]", "dataset.batch_size=8"]


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr(story, "draw_replicas", lambda training, rows: [])
    monkeypatch.setattr(story, "draw_experiment", lambda folder, console: None)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with warnings.catch_warnings():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(story, "draw_replicas", lambda training, rows: [])
        start(folder / "run", *SMALL, "engine=blocked", "model.hidden=8", "noise.p=0.1", "seeds=1")
    return folder / "run"


@pytest.fixture
def small_run(trained, tmp_path):
    """A copy of the folder of one network."""
    return shutil.copytree(trained, tmp_path / "run")


def error_of(network, batches):
    """The share of wrong answers, of a network with one output for two classes."""
    with torch.no_grad():
        wrong = [((network(batch["input"]).flatten() > 0).long() != batch["label"]).float() for batch in batches]
    return torch.cat(wrong).mean().item()


@pytest.mark.parametrize("engine", [["single", *MLP], ["blocked", "model.hidden=8"]], ids=lambda words: words[0])
def test_a_replica_that_diverged_has_no_network(engine, tmp_path):
    """Under `single` the last checkpoint is from before its weights were touched, and would pass for a result."""
    start(
        tmp_path,
        *SMALL,
        "seeds=1",
        "noise.p=0",
        "optimizer.lr=[0.01,1e30]",
        "loss=hinge",
        f"engine={engine[0]}",
        *engine[1:],
    )
    run = noisereg.load(tmp_path)
    with pytest.raises(ValueError, match=r"p=0 seed=3 lr=1e\+30 diverged \(non-finite \w+\) and has no network"):
        run.network(lr=1e30)
    assert run.network(lr=0.01)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["engine=fused", "model.hidden=8"], id="fused"),
        pytest.param(["engine=blocked", "model.hidden=8", "trainer.precision=64-true"], id="blocked"),
        pytest.param(["engine=stacked", *MLP, "optimizer=adam"], id="stacked"),
        pytest.param(["engine=single", *MLP, "trainer.precision=auto"], id="single"),
    ],
)
def test_a_network_that_is_loaded_makes_the_errors_that_its_run_has_recorded(overrides, tmp_path):
    start(tmp_path, *SMALL, "noise.p=[0,0.5]", "seeds=2", *overrides)
    run = noisereg.load(tmp_path)
    assert list(run.replicas["p"]) == [0, 0, 0.5, 0.5]
    assert set(run.curves["epoch"]) >= {0, 3}
    for _, row in run.replicas.iterrows():
        which = {"p": row["p"], "seed": int(row["seed"])}
        for split in ("train", "test"):
            found = error_of(run.network(**which).float(), run.batches(split, **which))
            assert found == pytest.approx(row[f"{split}/error"], abs=1e-6)


def test_one_network_needs_no_name(tmp_path):
    start(tmp_path, *SMALL, *MLP, "noise.p=0.1", "seeds=1")
    run = noisereg.load(str(tmp_path))
    assert error_of(run.network(), run.batches("test")) == pytest.approx(run.replicas["test/error"][0], abs=1e-6)
    with pytest.raises(ValueError, match=r"seed=4 names 0 of the replicas p=0\.1,seed=3"):
        run.network(seed=4)
    with pytest.raises((ValueError, TypeError), match=r"seed='3' names 0 of the replicas|Type-check error"):
        run.network(seed="3")
    with pytest.raises(ValueError, match="split must be one of test, train, got 'val'"):
        run.batches("val")
    with pytest.raises(ValueError, match="split must be one of train, test, got 'val'"):
        run.whole_split("val")


def test_several_networks_must_be_told_apart(tmp_path):
    start(tmp_path, *SMALL, "engine=blocked", "model.hidden=4", "noise.p=[0,0.5]", "seeds=2")
    with pytest.raises(ValueError, match=r"p=0\.5 names 2 of the replicas"):
        noisereg.load(tmp_path).network(p=0.5)


def test_an_arm_is_loaded_by_its_name(tmp_path):
    start(tmp_path, *SMALL, "engine=blocked", "model.hidden=4", "noise.p=0.1", "seeds=1", ARMS)
    with pytest.raises(ConfigError, match="holds the arms of an experiment; give arm=slow"):
        noisereg.load(tmp_path)
    assert noisereg.load(tmp_path, arm="quick").settings["optimizer"]["lr"] == 0.2


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run in"):
        noisereg.load(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({"status": "stopped", "reason": "stopped by SIGTERM"}))
    with pytest.raises(ConfigError, match=r"holds no finished run: it is stopped \(stopped by SIGTERM\)"):
        noisereg.load(tmp_path)
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    (tmp_path / "result.json").rename(tmp_path / "sweep" / "0" / "result.json")
    with pytest.raises(ValueError, match="holds no run of its own, but 1 below it"):
        noisereg.load(tmp_path / "sweep")


def test_a_record_builds_nothing_foreign_whatever_it_or_a_project_says_of_trust(tmp_path, monkeypatch):
    (tmp_path / "noisereg.toml").write_text('trust = ["subprocess"]')
    monkeypatch.chdir(tmp_path)
    start(tmp_path, *SMALL, "engine=blocked", "model.hidden=4", "noise.p=0.1", "seeds=1")
    record = json.loads((tmp_path / "result.json").read_text())
    record["config"] |= {"trust": ["subprocess"], "model": {"_target_": "subprocess.getoutput", "cmd": "touch here"}}
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"model\._target_=subprocess\.getoutput: only"):
        noisereg.load(tmp_path)


def test_weights_of_another_run_and_data_that_are_others_by_now_are_refused_in_one_line(tmp_path):
    start(tmp_path, *SMALL, "engine=blocked", "model.hidden=4", "noise.p=0.1", "seeds=1")
    record = json.loads((tmp_path / "result.json").read_text())
    record["config"]["seed"] = 4
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"last.ckpt is of a run of another configuration \(seed was 3 and is 4\)"):
        noisereg.load(tmp_path).network()
    record["fingerprint"] = {"train_images": 40}
    (tmp_path / "result.json").write_text(json.dumps(record))
    for read in (noisereg.load(tmp_path).network, noisereg.load(tmp_path).batches):
        with pytest.raises(ConfigError, match=r"^run=\S+ holds a run on other data \(train_images is gone, "):
            read()
    del record["fingerprint"]  # as in one of an older version
    (tmp_path / "result.json").write_text(json.dumps(record))
    noisereg.load(tmp_path).network()


def test_a_network_is_not_loaded_beside_inputs_that_are_others_by_now(small_run, monkeypatch):
    run, load = noisereg.load(small_run), Hypercube.load
    run.network()
    monkeypatch.setattr(Hypercube, "load", lambda data: [Split(-part.inputs, part.labels) for part in load(data)])
    with pytest.raises(ConfigError, match=r"is of a run on other data \(samples\.inputs was \w+ and is \w+\)"):
        run.network()


def test_data_that_were_moved_are_named_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, place in enumerate(f"images/{split}/{name}" for split in ("train", "test") for name in ("a", "b")):
        Path(place).mkdir(parents=True)
        Image.new("RGB", (4, 4), (60 * number, 0, 0)).save(Path(place) / "0.png")
    chosen = ["dataset=image_folder", "dataset.root=images", "dataset.image_size=4", "dataset.batch_size=2"]
    start(tmp_path / "run", *chosen, "model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "logger=csv")
    Path("images").rename("moved")
    with pytest.raises(ConfigError, match="images/train cannot be read"):
        noisereg.load("run").network()
    run = noisereg.load("run", dataset_root="moved")
    run.network()
    assert [batch["label"].tolist() for batch in run.batches("test")] == [[0, 1]]
    Image.new("RGB", (4, 4), (9, 9, 9)).save("moved/test/b/0.png")
    with pytest.raises(ConfigError, match="holds a run on other data"):
        noisereg.load("run", dataset_root="moved").batches("test")


def test_a_root_for_data_that_are_drawn_is_refused(tmp_path):
    start(tmp_path, *SMALL, "engine=blocked", "model.hidden=4", "noise.p=0.1", "seeds=1")
    with pytest.raises(ValueError, match=r"dataset_root=moved: the data of \S+ are read from no folder"):
        noisereg.load(tmp_path, dataset_root="moved")


@pytest.mark.parametrize(
    ("weights", "fault"),
    [
        (None, "'state_dict'"),
        ([1], "'list' object has no attribute 'items'"),
        ({}, "Missing key"),
        ({1: torch.zeros(1)}, "'int' object has no attribute 'startswith'"),
        ({"networks.hidden": torch.zeros(3)}, "size mismatch"),
        ({"networks.hidden": 1}, "expected torch.Tensor"),
    ],
    ids=["no weights", "a list", "none", "no name", "other shapes", "numbers"],
)
def test_a_checkpoint_that_holds_no_such_weights_is_refused_in_one_line(weights, fault, small_run):
    path = small_run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    torch.save(rest if weights is None else {**rest, "state_dict": weights}, path)
    with pytest.raises(ConfigError, match=r"last\.ckpt does not hold the weights of these networks: ") as refusal:
        noisereg.load(small_run).network()
    assert fault in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("replicas", [None, [], [1], [{"p": 0.1, "seed": 9}], [{"p": 0, "seed": 3}] * 2])
def test_a_record_with_other_replicas_than_its_configuration_is_refused_in_one_line(replicas, small_run):
    path = small_run / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "replicas": replicas}))
    with pytest.raises(ConfigError, match=r"is damaged: its replicas are not those of its configuration, p="):
        _ = noisereg.load(small_run).ended_by


@pytest.mark.parametrize("fingerprint", [None, [], "x"])
def test_a_record_whose_fingerprint_is_none_is_refused_in_one_line(fingerprint, small_run):
    path = small_run / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": fingerprint}))
    with pytest.raises(ConfigError, match=r"fingerprint of the data must be a section of keys, got "):
        noisereg.load(small_run).network()


def test_a_record_that_is_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(ConfigError, match=r"it is unreadable \(result.json cannot be read: .* no regular file"):
        noisereg.load(tmp_path)


def test_weights_that_are_gone_are_missed_in_one_line(tmp_path):
    start(tmp_path, *SMALL, "engine=blocked", "model.hidden=4", "noise.p=0.1", "seeds=1")
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="has no whole checkpoint, and so no weights"):
        noisereg.load(tmp_path).network()


def test_the_script_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    start(tmp_path / "outputs" / "figure1", *SMALL, "engine=blocked", "noise.p=[0,0.2]", "seed=0", "seeds=3")
    capsys.readouterr()
    exec(re.search(r"^`analysis.py`\n\n```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)[1], {})
    printed = capsys.readouterr().out
    assert "count" in printed and "3" in printed
