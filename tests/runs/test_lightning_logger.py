import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from noisereg.callbacks import RunCheckpoint
from noisereg.engine.measurement import Measurement
from noisereg.runs.curves import Curves
from noisereg.runs.lightning_logger import ObserverLogger

ONE = [{"p": 0.1, "seed": 0}]


class Heard:
    """Keeps what it is told."""

    def __init__(self):
        self.measurements = []

    def observe(self, measurement):
        self.measurements.append(measurement)


class Logs(LightningModule):
    """Log a value as an epoch ends."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_end(self):
        self.log_dict({"a": 7.0, "step": float(self.global_step), "epoch": self.current_epoch + 1.0})


def test_a_checkpoint_at_the_end_of_an_epoch_holds_what_is_logged_after_it(tmp_path):
    logger, resumed = ObserverLogger(Curves(None, ONE)), ObserverLogger(Curves(None, ONE))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2, "accelerator": "cpu"}
    trainer = Trainer(callbacks=[logger, RunCheckpoint(tmp_path)], logger=logger, log_every_n_steps=1, **quiet)
    trainer.fit(Logs(), DataLoader(torch.ones(3)))
    resumed.on_load_checkpoint(trainer, Logs(), torch.load(tmp_path / "last.ckpt", weights_only=True))
    for curves in (logger.curves, resumed.curves):
        assert curves.frame()[["step", "epoch", "a"]].values.tolist() == [[3, 1, 7.0], [6, 2, 7.0]]


def test_observers_of_the_whole_run_hear_of_one_network_by_its_number():
    heard = Heard()
    logger = ObserverLogger(Curves(None, ONE), [heard], replicas=[4])
    logger.log_metrics({"test/error": 0.5, "epoch": 2}, step=20)
    (measurement,) = heard.measurements
    assert measurement[:3] == (20, 2, [4])
    assert measurement.values == {"test/error": 0.5}


def test_observers_of_the_whole_run_hear_of_the_networks_of_a_part_by_their_numbers():
    heard = Heard()
    logger = ObserverLogger(Curves(None, [*ONE, {"p": 0.2, "seed": 0}]), [heard], replicas=[3, 8])
    logger.observe(Measurement(20, 2, [1], {"test/error": np.array([0.5])}))
    assert [measurement.replicas for measurement in heard.measurements] == [[8]]
    assert logger.curves.last() == [{}, {"test/error": 0.5}]


def test_observers_hear_of_many_networks_as_they_are_measured():
    heard = Heard()
    logger = ObserverLogger(Curves(None, [*ONE, {"p": 0.2, "seed": 0}]), [heard])
    measurement = Measurement(20, 2, [1], {"test/error": np.array([0.5])})
    logger.observe(measurement)
    assert heard.measurements == [measurement]
    assert logger.curves.last() == [{}, {"test/error": 0.5}]


def test_hyperparameters_are_no_measurement():
    logger = ObserverLogger(Curves(None, ONE))
    logger.log_hyperparams({"p": 0.5})
    assert logger.curves.frame().empty
    assert (logger.name, logger.version) == ("", "")


class Evaluated(Logs):
    """Log a value of one's own for each of the splits."""

    def validation_step(self, batch, batch_idx, dataloader_idx):
        self.log("confidence", float(dataloader_idx))


class Splits(LightningDataModule):
    eval_splits = ("test", "train")

    def train_dataloader(self):
        return DataLoader(torch.ones(3))

    def val_dataloader(self):
        return [DataLoader(torch.ones(1)), DataLoader(torch.ones(1))]


def test_a_metric_of_ones_own_has_the_name_of_its_split(tmp_path):
    logger, resumed = ObserverLogger(Curves(None, ONE)), ObserverLogger(Curves(None, ONE))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1, "accelerator": "cpu"}
    quiet |= {"log_every_n_steps": 1, "num_sanity_val_steps": 0}
    trainer = Trainer(callbacks=[logger, RunCheckpoint(tmp_path)], logger=logger, **quiet)
    trainer.fit(Evaluated(), datamodule=Splits())
    resumed.on_load_checkpoint(trainer, Logs(), torch.load(tmp_path / "last.ckpt", weights_only=True))
    for curves in (logger.curves, resumed.curves):
        assert curves.last() == [{"a": 7.0, "test/confidence": 0.0, "train/confidence": 1.0}]
