import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from noisereg.callbacks import EarlyEnd, GradientMonitor, RunCheckpoint


class Learner(LightningModule):
    """Logs the errors .5, .5, ..., whatever it learns."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("error", 0.5)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopAt(Callback):
    """Stops after a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop |= trainer.global_step == self.step


class Watch(Callback):
    """Stops nothing."""


def fit(*callbacks, max_epochs=4, checkpoint=None):
    early = EarlyEnd(callbacks)
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, early],
        enable_checkpointing=any(isinstance(callback, RunCheckpoint) for callback in callbacks),
    )
    data = DataLoader(torch.ones(2))
    trainer.fit(Learner(), data, data, ckpt_path=checkpoint, weights_only=True)
    return trainer, early.ended_by


@pytest.mark.parametrize(
    ("callbacks", "ended_by"),
    [
        ([], None),
        ([Watch()], None),
        ([EarlyStopping("error", patience=1)], "EarlyStopping"),
        ([Watch(), EarlyStopping("error", patience=1)], "EarlyStopping"),
        ([EarlyStopping("error", stopping_threshold=0.6)], "EarlyStopping"),  # after the first epoch
        ([EarlyStopping("error", patience=3)], None),  # after the last one
        ([EarlyStopping("error", patience=9), StopAt(2)], "StopAt"),
        ([StopAt(7)], "StopAt"),  # in the middle of the last epoch
        ([StopAt(8)], None),
        ([Watch(), StopAt(3)], "Watch or StopAt"),
        ([GradientMonitor(), StopAt(3)], "StopAt"),
    ],
)
def test_what_ended_a_training_before_its_plan_is_named(callbacks, ended_by):
    assert fit(*callbacks)[1] == ended_by


@pytest.mark.parametrize("make", [lambda: EarlyStopping("error", patience=1), lambda: StopAt(4)])
def test_a_training_that_was_ended_early_stays_ended_when_it_is_resumed(make, tmp_path):
    trainer, ended_by = fit(make(), RunCheckpoint(tmp_path))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again, same = fit(make(), RunCheckpoint(tmp_path), checkpoint=tmp_path / "end.ckpt")
    assert same == ended_by == type(make()).__name__
    assert again.global_step == trainer.global_step == 4


def test_a_stop_that_is_saved_before_the_end_is_found_again(tmp_path):
    fit(EarlyStopping("error", patience=1), RunCheckpoint(tmp_path))  # its checkpoint is that of the epoch
    again, ended_by = fit(EarlyStopping("error", patience=1), checkpoint=tmp_path / "last.ckpt")
    assert (again.global_step, ended_by) == (4, "EarlyStopping")


def test_a_longer_training_does_not_go_on_where_it_was_stopped_at_its_end(tmp_path):
    stops = {"monitor": "error", "patience": 3}
    trainer, ended_by = fit(EarlyStopping(**stops), RunCheckpoint(tmp_path))
    assert ended_by is None
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again, ended_by = fit(EarlyStopping(**stops), max_epochs=9, checkpoint=tmp_path / "end.ckpt")
    assert (again.current_epoch, ended_by) == (4, "EarlyStopping")
