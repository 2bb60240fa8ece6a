import io
import re

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from replica_runs import Recipe, Replica, StackedTraining
from rich.console import Console

from noisereg.engine import chunks
from noisereg.runs import progress as module_under_test
from noisereg.runs.progress import RunDisplay, RunProgress


class Counter(LightningModule):
    """So many epochs of ten steps done."""

    def __init__(self, epochs=0):
        super().__init__()
        self.move_to(epochs)

    def move_to(self, epochs):
        self.epochs_done, self.steps_done = float(epochs), 10 * epochs


class Fault(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        raise OSError("disk full")


def make_console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


@pytest.fixture
def clock(monkeypatch):
    """A list with the time of day in seconds."""
    now = [100.0]
    monkeypatch.setattr(module_under_test, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    return now


@pytest.fixture
def trainer():
    made = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, limit_val_batches=0
    )
    made.state.fn = TrainerFn.FITTING
    return made


def lines_at(progress, trainer, module, *, clock, times):
    """What is printed when the module has done so many epochs at those times."""
    for epochs, seconds in times.items():
        module.move_to(epochs)
        clock[0] = 100 + seconds
        progress.on_validation_end(trainer, module)
    return progress._display._console.file.getvalue().splitlines()


def test_a_line_says_what_is_done_and_what_is_left(clock, trainer):
    progress, module = RunProgress(RunDisplay(make_console(False), 100, parts=[range(7)])), Counter()
    progress.on_train_start(trainer, module)
    trainer.callback_metrics["test/error"] = torch.tensor(0.125)
    assert lines_at(progress, trainer, module, clock=clock, times={0: 0, 20: 4}) == [
        "epoch 20 of 100: mean test error 12.50 %; 350 steps/s, 16 s left"
    ]


NAMES = [{"p": p, "seed": seed} for p in (0, 0.2, 0.4) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (NAMES[:4], "mean test error 10.00 % (p=0), 25.00 % (p=0.2)"),
        (NAMES[:2], "mean test error 17.50 %"),
        ([{"p": p, "seed": 0} for p in range(5)], "mean test error 0.00 % (p=0), 50.00 % (p=4)"),
    ],
)
def test_a_line_says_the_values_of_each_p_or_of_the_first_and_the_last_of_many(names, words, clock, trainer):
    progress, module = (
        RunProgress(RunDisplay(make_console(False), 100, parts=[range(len(names))], names=names)),
        Counter(),
    )
    errors = [0.0, 0.2, 0.25, torch.nan, 0.5] if len(names) > 2 else [0.1, 0.25]
    module.measured = {"test/error": torch.tensor(errors[: len(names)])}
    progress.on_train_start(trainer, module)
    trainer.callback_metrics["test/error"] = torch.tensor(errors[: len(names)]).nanmean()
    (line,) = lines_at(progress, trainer, module, clock=clock, times={0: 0, 20: 4})
    assert line.startswith(f"epoch 20 of 100: {words};")


def test_a_line_of_one_replica_after_the_other_names_it(clock, trainer):
    display, module = RunDisplay(make_console(False), 100, parts=[[0], [1]], names=NAMES[1:3]), Counter()
    progress = RunProgress(display, place=1)
    progress.on_train_start(trainer, module)
    (line,) = lines_at(progress, trainer, module, clock=clock, times={0: 0, 20: 4})
    assert line.startswith("replica 2 of 2 (p=0.2 seed=0), epoch 20 of 100")


def test_a_line_without_a_measured_value_leaves_it_out(clock, trainer):
    progress, module = RunProgress(RunDisplay(make_console(False), 2000, parts=[range(220)])), Counter()
    progress.on_train_start(trainer, module)
    (line,) = lines_at(progress, trainer, module, clock=clock, times={1000: 10})
    assert line == "epoch 1,000 of 2,000; 0.22 M steps/s, 10 s left"


def test_there_are_some_twenty_lines_however_many_measurements(clock, trainer):
    progress, module = RunProgress(RunDisplay(make_console(False), 1000)), Counter()
    progress.on_train_start(trainer, module)
    assert len(lines_at(progress, trainer, module, clock=clock, times={t: t for t in range(1000)})) == 19


def test_a_resumed_training_counts_from_where_it_went_on(clock, trainer):
    progress, module = RunProgress(RunDisplay(make_console(False), 100)), Counter(50)
    progress.on_train_start(trainer, module)
    lines = lines_at(progress, trainer, module, clock=clock, times={50: 0, 60: 20})
    assert lines == ["epoch 60 of 100; 5 steps/s, 80 s left"]


def test_trainings_one_after_the_other_share_a_display_that_says_which_and_what_is_left_of_all(clock, trainer):
    display = RunDisplay(make_console(False), 10, parts=[[0], [1], [2]])
    for place, began in enumerate((0, 10, 20)):
        progress, module = RunProgress(display, place=place), Counter()
        clock[0] = 100 + began
        progress.on_train_start(trainer, module)
        lines_at(progress, trainer, module, clock=clock, times={5: began + 5})
        module.move_to(10)
        clock[0] = 100 + began + 10
        progress.on_train_batch_end(trainer, module, None, None, 9)
        progress.on_train_end(trainer, module)
    assert display._console.file.getvalue().splitlines() == [
        "replica 1 of 3, epoch 5 of 10; 10 steps/s, 25 s left",
        "replica 2 of 3, epoch 5 of 10; 10 steps/s, 15 s left",
        "replica 3 of 3, epoch 5 of 10; 10 steps/s, 5 s left",
    ]


