import random

import numpy as np
import pytest
import torch
from foreign_project import Plain, fit, make_data, make_net, make_trainer
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from noisereg.callbacks import SparsityMonitor, train_pass

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Augmented(Dataset):
    """Uses all three global generators; not Python's for the inputs, as the type checks of the tests draw from it."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        inputs, label = make_data()[index]
        random.random()
        return inputs + np.random.rand() * 0.1 + torch.rand(()) * 0.1, label  # noqa: NPY002


def test_the_pass_over_augmented_training_data_moves_no_global_generator(monkeypatch):
    same = []

    def look(*arguments, **keywords):
        before = random.getstate()
        train_pass.visit_training_data(*arguments, **keywords)
        same.append(before == random.getstate())

    monkeypatch.setattr("noisereg.callbacks.sparsity_monitor.visit_training_data", look)
    seen = []
    for callbacks in ([], [SparsityMonitor()]):
        module = Plain(make_net().double())
        np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
        loaders = DataLoader(Augmented(), batch_size=4), DataLoader(make_data(), batch_size=4)
        make_trainer(*callbacks, max_epochs=2, precision="64-true").fit(module, *loaders)
        seen.append((module.state_dict(), np.random.rand(), torch.rand(1)))  # noqa: NPY002
    assert all(torch.equal(value, seen[1][0][key]) for key, value in seen[0][0].items())
    assert seen[0][1:] == seen[1][1:]
    assert same == [True, True]


def test_the_mode_of_every_submodule_comes_back():
    module = Plain(make_net())
    modes = []

    class Look(SparsityMonitor):
        def on_train_epoch_end(self, trainer, pl_module):
            pl_module.model[2].eval()
            before = [part.training for part in pl_module.modules()]
            super().on_train_epoch_end(trainer, pl_module)
            modes.append((before, [part.training for part in pl_module.modules()]))

    fit(Look(), module)
    before, after = modes[0]
    assert before == after
    assert True in before
    assert False in before


@pytest.mark.parametrize(("limit", "seen"), [(None, 30), (13, 13), (1000, 30)])
def test_the_training_pass_visits_the_first_samples_once(limit, seen):
    monitor = SparsityMonitor(max_train_samples=limit)
    _, module = fit(monitor)
    first = module.model[0](make_data().tensors[0]).relu()
    assert torch.equal(monitor.metrics["train"]["1"].fires[0], (first[:seen] > 0).sum(0))
    assert int(monitor.metrics["train"]["1"].samples) == seen


class NoForward(Plain):
    forward = LightningModule.forward

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.model(batch[0])


def test_a_module_without_forward_is_told_so_before_training():
    with pytest.raises(ValueError, match=r"NoForward.forward\(inputs\).*max_train_samples=0"):
        fit(SparsityMonitor(), NoForward(make_net()))
    trainer, _ = fit(SparsityMonitor(max_train_samples=0), NoForward(make_net()))
    assert "val/active_fraction" in trainer.logged_metrics


def test_training_data_that_is_a_stream_is_not_measured_and_said_so():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([make_data()[0]])

    monitor = SparsityMonitor()
    with pytest.warns(UserWarning, match="measures on the training data only if the loader is a DataLoader"):
        make_trainer(monitor).fit(Plain(make_net()), DataLoader(Stream()), DataLoader(make_data()))
    assert list(monitor.metrics) == ["val"]
