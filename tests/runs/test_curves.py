import csv

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from noisereg.callbacks import RunCheckpoint
from noisereg.runs.curves import CurveTable


def _file_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_values_of_one_step_share_a_row_and_later_columns_are_empty_before(tmp_path):
    table = CurveTable(tmp_path / "metrics.csv", p=0.1, seed=4)
    table.log_metrics({"epoch": 0, "a": 1.0}, step=0)
    table.log_metrics({"epoch": 1, "a": 0.5}, step=10)
    table.log_metrics({"epoch": 1, "b": 2.0}, step=10)
    table.finalize("success")
    assert _file_rows(tmp_path / "metrics.csv") == [
        {"step": "0", "epoch": "0", "p": "0.1", "seed": "4", "a": "1.0", "b": ""},
        {"step": "10", "epoch": "1", "p": "0.1", "seed": "4", "a": "0.5", "b": "2.0"},
    ]


def test_a_table_takes_up_the_rows_of_the_checkpoint_and_not_of_its_file(tmp_path):
    first, checkpoint = CurveTable(tmp_path / "metrics.csv", p=0.1, seed=0), {}
    trainer = Trainer(logger=False, accelerator="cpu")
    for epoch in range(4):
        first.log_metrics({"epoch": epoch, "a": float(epoch)}, step=10 * epoch)
        if epoch == 1:
            first.on_save_checkpoint(trainer, LightningModule(), checkpoint)
    first.write()
    second = CurveTable(tmp_path / "metrics.csv", p=0.1, seed=0)
    assert second.rows == []
    second.on_load_checkpoint(trainer, LightningModule(), checkpoint)
    second.log_metrics({"epoch": 2, "a": 7.0}, step=20)
    assert [(row["step"], row["a"]) for row in second.rows] == [(0, 0.0), (10, 1.0), (20, 7.0)]


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
    table = CurveTable(None, p=0.1, seed=0)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2, "accelerator": "cpu"}
    trainer = Trainer(callbacks=[table, RunCheckpoint(tmp_path)], logger=table, log_every_n_steps=1, **quiet)
    trainer.fit(Logs(), DataLoader(torch.ones(3)))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["curves"] == table.rows
    assert [(row["step"], row["epoch"], row["a"]) for row in table.rows] == [(3, 1, 7.0), (6, 2, 7.0)]


def test_last_and_best_values():
    table = CurveTable(None, p=0.0, seed=0)
    for epoch, error in enumerate([0.5, 0.2, 0.3]):
        table.log_metrics({"epoch": epoch, "test/error": error}, step=epoch)
    table.log_metrics({"epoch": 3, "train/loss": 1.5}, step=3)
    assert table.last() == {"test/error": 0.3, "train/loss": 1.5}
    assert table.best("test/error") == {"best/test/error": 0.2, "best/test/error/epoch": 1}
    assert table.best("val/error") == {}


def test_values_are_kept_to_the_digits_of_float32():
    table = CurveTable(None, p=0.0, seed=0)
    table.log_metrics({"noise/effective_rate": 0.10000000149011612}, step=0)
    assert table.last() == {"noise/effective_rate": 0.1}


def test_a_table_without_a_path_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = CurveTable(None, p=0.0, seed=0)
    table.log_metrics({"a": 1.0}, step=0)
    table.finalize("success")
    assert not list(tmp_path.iterdir())


def test_the_selected_value_is_that_of_the_first_least_validation_error():
    table = CurveTable(None, p=0.0, seed=0)
    for epoch, (val, test) in enumerate([(0.5, 0.1), (0.2, 0.4), (0.3, 0.2), (0.2, 0.3)]):
        table.log_metrics({"epoch": epoch, "val/error": val, "test/error": test}, step=epoch)
    table.log_metrics({"epoch": 4, "val/error": 0.0}, step=4)
    assert table.selected("test/error", by="val/error") == {"selected/test/error": 0.4, "selected/test/error/epoch": 1}
    assert table.selected("test/error", by="train/error") == {}
