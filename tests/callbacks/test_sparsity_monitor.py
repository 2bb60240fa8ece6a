import copy
import random

import numpy as np
import pytest
import torch
import torchvision
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from noisereg.callbacks.sparsity_monitor import SparsityMonitor

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Plain(LightningModule):
    """What a user writes who has never heard of this project."""

    def __init__(self, net):
        super().__init__()
        self.model = net

    def forward(self, inputs):
        return self.model(inputs)

    def training_step(self, batch):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Recorder(SparsityMonitor):
    """Notes the number of hooks in every training step."""

    hooks = -1

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.hooks = max(self.hooks, _num_hooks(pl_module))


class Splits(LightningDataModule):
    eval_splits = ("test", "train")
    num_classes = 3

    def train_dataloader(self):
        return DataLoader(_data(), batch_size=8, shuffle=True)

    def val_dataloader(self):
        return [DataLoader(_data(seed=1), batch_size=8), DataLoader(_data(), batch_size=8)]


class Dicts(Dataset):
    def __len__(self):
        return 30

    def __getitem__(self, index):
        inputs, label = _data()[index]
        return {"input": inputs, "label": label}


class DictModule(Plain):
    def training_step(self, batch):
        return nn.functional.cross_entropy(self(batch["input"]), batch["label"])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch["input"])


def _data(*, seed=0, num=30):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(num, 6, generator=generator), torch.randint(0, 3, (num,), generator=generator))


def _net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))


def _trainer(*callbacks, max_epochs=1, **kwargs):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        **kwargs,
    )


def _fit(monitor, module=None, **kwargs):
    module = module or Plain(_net())
    trainer = _trainer(monitor, **kwargs)
    trainer.fit(module, DataLoader(_data(), batch_size=8, shuffle=True), DataLoader(_data(seed=1), batch_size=8))
    return trainer, module


def _num_hooks(module):
    return sum(len(part._forward_hooks) for part in module.modules())


def _hidden(net, data):
    first = net[0](data.tensors[0]).relu()
    return first, net[3](first).relu()


@pytest.mark.parametrize("max_epochs", [1, 2])
def test_logged_values_are_those_of_the_net_at_the_end_of_the_epoch(max_epochs):
    trainer, module = _fit(SparsityMonitor(), max_epochs=max_epochs)
    with torch.no_grad():
        for split, data in {"train": _data(), "val": _data(seed=1)}.items():
            first, second = ((hidden > 0).double() for hidden in _hidden(module.model, data))
            both = torch.cat([first, second], dim=1)
            expected = {
                "active_neurons": both.sum(1).mean(),
                "active_fraction": both.mean(),
                "dead_fraction": (both.sum(0) == 0).double().mean(),
                "always_on_fraction": both.all(0).double().mean(),
                "active_fraction/1": first.mean(),
                "active_fraction/4": second.mean(),
                "dead_fraction/1": (first.sum(0) == 0).double().mean(),
                "dead_fraction/4": (second.sum(0) == 0).double().mean(),
            }
            found = trainer.logged_metrics.items()
            logged = {key.removeprefix(f"{split}/"): value for key, value in found if key.startswith(f"{split}/")}
            assert logged.keys() == expected.keys()
            for key, value in expected.items():
                assert logged[key].item() == pytest.approx(value.item(), rel=1e-6), key


def test_training_ends_with_the_same_bits_with_and_without_the_monitor():
    weights = []
    for callbacks in ([], [SparsityMonitor()], [SparsityMonitor(num_classes=3)]):
        module = Plain(_net())
        torch.manual_seed(5)
        loaders = DataLoader(_data(), batch_size=8, shuffle=True), DataLoader(_data(seed=1), batch_size=8)
        _trainer(*callbacks, max_epochs=2).fit(module, *loaders)
        weights.append(module.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][key], other[key]) for key in other)


