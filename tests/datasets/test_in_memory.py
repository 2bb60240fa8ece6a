import random

import lightning
import numpy as np
import pytest
import torch
from torch import nn

from noisereg.datasets import Gaussian, InMemory, Split


class Numbered(InMemory):
    """100 training and 50 test samples whose input is their number."""

    num_classes = 2
    input_shape = (1,)

    def load(self):
        self.loads = getattr(self, "loads", 0) + 1
        return number(100), number(50)


def number(n):
    return Split(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) % 2)


class Recorder(lightning.LightningModule):
    """Learns nothing of use, and remembers which sample it saw when."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.seen = []

    def training_step(self, batch):
        self.seen.append((batch["draw"].tolist(), batch["index"].tolist()))
        return nn.functional.cross_entropy(self.layer(batch["input"]), batch["label"])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class SaveEachStep(lightning.Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def fit(data, *, ckpt_path=None, callbacks=()):
    module = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return module.seen


def inputs(split):
    return split.inputs[:, 0].long().tolist()


def set_up(**settings):
    data = Numbered(**settings)
    data.setup()
    return data


def test_setup_loads_once():
    data = set_up()
    data.setup("test")
    assert data.loads == 1
    assert inputs(data.splits["train"]) == list(range(100))
    assert inputs(data.splits["test"]) == list(range(50))


def test_data_that_draw_from_what_libraries_share_are_those_of_their_seed(monkeypatch):
    def load(self):
        draws = [torch.rand(1), torch.tensor([np.random.random()]), torch.tensor([random.random()])]  # noqa: NPY002
        return Split(torch.cat(draws).float()[:, None], torch.tensor([0, 1, 0])), number(2)

    monkeypatch.setattr(Numbered, "load", load)
    made = []
    for seed in (0, 1, 0):
        torch.rand(3), np.random.random(), random.random()  # noqa: NPY002 - whatever was drawn before
        made.append(set_up(seed=seed).splits["train"].inputs)
    assert torch.equal(made[0], made[2])
    assert not (made[0] == made[1]).any()


def test_a_subset_is_random_in_stable_order_and_nested():
    small, large = set_up(train_size=20), set_up(train_size=60)
    rows = inputs(small.splits["train"])
    assert rows == sorted(rows)
    assert rows != list(range(20))
    assert set(rows) < set(inputs(large.splits["train"]))
    assert inputs(set_up(train_size=20, seed=1).splits["train"]) != rows


def test_validation_is_taken_from_training_and_stays_when_training_grows():
    data = set_up(train_size=60, val_size=10)
    train, val = set(inputs(data.splits["train"])), inputs(data.splits["val"])
    assert len(train) == 50
    assert len(val) == 10
    assert not train & set(val)
    assert inputs(set_up(val_size=10).splits["val"]) == val


def test_labels_stay_with_their_samples():
    for split in set_up(train_size=30, test_size=20, val_size=5).splits.values():
        assert split.labels.tolist() == [row % 2 for row in inputs(split)]


def test_evaluation_names_its_splits_in_order():
    assert Numbered().eval_splits == ("test", "train")
    data = set_up(val_size=10, eval_batch_size=40)
    assert data.eval_splits == ("val", "test", "train")
    assert [loader.n for loader in data.val_dataloader()] == [10, 50, 90]
    assert [loader.n for loader in data.test_dataloader()] == [10, 50, 90]


def test_training_is_evaluated_on_an_evenly_spread_subset():
    loader = set_up(train_eval_size=4).val_dataloader()[1]
    assert next(iter(loader))["input"][:, 0].tolist() == [0, 25, 50, 75]
    assert set_up(train_eval_size=400).val_dataloader()[1].n == 100


def test_training_follows_the_order_asked_for():
    shuffled = [batch["index"].item() for batch in set_up().train_dataloader()]
    assert sorted(shuffled) == list(range(100)) != shuffled
    drawn = [batch["index"].item() for batch in set_up(order="replacement").train_dataloader()]
    assert len(drawn) == 100
    assert len(set(drawn)) < 90  # 63.4 are expected


def test_transforms_are_those_of_training_and_of_evaluation():
    data = set_up()
    data.train_transform = lambda inputs, *, draw, index: inputs + 1000
    data.eval_transform = lambda inputs, *, draw, index: inputs + 2000
    assert next(iter(data.train_dataloader()))["input"] >= 1000
    assert next(iter(data.val_dataloader()[0]))["input"][0] == 2000


def test_every_epoch_of_a_trainer_has_its_own_order():
    seen = fit(Numbered(batch_size=40))
    assert len(seen) == 9
    epochs = [[i for _, index in seen[b : b + 3] for i in index] for b in (0, 3, 6)]
    assert all(sorted(order) == list(range(100)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [draw[0] for draw, _ in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("order", ["shuffle", "replacement"])
def test_a_trainer_resumes_after_any_batch_with_the_next_one(tmp_path, order):
    whole = fit(Numbered(batch_size=40, order=order), callbacks=[SaveEachStep(tmp_path)])
    for step in range(1, 9):
        rest = fit(Numbered(batch_size=40, order=order), ckpt_path=tmp_path / f"{step}.ckpt")
        assert rest == whole[step:], step


@pytest.mark.parametrize("key", ["train_size", "test_size", "train_eval_size", "batch_size", "eval_batch_size"])
@pytest.mark.parametrize("size", [0, -3, True])
def test_sizes_must_be_positive(key, size):
    with pytest.raises(ValueError, match=f"^{key} must be a whole number, at least 1, got {size}"):
        Numbered(**{key: size})


def test_val_size_must_leave_something_to_train_on():
    with pytest.raises(ValueError, match=r"^val_size must be at least 0 and below train_size=20, .* got 20"):
        Numbered(train_size=20, val_size=20)
    with pytest.raises(ValueError, match=r"^val_size must be at least 0, got -1"):
        Numbered(val_size=-1)
    with pytest.raises(ValueError, match=r"below train_size=100, .* got 100"):
        set_up(val_size=100)


@pytest.mark.parametrize(("key", "n"), [("train_size", 100), ("test_size", 50)])
def test_a_size_beyond_the_data_names_the_number_available(key, n):
    with pytest.raises(ValueError, match=f"^{key} must be at most {n}, all that Numbered has, got 101"):
        set_up(**{key: 101})


def test_seed_must_fit_the_generator():
    with pytest.raises(ValueError, match=r"^seed must be in \[0, 2\*\*63\), got -1"):
        Numbered(seed=-1)


def test_order_must_be_one_of_training():
    with pytest.raises(ValueError, match=r"^order must be shuffle or replacement, got sequential"):
        Numbered(order="sequential")


def test_training_takes_even_shares_of_batches_and_evaluation_any(monkeypatch):
    data = set_up(batch_size=1)
    monkeypatch.setattr(data, "_rank_and_world", lambda: (1, 2))
    with pytest.raises(ValueError, match=r"divide among 2 processes, got batches of 1 and a last one of 0; change"):
        data.train_dataloader()
    assert [len(batch["index"]) for batch in data.val_dataloader()[0]] == [25]


@pytest.mark.parametrize("wrong", [0, 1])
def test_labels_outside_the_classes_are_refused_at_setup(wrong):
    class Mislabelled(Numbered):
        def load(self):
            splits = [number(100), number(50)]
            splits[wrong] = Split(splits[wrong].inputs, splits[wrong].labels + 1)
            return tuple(splits)

    with pytest.raises(ValueError, match=r"^labels must be in \[0, 2\), got 2 for sample 1$"):
        Mislabelled(train_size=1, test_size=1).setup()


@pytest.mark.parametrize("sizes", [{}, {"val_size": 30}, {"train_size": 60}, {"train_size": 60, "val_size": 10}])
def test_the_rows_of_the_training_split_are_numbers_of_samples_of_the_data_set(sizes):
    data = Numbered(seed=3, **sizes)
    data.setup()
    samples, split = data.training_samples(), data.splits["train"]
    assert samples.labels.tolist() == [0, 1] * 50 and samples.names is None
    assert torch.equal(samples.trained.float(), split.inputs.flatten())  # the input of a sample is its number
    assert torch.equal(samples.labels[samples.trained], split.labels)


def test_data_that_are_fresh_in_each_epoch_have_no_samples_to_name():
    data = Gaussian(d=3, train_size=4)
    data.setup()
    with pytest.raises(ValueError, match="each epoch has other samples"):
        data.training_samples()


NAN = Split(torch.full((3, 1), torch.nan), torch.zeros(3, dtype=torch.int64))


class Own(Numbered):
    """A data set of a user's, with a slip."""

    def __init__(self, num_classes=2, loaded=None):
        super().__init__()
        self.num_classes, self.loaded = num_classes, loaded

    def load(self):
        return self.loaded or super().load()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("slip", "message"),
    [
        ({"num_classes": None}, "num_classes must be a whole number, at least 2, got None"),
        ({"num_classes": 1}, "num_classes must be a whole number, at least 2, got 1"),
        ({"loaded": number(4)}, "Own.load must return two splits, train and test, got Split$"),
        ({"loaded": [number(4)]}, "Own.load must return two splits, train and test, got Split$"),
        ({"loaded": (number(4), number(0))}, "Own.load must return samples to train and to test on, got 4 and 0"),
        ({"loaded": (number(3), NAN)}, "inputs must be finite, got nan in sample 0$"),
        ({"loaded": (torch.ones(4), number(4))}, "Own.load must return two splits, .*, got Tensor, Split$"),
    ],
)
def test_a_slip_in_a_data_set_of_ones_own_is_told_when_it_is_loaded(slip, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Own(**slip).setup()
