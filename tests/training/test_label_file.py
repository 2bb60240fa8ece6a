import pytest
import torch
from rich.console import Console

from noisereg.config.composing import compose_settings
from noisereg.datasets import Hypercube, Split
from noisereg.errors import ConfigError
from noisereg.training.label_file import record_labels
from noisereg.training.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
QUIET = Console(quiet=True)
SIZES = ["dataset.d=6", "dataset.train_size=40", "dataset.test_size=20", "dataset.val_size=8", "model.hidden=5"]
SMALL = [*SIZES, "trainer.max_epochs=3", "callbacks.sparsity.every_n_epochs=1", "logger=csv", "loss=logistic"]
ENGINES = {
    "fused": ["dataset.batch_size=1"],
    "blocked": ["dataset.batch_size=4"],
    "stacked": ["dataset.batch_size=4", "model=mlp", "model.hidden=[5]"],
    "single": ["dataset.batch_size=4"],
}


def clean_labels(seed=0):
    data = Hypercube(d=6, train_size=40, test_size=20, seed=seed)
    data.setup()
    return data.splits["train"].labels


def given_labels():
    """Of seed 0, every third one is wrong."""
    clean = clean_labels()
    return torch.where(torch.arange(40) % 3 == 0, 1 - clean, clean)


def write(path, **columns):
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "labels.csv", clean=clean_labels().tolist(), given=given_labels().tolist())


def make(folder, path, *overrides):
    settings = compose_settings(*SMALL, "noise=file", f"noise.path={path}", "seeds=1", *overrides)
    return prepare(settings, folder=folder, console=QUIET)


def weights(training):
    module = training.module.networks if hasattr(training.module, "networks") else training.module.model
    return [weight.detach().clone() for weight in module.parameters()]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_trains_on_the_labels_of_the_file_as_if_they_were_those_of_the_data(
    engine, path, tmp_path, monkeypatch
):
    training = make(tmp_path / "file", path, f"engine={engine}", *ENGINES[engine])
    training.train()
    (row,) = training.finish()
    kept = training.data.training_samples().trained
    wrong = (given_labels() != clean_labels())[kept]
    if training.settings["dataset"]["order"] == "shuffle":
        assert row["noise/measured_rate"] == pytest.approx(float(wrong.double().mean()))
    load, given = Hypercube.load, given_labels()
    monkeypatch.setattr(Hypercube, "load", lambda data: (Split(load(data)[0].inputs, given), load(data)[1]))
    peer = prepare(
        compose_settings(*SMALL, "noise=none", "seeds=1", f"engine={engine}", *ENGINES[engine]),
        folder=tmp_path / "peer",
        console=QUIET,
    )
    peer.train()
    assert all(torch.equal(mine, other) for mine, other in zip(weights(training), weights(peer), strict=True))


@pytest.mark.parametrize("engine", ["blocked", "single"])
@pytest.mark.parametrize(
    ("override", "stays"), [("noise.p=1", True), ("noise/schedule=linear", False), ("noise.expected=true", False)]
)
def test_wrong_labels_are_measured_apart_where_each_sample_keeps_its_label(override, stays, engine, path, tmp_path):
    training = make(tmp_path, path, override, f"engine={engine}", *ENGINES[engine])
    training.train()
    (row,) = training.finish()
    kept = training.data.training_samples().trained
    assert row.get("train/wrong_labels") == (int((given_labels() != clean_labels())[kept].sum()) if stays else None)


def test_the_record_and_the_headlines_say_how_many_labels_are_wrong_and_which_become_which(path, tmp_path):
    training = make(tmp_path, path)
    clean, given = clean_labels(), given_labels()
    law = [[float(((clean == y) & (given == z)).sum() / (clean == y).sum()) for z in (0, 1)] for y in (0, 1)]
    found = record_labels(training.rules[0])["label_file"]
    assert found == {
        "path": str(path),
        "column": "given",
        "clean_column": "clean",
        "labels": 40,
        "rate": 0.35,  # 14 of 40
        "transition": [[pytest.approx(share, abs=1e-6) for share in row] for row in law],
    }
    lines = training.headlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("labels"))
    assert lines[place] == f"labels  given of {path}: 35.00% of 40 are not the clean ones; clean is as in the data"
    assert lines[place + 2].split() == ["0", *(f"{share:.3f}" for share in law[0])]


def test_replicas_of_several_seeds_need_clean_labels_that_are_of_all_or_are_refused(path, tmp_path):
    with pytest.raises(ConfigError, match=r"not those of hypercube of seed 1 in \d+ of 40 samples"):
        make(tmp_path, path, "seeds=2")
    bare = write(tmp_path / "bare.csv", given=given_labels().tolist())
    with pytest.raises(
        ConfigError, match="has no clean labels, and the samples of seed 1 are others than those of seed 0"
    ):
        make(tmp_path, bare, "seeds=2")
    assert "it has no clean ones to check them by" in "".join(make(tmp_path, bare).headlines())


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["noise.column=gven"], r"^noise\.column=gven: .* did you mean given\?"),
        (["noise.column=3"], r"^noise\.column=3: FileLabels takes str \| None"),
        (["noise.path=null"], r"^noise\.path must name a file of labels"),
        (["noise.path=nowhere.csv"], r"^noise\.path=nowhere\.csv cannot be read as labels \(No such file"),
        (["dataset.train_size=41"], r"^noise\.path=.* has 40 labels, and hypercube of seed 0 has 41 training samples"),
        (["dataset=gaussian"], r"^noise: each epoch has other samples \(Gaussian inputs"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_that_names_the_key(overrides, match, path, tmp_path):
    with pytest.raises(ConfigError, match=match) as error:
        make(tmp_path, path, *overrides) if overrides != ["dataset=gaussian"] else gaussian(tmp_path, path)
    assert "\n" not in str(error.value)


def gaussian(folder, path):
    prepare(compose_settings("dataset=gaussian", "noise=file", f"noise.path={path}"), folder=folder, console=QUIET)
