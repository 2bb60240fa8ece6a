import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from noisereg.callbacks import RunCheckpoint, StopWhenFitted

ERRORS = (0.5, 0.25, 0.0, 0.125, 0.0, 0.0, 0.0, 0.0)  # after epochs 1, 2, ...


class Learner(LightningModule):
    """Logs the errors above, whatever it learns."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("train/error", ERRORS[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(stop, *callbacks, checkpoint=None):
    trainer = Trainer(
        max_epochs=8,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[stop, *callbacks],
        enable_checkpointing=bool(callbacks),
    )
    data = DataLoader(torch.ones(2))
    trainer.fit(Learner(), data, data, ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.mark.parametrize(("extra_epochs", "epochs"), [(0, 3), (2, 5), (None, 8), (9, 8)])
def test_a_training_ends_so_many_epochs_after_the_first_one_without_an_error(extra_epochs, epochs):
    stop = StopWhenFitted(extra_epochs)
    assert fit(stop).current_epoch == epochs
    assert stop.fitted_epoch == 3
    assert stop.stopped == (epochs < 8)


def test_a_training_that_was_stopped_is_not_gone_on_with(tmp_path):
    fit(StopWhenFitted(1), RunCheckpoint(tmp_path))
    again = StopWhenFitted(1)
    assert fit(again, RunCheckpoint(tmp_path), checkpoint=tmp_path / "last.ckpt").global_step == 4 * 2
    assert (again.fitted_epoch, again.stopped) == (3, True)


def test_a_negative_number_of_epochs_is_refused():
    with pytest.raises(ValueError, match="extra_epochs must be at least 0 or None, got -1"):
        StopWhenFitted(-1)
