import math

import pytest
import torch
from foreign_project import Plain, make_trainer
from torch import nn
from torch.utils.data import DataLoader

from noisereg.callbacks import FiniteLoss, LabelCorruption
from noisereg.datasets import InMemory, Split
from noisereg.engine.classifier import Classifier
from noisereg.losses import CrossEntropy
from noisereg.noise import Flip

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*but have no `val_dataloader`")

SGD = {"momentum": 0.9, "weight_decay": 0.01}
OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, **SGD),
    "fused sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, fused=True, **SGD),
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.1, weight_decay=0.01),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.1),
}


class Normalised(Plain):
    """A network with batch normalisation, and an optimiser with a memory."""

    def __init__(self, optimizer="sgd"):
        torch.manual_seed(0)
        super().__init__(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
        self.optimizer = optimizer

    def configure_optimizers(self):
        return OPTIMIZERS[self.optimizer](self.parameters())


def make_batch(number, *, bad=None):
    """A batch of one sample for each value of `number`, with infinite or nan pixels in one of them."""
    generator = torch.Generator().manual_seed(number)
    inputs, labels = torch.randn(5, 6, generator=generator), torch.randint(0, 3, (5,), generator=generator)
    if bad is not None:
        inputs[2, 3] = bad
    return inputs, labels


def batches(*numbers, bad=()):
    made = [make_batch(number, bad=math.nan if number in bad else None) for number in numbers]
    return DataLoader(made, batch_size=None)


def fit(loader, *callbacks, optimizer="sgd", **options):
    module = Normalised(optimizer)
    trainer = make_trainer(*callbacks, **options)
    try:
        trainer.fit(module, loader)
        error = None
    except FloatingPointError as raised:
        error = raised
    return module, trainer, error


def assert_same_training(one, other):
    """Bit for bit the same weights, running statistics and memory of the optimiser."""
    (module, trainer, _), (expected, expected_trainer, _) = one, other
    for name, value in expected.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name
    memory, expected_memory = (t.optimizers[0].state_dict()["state"] for t in (trainer, expected_trainer))
    assert memory.keys() == expected_memory.keys()
    for key, values in expected_memory.items():
        assert all(torch.equal(memory[key][name], value) for name, value in values.items())


def test_without_the_callback_the_weights_are_lost():
    module, _, error = fit(batches(0, 1, 2, 3, bad=[2]))
    assert error is None
    assert module.model[0].weight.isnan().all()


def test_the_training_stops_before_the_weights_and_the_optimizer_are_touched():
    stopped = fit(batches(0, 1, 2, 3, bad=[2]), FiniteLoss())
    _, trainer, error = stopped
    assert str(error) == (
        "train/loss is nan in step 3 (epoch 0) at learning rate 0.1: try a smaller optimizer.lr, "
        "or callbacks.finite_loss.action=skip to leave such steps out"
    )
    expected = fit(batches(0, 1))
    for weight, value in zip(stopped[0].parameters(), expected[0].parameters(), strict=True):
        assert torch.equal(weight, value)
    memory, expected_memory = (t.optimizers[0].state_dict()["state"] for t in (trainer, expected[1]))
    assert torch.equal(memory[0]["momentum_buffer"], expected_memory[0]["momentum_buffer"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_skipped_step_leaves_no_trace(optimizer):
    callback = FiniteLoss(action="skip")
    skipped = fit(batches(0, 1, 2, 3, 4, bad=[1, 3]), callback, optimizer=optimizer)
    assert_same_training(skipped, fit(batches(0, 2, 4), optimizer=optimizer))
    assert callback.skipped_steps == 2
    assert skipped[1].global_step == 5  # they count as made


@pytest.mark.parametrize("options", [{"precision": "bf16-mixed"}, {"gradient_clip_val": 0.1}])
def test_a_step_is_skipped_in_less_precision_and_under_clipping(options):
    skipped = fit(batches(0, 1, 2, bad=[1]), FiniteLoss(action="skip"), **options)
    assert_same_training(skipped, fit(batches(0, 2), **options))


def test_a_step_of_two_batches_is_skipped_whole():
    skipped = fit(batches(0, 1, 2, 3, 4, 5, bad=[2]), FiniteLoss(action="skip"), accumulate_grad_batches=2)
    expected = fit(batches(0, 1, 4, 5), accumulate_grad_batches=2)
    for weight, value in zip(skipped[0].parameters(), expected[0].parameters(), strict=True):
        assert torch.equal(weight, value)
    assert all(value.isfinite().all() for value in skipped[0].state_dict().values())


class Images(InMemory):
    """Ten samples; what is made of one of them for training is infinite."""

    input_shape, num_classes = (6,), 3

    def load(self):
        split = Split(*(torch.cat(parts) for parts in zip(make_batch(0), make_batch(1), strict=True)))
        return split, split

    def setup(self, stage=None):
        super().setup(stage)
        self.train_transform = lambda inputs, *, draw, index: torch.where((index == 7)[:, None], math.inf, inputs)


def make_classifier():
    torch.manual_seed(0)
    return Classifier(nn.Linear(6, 3), CrossEntropy(), num_classes=3, optimizer=OPTIMIZERS["sgd"])


def test_a_classifier_goes_on_with_the_mean_loss_of_the_other_steps():
    callback = FiniteLoss(action="skip")
    trainer = make_trainer(callback, max_epochs=2, limit_val_batches=0)
    trainer.fit(make_classifier(), Images(batch_size=1))
    assert trainer.callback_metrics["train/skipped_steps"] == 2  # one an epoch
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_the_error_names_the_replica():
    noise = LabelCorruption(Flip(p=0.25), seed=7)
    with pytest.raises(
        FloatingPointError, match=r"is nan in step \d+ \(epoch 0\) of p=0.25 seed=7 at learning rate 0.1"
    ):
        make_trainer(noise, FiniteLoss(), limit_val_batches=0).fit(make_classifier(), Images(batch_size=1))


def test_a_checkpoint_keeps_the_number_of_skipped_steps(tmp_path):
    first = FiniteLoss(action="skip")
    _, trainer, _ = fit(batches(0, 1, 2, bad=[1]), first)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    second = FiniteLoss(action="skip")
    again = make_trainer(second, max_epochs=2)
    again.fit(Normalised(), batches(0, 1, 2, bad=[1]), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert (first.skipped_steps, second.skipped_steps) == (1, 2)
    assert again.callback_metrics["train/skipped_steps"] == 2


def test_a_look_at_every_third_step_finds_the_fault_late_but_saves_no_bad_weights(tmp_path):
    _, trainer, error = fit(batches(*range(9), bad=[4]), FiniteLoss(every_n_steps=3))
    assert "train/loss is nan in step 7 " in str(error)
    with pytest.raises(FloatingPointError, match="train/loss is nan in step 7 "):
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_fault_in_another_process_stops_this_one_too(elsewhere, monkeypatch):
    callback, module = FiniteLoss(), Normalised()
    trainer = make_trainer(callback)
    monkeypatch.setattr(trainer.strategy, "reduce_boolean_decision", lambda decision, all: decision or elsewhere)
    if not elsewhere:
        callback.on_before_backward(trainer, module, torch.tensor(0.5))
        return
    with pytest.raises(FloatingPointError, match="in step 1 "):
        callback.on_before_backward(trainer, module, torch.tensor(0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "halt"}, "action must be stop or skip, got 'halt'"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, got 0"),
        ({"action": "skip", "every_n_steps": 2}, "action=skip must look at each step: every_n_steps must be 1, got 2"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FiniteLoss(**arguments)