class Augmented(Dataset):
    """Uses all three global generators; not Python's for the inputs, as the type checks of the tests draw from it."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        inputs, label = _data()[index]
        random.random()
        return inputs + np.random.rand() * 0.1 + torch.rand(()) * 0.1, label  # noqa: NPY002


def test_the_pass_over_augmented_training_data_moves_no_global_generator():
    class Look(SparsityMonitor):
        same: list[bool] = []  # noqa: RUF012

        def _train_pass(self, trainer, pl_module):
            before = random.getstate()
            super()._train_pass(trainer, pl_module)
            self.same.append(before == random.getstate())

    seen = []
    for callbacks in ([], [Look()]):
        module = Plain(_net().double())
        np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
        loaders = DataLoader(Augmented(), batch_size=4), DataLoader(_data(), batch_size=4)
        _trainer(*callbacks, max_epochs=2, precision="64-true").fit(module, *loaders)
        seen.append((module.state_dict(), np.random.rand(), torch.rand(1)))  # noqa: NPY002
    assert all(torch.equal(value, seen[1][0][key]) for key, value in seen[0][0].items())
    assert seen[0][1:] == seen[1][1:]
    assert Look.same == [True, True]


def test_hooks_are_there_only_while_it_measures():
    monitor = Recorder()
    _, module = _fit(monitor, max_epochs=2)
    assert monitor.hooks == 0
    assert _num_hooks(module) == 0


def test_hooks_are_gone_after_an_error_in_the_loop():
    class Failing(Plain):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self(batch[0])
            assert _num_hooks(self) == 2
            raise RuntimeError("no more")

    module = Failing(_net())
    with pytest.raises(RuntimeError, match="no more"):
        _trainer(SparsityMonitor()).validate(module, DataLoader(_data(), batch_size=8), verbose=False)
    assert _num_hooks(module) == 0


def test_the_mode_of_every_submodule_comes_back():
    module = Plain(_net())
    modes = []

    class Look(Recorder):
        def on_train_epoch_end(self, trainer, pl_module):
            pl_module.model[2].eval()
            before = [part.training for part in pl_module.modules()]
            super().on_train_epoch_end(trainer, pl_module)
            modes.append((before, [part.training for part in pl_module.modules()]))

    _fit(Look(), module)
    before, after = modes[0]
    assert before == after
    assert True in before
    assert False in before


def test_the_sanity_check_is_not_measured():
    class Stop(SparsityMonitor):
        def on_sanity_check_end(self, trainer, pl_module):
            assert self.metrics == {}
            assert _num_hooks(pl_module) == 0

    trainer, _ = _fit(Stop(), num_sanity_val_steps=2)
    assert "val/active_fraction" in trainer.logged_metrics


def test_only_due_epochs_are_measured():
    epochs = []

    class Note(SparsityMonitor):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            epochs.append((trainer.current_epoch, sorted(self.metrics)))
            self.metrics.clear()

    _fit(Note(every_n_epochs=2), max_epochs=4)
    assert epochs == [(0, []), (1, ["train", "val"]), (2, []), (3, ["train", "val"])]


def test_validate_and_test_are_always_due_and_the_metrics_stay_readable():
    monitor = SparsityMonitor(every_n_epochs=100, num_classes=3)
    module = Plain(_net())
    trainer = _trainer(monitor)
    trainer.validate(module, DataLoader(_data(seed=1), batch_size=8), verbose=False)
    values = trainer.test(module, DataLoader(_data(seed=2), batch_size=8), verbose=False)[0]
    assert sorted(monitor.metrics) == ["test", "val"]
    first, second = _hidden(module.model, _data(seed=2))
    labels = _data(seed=2).tensors[1]
    histogram = torch.stack([(first[labels == c] > 0).sum(0) for c in range(3)], dim=1)
    assert torch.equal(monitor.metrics["test"]["1"].histogram, histogram)
    assert values["test/active_neurons"] == pytest.approx(
        float((first > 0).sum(1).double().mean() + (second > 0).sum(1).double().mean()), rel=1e-6
    )
    assert values["test/associated_neurons"] == sum(
        int(metric.associated.sum()) for metric in monitor.metrics["test"].values()
    )


def test_loaders_take_their_names_and_classes_from_the_datamodule():
    monitor = SparsityMonitor()
    trainer = _trainer(monitor)
    trainer.fit(Plain(_net()), datamodule=Splits())
    assert sorted(monitor.metrics) == ["test", "train"]
    assert monitor.metrics["train"]["1"].samples.tolist() == torch.bincount(_data().tensors[1], minlength=3).tolist()
    assert monitor.metrics["test"]["1"].samples.tolist() == torch.bincount(_data(seed=1).tensors[1]).tolist()
    assert {"train/associated_neurons", "test/active_fraction/4"} <= trainer.logged_metrics.keys()
    assert not any("dataloader_idx" in key for key in trainer.logged_metrics if "active" in key)


def test_several_loaders_without_names_are_numbered():
    monitor = SparsityMonitor(max_train_samples=0)
    loaders = [DataLoader(_data(seed=seed, num=10 + seed), batch_size=8) for seed in (1, 2)]
    _trainer(monitor).fit(Plain(_net()), DataLoader(_data(), batch_size=8), loaders)
    assert {split: int(layers["1"].samples) for split, layers in monitor.metrics.items()} == {"val": 11, "val2": 12}


@pytest.mark.parametrize(("limit", "seen"), [(None, 30), (13, 13), (1000, 30)])
def test_the_training_pass_visits_the_first_samples_once(limit, seen):
    monitor = SparsityMonitor(max_train_samples=limit)
    _, module = _fit(monitor)
    first, _ = _hidden(module.model, _data())
    assert torch.equal(monitor.metrics["train"]["1"].fires[0], (first[:seen] > 0).sum(0))
    assert int(monitor.metrics["train"]["1"].samples) == seen


def test_dict_batches_are_understood():
    monitor = SparsityMonitor(num_classes=3)
    _trainer(monitor).fit(DictModule(_net()), DataLoader(Dicts(), batch_size=8), DataLoader(Dicts(), batch_size=8))
    counts = torch.bincount(_data().tensors[1]).tolist()
    assert [monitor.metrics[split]["1"].samples.tolist() for split in ("train", "val")] == [counts, counts]


def test_bfloat16_autocast_counts_exactly():
    monitor = SparsityMonitor()
    trainer = _trainer(monitor, precision="bf16-mixed")
    net = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 3))
    nn.init.constant_(net[0].bias, 50.0)
    trainer.validate(Plain(net), DataLoader(_data(num=1027), batch_size=1027), verbose=False)
    assert monitor.metrics["val"]["1"].fires.tolist() == [[1027, 1027]]


def test_torchvision_resnets_have_a_layer_for_each_call_of_a_relu():
    torch.manual_seed(0)
    module = Plain(torchvision.models.resnet18(num_classes=3))
    data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]))
    monitor = SparsityMonitor(layers=["relu", "layer4.*"], num_classes=3)
    trainer = _trainer(monitor)
    trainer.test(module, DataLoader(data, batch_size=2), verbose=False)
    layers = monitor.metrics["test"]
    assert list(layers) == ["relu", *(f"layer4.{block}.relu{call}" for block in (0, 1) for call in ("", ":2"))]
    assert layers["relu"].num_units == 64 * 16 * 16
    body = nn.Sequential(*list(module.model.eval().children())[:-2])
    with torch.no_grad():
        last = body(data.tensors[0]).flatten(1) > 0
    assert torch.equal(layers["layer4.1.relu:2"].fires.sum(0), last.sum(0))
    assert layers["layer4.1.relu:2"].samples.tolist() == [2, 1, 1]


def test_one_layer_gives_no_values_by_layer():
    trainer, _ = _fit(SparsityMonitor(layers=["4"]))
    assert "val/active_fraction" in trainer.logged_metrics
    assert not any(key.count("/") > 1 for key in trainer.logged_metrics)


def test_a_net_without_relus_is_trained_and_said_to_have_none(caplog):
    with caplog.at_level("INFO"):
        trainer, _ = _fit(SparsityMonitor(), Plain(nn.Linear(6, 3)))
    assert sum("Plain has no nn.ReLU" in record.message for record in caplog.records) == 1
    assert list(trainer.logged_metrics) == ["val_loss"]


def test_a_pattern_without_a_match_stops_the_run_before_it_begins():
    module = Plain(_net())
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match=r"layers must match names of ReLUs, got 'layer\*'; there are: 1, 4"):
        _fit(SparsityMonitor(layers=["layer*"]), module)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


class NoForward(Plain):
    forward = LightningModule.forward

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.model(batch[0])


def test_a_module_without_forward_is_told_so_before_training():
    with pytest.raises(ValueError, match=r"NoForward.forward\(inputs\).*max_train_samples=0"):
        _fit(SparsityMonitor(), NoForward(_net()))
    trainer, _ = _fit(SparsityMonitor(max_train_samples=0), NoForward(_net()))
    assert "val/active_fraction" in trainer.logged_metrics


def test_training_data_that_is_a_stream_is_not_measured_and_said_so():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([_data()[0]])

    monitor = SparsityMonitor()
    with pytest.warns(UserWarning, match="measures on the training data only if the loader is a DataLoader"):
        _trainer(monitor).fit(Plain(_net()), DataLoader(Stream()), DataLoader(_data()))
    assert list(monitor.metrics) == ["val"]


def test_classes_that_were_asked_for_need_labels():
    class Unlabelled(Plain):
        def test_step(self, batch, batch_idx):
            self(batch["x"])

    data = [{"x": torch.randn(6), "y": 0}]
    with pytest.raises(ValueError, match=r"num_classes needs batches with int64 labels.* got a dict with 'x', 'y'"):
        _trainer(SparsityMonitor(num_classes=3)).test(Unlabelled(_net()), DataLoader(data), verbose=False)


def test_without_labels_the_classes_of_the_datamodule_are_left_out():
    class Unlabelled(Plain):
        def test_step(self, batch, batch_idx):
            self(batch)

    class Inputs(LightningDataModule):
        num_classes = 3

        def test_dataloader(self):
            return DataLoader(torch.randn(4, 6), batch_size=2)

    monitor = SparsityMonitor()
    _trainer(monitor).test(Unlabelled(_net()), datamodule=Inputs(), verbose=False)
    assert monitor.metrics["test"]["1"].samples.tolist() == [4]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1, got 0"),
        ({"num_classes": 1}, "num_classes must be at least 2 or None, got 1"),
        ({"max_train_samples": -1}, "max_train_samples must be at least 0 or None, got -1"),
        ({"layers": "relu"}, "layers must be a list of patterns, got the string 'relu'"),
    ],
)
def test_settings_out_of_range_are_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SparsityMonitor(**kwargs)