def test_trainings_at_the_same_time_add_up_and_what_is_done_before_takes_no_time(clock):
    display = RunDisplay(make_console(False), 10, parts=[[0], [1], [2], [3]], names=NAMES[:4])
    display.skip(0)
    for place in (1, 2):
        display.begin(place, 0, 0)
    for place, epochs, seconds in ((1, 5, 5), (2, 5, 5), (1, 10, 10)):
        clock[0] = 100 + seconds
        display.print_values(place, epochs, 10 * epochs, {"test/error": 0.125}, {})
    display.end(1)
    display.begin(3, 5, 50, goes_on=True)
    assert display._console.file.getvalue().splitlines() == [
        "replica 2 of 4 (p=0 seed=1), epoch 5 of 10: test error 12.50 %; 10 steps/s, 25 s left",
        "replica 3 of 4 (p=0.2 seed=0), epoch 5 of 10: test error 12.50 %; 20 steps/s, 10 s left",
        "replica 2 of 4 (p=0 seed=1), epoch 10 of 10: test error 12.50 %; 15 steps/s, 10 s left",
        "goes on replica 4 of 4 (p=0.2 seed=1), at epoch 5 of 10",
    ]


def test_parts_of_several_replicas_are_named_by_them_and_have_the_values_of_their_own(clock):
    display = RunDisplay(make_console(False), 10, parts=[[0, 2, 4], [1, 3, 5]], names=NAMES)
    for place in (0, 1):
        display.begin(place, 0, 0)
    clock[0] = 105
    display.print_values(1, 5, 50, {"test/error": 0.25}, {"test/error": [0.125, 0.25, 0.375]})
    display.move(0, 5, 50)
    clock[0] = 110
    display.print_values(0, 10, 100, {"test/error": 0.25}, {})
    assert display._console.file.getvalue().splitlines() == [
        "part 2 of 2 (replicas 2, 4, 6 of 6), epoch 5 of 10: "
        "mean test error 12.50 % (p=0), 25.00 % (p=0.2), 37.50 % (p=0.4); 30 steps/s, 15 s left",
        "part 1 of 2 (replicas 1, 3, 5 of 6), epoch 10 of 10: mean test error 25.00 %; 45 steps/s, 3 s left",
    ]
    assert RunDisplay(make_console(False), 10, parts=[[0, 1], [2, 3, 5]]).name_training(1) == (
        "part 2 of 2 (replicas 3-4, 6 of 5)"
    )


def test_a_training_that_begins_again_counts_the_steps_that_were_made_here(clock):
    display = RunDisplay(make_console(False), 10, parts=[[0], [1]])
    display.begin(0, 0, 0)
    clock[0] = 110
    display.move(0, 5, 50)
    display.pause(0)
    display.begin(0, 4, 40)  # from its last checkpoint
    clock[0] = 120
    display.print_values(0, 8, 80, {}, {})
    assert "; 4 steps/s," in display._console.file.getvalue()  # 50 and 40 steps in 20 s


def test_the_bar_names_all_that_are_under_way(clock):
    display = RunDisplay(make_console(True), 10, parts=[[n] for n in range(6)])
    for place in (1, 3):
        display.begin(place, 0, 0)
    display.move(1, 7, 70)
    display.move(3, 5, 50)
    task = display._bar.tasks[0]
    assert (task.description, task.fields["epoch"], task.completed) == ("replicas 2, 4 of 6, ", 5, 12)
    display.stop()


@pytest.fixture
def make_training(monkeypatch):
    """A function that makes a training of eight epochs, measured every two, and the console of its progress."""
    monkeypatch.setattr(chunks, "_REPLICA_DRAWS", 2 * 15)

    def make(terminal, *callbacks):
        console = make_console(terminal)
        callbacks = [RunProgress(RunDisplay(console, 8, parts=[range(2)])), *callbacks]
        replicas = [Replica(), Replica(seed=1)]
        run = StackedTraining(replicas, Recipe(num_epochs=8), engine="blocked", every_n_epochs=2, callbacks=callbacks)
        return run, console

    return make


def test_off_a_terminal_a_training_prints_lines(make_training):
    run, console = make_training(False)
    run.run()
    means = run.curves.frame().groupby("epoch")["test/error"].mean()
    for line, epoch in zip(console.file.getvalue().splitlines(), (2, 4, 6), strict=True):
        assert line.startswith(
            f"epoch {epoch} of 8: mean test error {100 * means[epoch]:.2f} %, active fraction, test "
        )
        assert re.search(r"; [\d,.]+( M)? steps/s, [\d,]+ s left$", line)


def test_on_a_terminal_a_training_shows_a_bar(make_training):
    run, console = make_training(True)
    run.run()
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", console.file.getvalue())
    last = [line for line in re.split(r"[\r\n]+", text) if line.strip()][-1]
    assert re.match(r"epoch 8 of 8 ━+ [\d,.]+( M)? steps/s \d:\d\d:\d\d left \d:\d\d:\d\d", last)
    assert "mean" not in text


def test_the_bar_is_taken_away_when_a_training_fails(make_training):
    run, console = make_training(True, Fault())
    with pytest.raises(OSError, match="disk full"):
        run.run()
    assert "\x1b[?25h" in console.file.getvalue()  # the cursor is shown again
    before = console.file.getvalue()
    console.print("told")
    assert console.file.getvalue() == before + "told\n"
