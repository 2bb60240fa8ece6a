import os
import signal

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from noisereg.callbacks import RunCheckpoint, Stopped


class Line(LightningModule):
    """Fit one weight: six samples, two a batch, three steps an epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return ((self.weight * batch - 1) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Signals(Callback):
    """Send this process signals after a step."""

    def __init__(self, step, *numbers):
        self.step, self.numbers = step, numbers

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step - 1:
            for number in self.numbers:
                os.kill(os.getpid(), number)


class Saves(RunCheckpoint):
    """Remember when it saved."""

    def on_train_start(self, trainer, pl_module):
        super().on_train_start(trainer, pl_module)
        self.steps, save = [], trainer.save_checkpoint

        def remember(path):
            self.steps.append(trainer.global_step)
            save(path)

        trainer.save_checkpoint = remember


def fit(*callbacks, max_epochs=4):
    trainer = Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        max_epochs=max_epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), DataLoader(torch.arange(6.0), batch_size=2))
    return trainer


@pytest.mark.parametrize(
    ("when", "steps"),
    [({}, [3, 6, 9, 12]), ({"every_n_epochs": 3}, [9]), ({"every_n_train_steps": 5}, [5, 10])],
)
def test_it_saves_every_so_many_epochs_or_steps(when, steps, tmp_path):
    saves = Saves(tmp_path, **when)
    fit(saves)
    assert saves.steps == steps
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == steps[-1]


def test_what_is_due_at_the_last_step_of_an_epoch_is_saved_at_its_end(tmp_path):
    fit(Saves(tmp_path, every_n_train_steps=3), max_epochs=1)
    progress = torch.load(tmp_path / "last.ckpt", weights_only=True)["loops"]["fit_loop"]["epoch_progress"]
    assert progress["current"]["processed"] == 1


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 138), ("SIGUSR2", 140)])
@pytest.mark.parametrize("step", [1, 5, 6])  # the first, one in the middle, and the last of an epoch
def test_a_signal_lets_the_step_finish_saves_and_ends_the_process(number, code, step, tmp_path):
    saves = Saves(tmp_path, every_n_epochs=100)
    with pytest.raises(Stopped) as stopped:
        fit(Signals(step, signal.Signals[number]), saves)
    assert stopped.value.code == code
    assert stopped.value.signal.name == number
    assert saves.steps == [step]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == step


def test_a_second_interrupt_ends_at_once(tmp_path):
    saves = Saves(tmp_path)
    with pytest.raises(Stopped) as stopped:
        fit(Signals(2, signal.SIGINT, signal.SIGINT), saves)
    assert stopped.value.code == 130
    assert saves.steps == []


def test_what_handles_sigusr2_does_so_after_the_save_and_its_exit_code_stays(tmp_path):
    saved = []

    def start_again(number, frame):
        saved.append(torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"])
        raise SystemExit(144)

    before = signal.signal(signal.SIGUSR2, start_again)
    try:
        with pytest.raises(Stopped) as stopped:
            fit(Signals(5, signal.SIGUSR2), RunCheckpoint(tmp_path, every_n_epochs=100))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert saved == [5]
    assert (stopped.value.signal, stopped.value.code) == (signal.SIGUSR2, 144)


def test_the_signals_are_given_back(tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    fit(RunCheckpoint(tmp_path))
    assert {number: signal.getsignal(number) for number in before} == before
    with pytest.raises(Stopped):
        fit(Signals(2, signal.SIGTERM), RunCheckpoint(tmp_path))
    assert {number: signal.getsignal(number) for number in before} == before


def test_two_in_one_trainer_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a trainer must have one RunCheckpoint, got 2: it handles the signals"):
        fit(RunCheckpoint(tmp_path / "a"), RunCheckpoint(tmp_path / "b"))


def test_a_stopped_training_goes_on_to_the_same_weight(tmp_path):
    whole = fit(RunCheckpoint(tmp_path / "whole"))
    with pytest.raises(Stopped):
        fit(Signals(6, signal.SIGTERM), RunCheckpoint(tmp_path / "cut"))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=4, enable_checkpointing=False, **quiet)
    module = Line()
    trainer.fit(module, whole.train_dataloader, ckpt_path=tmp_path / "cut" / "last.ckpt", weights_only=True)
    assert trainer.global_step == whole.global_step
    assert torch.equal(module.weight, whole.lightning_module.weight)


@pytest.mark.parametrize("wrong", [{"every_n_epochs": 0}, {"every_n_train_steps": 0}])
def test_a_number_below_one_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"every_n_\w+ must be at least 1, got 0"):
        RunCheckpoint(tmp_path, **wrong)
