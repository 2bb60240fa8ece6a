import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from foreign_project import make_trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from noisereg import rng
from noisereg.callbacks import LabelCorruption
from noisereg.datasets import InMemory, Split
from noisereg.engine.classifier import Classifier
from noisereg.losses import CrossEntropy, Logistic
from noisereg.metrics import predictions
from noisereg.models import MLP, TwoLayer
from noisereg.noise import Flip, Resample


class Points(InMemory):
    """Two clouds on a line, or three, far enough apart to be told apart."""

    input_shape = (2,)

    def __init__(self, num_classes: int = 2, **options) -> None:
        super().__init__(**options)
        self.num_classes = num_classes

    def load(self):
        return self._draw(0, 60), self._draw(1, 40)

    def _draw(self, step, n):
        labels = torch.arange(n) % self.num_classes
        noise = rng.normal(0, rng.Stream.TRAIN_DATA, step, torch.arange(2 * n)).view(n, 2).float()
        return Split(noise + 4 * labels.unsqueeze(1), labels)


def _classifier(num_classes=2, *, model=None, lr=0.05, **options):
    outputs = 1 if num_classes == 2 else num_classes
    model = model or TwoLayer((2,), outputs, hidden=8, init="torch", bias="same")
    loss = Logistic() if num_classes == 2 else CrossEntropy()
    return Classifier(model, loss, num_classes=num_classes, optimizer=partial(torch.optim.SGD, lr=lr), **options)


def _trainer(max_epochs=1, *, callbacks=(), **options):
    quiet = {"inference_mode": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
    return make_trainer(*callbacks, max_epochs=max_epochs, **quiet, **options)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_it_learns_and_scores_every_split_as_counted_by_hand(num_classes):
    data, module, trainer = Points(num_classes, batch_size=10), _classifier(num_classes), _trainer(20)
    trainer.fit(module, data)
    for split in ("train", "test"):
        inputs, labels = data.splits[split].inputs, data.splits[split].labels
        with torch.no_grad():
            logits = module(inputs)
        wrong = sum(int(predictions(logits[i : i + 1]) != labels[i]) for i in range(len(labels)))
        assert trainer.callback_metrics[f"{split}/error"].item() == pytest.approx(wrong / len(labels), abs=1e-6)
        assert wrong / len(labels) < 0.2
    loss = trainer.callback_metrics["test/loss"].item()
    assert loss == pytest.approx(module.loss(logits, labels).item(), rel=1e-5)


def test_one_step_of_training_is_the_step_of_sgd_by_hand():
    """D8, in float64: W <- W - h dL/dW with the target of the batch."""
    data = Points(batch_size=1)
    data.setup()
    module = _classifier(lr=0.1).double()
    batch = next(iter(data.train_dataloader()))
    batch = {**batch, "input": batch["input"].double(), "target": 1 - batch["label"]}
    margin = module.model(batch["input"]).squeeze() * (2 * batch["target"] - 1)
    gradients = torch.autograd.grad(torch.log1p(torch.exp(-margin)).sum(), list(module.parameters()))
    expected = [weight - 0.1 * gradient for weight, gradient in zip(module.parameters(), gradients, strict=True)]
    optimizer = module.configure_optimizers()
    optimizer.zero_grad()
    module.training_step(batch, 0).backward()
    optimizer.step()
    for weight, value in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(weight, value, rtol=0, atol=1e-14)


def test_it_learns_from_the_target_and_is_scored_against_the_label():
    data, module = Points(batch_size=10), _classifier()
    trainer = _trainer(20, callbacks=[LabelCorruption(Flip(p=1.0), num_classes=2)])
    trainer.fit(module, data)
    assert trainer.callback_metrics["train/error"] > 0.8  # every label it saw was the wrong one
    assert trainer.callback_metrics["train/loss"] < trainer.callback_metrics["train/clean_loss"]


def test_train_loss_is_the_mean_over_the_samples_of_the_epoch():
    data, module = Points(batch_size=25, order="shuffle"), _classifier(lr=1e-12)
    trainer = _trainer()
    trainer.fit(module, data)  # batches of 25, 25 and 10, with weights that stay where they are
    train = data.splits["train"]
    with torch.no_grad():
        expected = module.loss(module(train.inputs), train.labels).item()
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=1e-5)


class Ones(InMemory):
    """Thousands of samples that are alike but for one, which has another label."""

    input_shape, num_classes = (2,), 3

    def load(self):
        labels = torch.zeros(10_000, dtype=torch.int64).index_fill(0, torch.tensor([77]), 1)
        return Split(torch.ones(10_000, 2), labels), Split(torch.ones(10_000, 2), labels)


def test_losses_and_errors_are_those_of_all_samples_in_bfloat16_too():
    module, trainer = _classifier(3, model=nn.Linear(2, 3), lr=0.0), _trainer(precision="bf16-true")
    with torch.no_grad():
        module.model.weight.zero_()
        module.model.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))  # a loss of log(1 + 2 / e) for label 0, and 1 more for 1
    trainer.validate(module, data := Ones(batch_size=32), verbose=False)
    trainer.fit(module, data)
    found = {key: trainer.callback_metrics[key].item() for key in ("train/loss", "test/loss", "test/error")}
    expected = math.log(1 + 2 / math.e) + 1e-4
    assert found == {
        "train/loss": pytest.approx(expected, rel=4e-3),
        "test/loss": pytest.approx(expected, rel=4e-3),
    } | {"test/error": pytest.approx(1e-4, rel=1e-6)}


def test_weights_that_are_not_trained_stay_as_they_were():
    model = TwoLayer((2,), 1, hidden=8, trained="hidden")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    _trainer(2).fit(_classifier(model=model), Points(batch_size=10))
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {"hidden.weight", "hidden.bias"}


def test_the_schedule_is_stepped_once_an_epoch():
    module = _classifier(lr=0.8, scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5))
    trainer = _trainer(5)
    trainer.fit(module, Points(batch_size=10))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.8 * 0.5**2)


class Scaled(nn.Module):
    """Scale the inputs by a number that is drawn in each training step."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, inputs):
        return inputs * self.draw() if self.training else inputs


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), Scaled(np.random.random), Scaled(random.random)], ids=["torch", "numpy", "Python"]
)
def test_what_a_network_draws_depends_on_the_seed_and_not_on_what_was_drawn_before(layer):
    def train(seed, draws):
        net = nn.Sequential(MLP((2,), 8, hidden=8), layer, nn.Linear(8, 1))
        nn.init.constant_(net[2].weight, 0.1)
        nn.init.zeros_(net[2].bias)
        torch.rand(draws), np.random.random(draws), random.randbytes(draws)  # noqa: NPY002
        _trainer(2).fit(_classifier(model=net, seed=seed), Points(batch_size=10))
        return torch.nn.utils.parameters_to_vector(net.parameters())

    assert torch.equal(train(0, draws=0), train(0, draws=7))
    assert not torch.equal(train(0, draws=0), train(1, draws=0))


def test_a_loss_that_is_not_finite_ends_the_run_with_the_mend():
    with pytest.raises(FloatingPointError, match=r"train/loss is (nan|inf) in epoch \d+: try a smaller optimizer.lr"):
        _trainer(20).fit(_classifier(lr=1e30), Points(batch_size=10))


@pytest.mark.parametrize("rows", [0, 3])
def test_an_empty_share_of_a_batch_is_passed_over(rows):
    """By a network, too, that no batch without rows can go through."""
    module = _classifier(model=nn.Sequential(Flattened(), nn.Linear(2, 1)))
    module._score("test", {"input": torch.zeros(rows, 1, 2), "label": torch.zeros(rows, dtype=torch.int64)})
    module._score("test", {"input": torch.zeros(1, 1, 2), "label": torch.zeros(1, dtype=torch.int64)})
    scores = module.scores["test_split"]
    assert scores["loss"].weight == rows + 1
    assert scores["error"].weight == rows + 1


@pytest.mark.parametrize("parts", [[3.0], [1.0, 2.0], [0.5, 0.5, 2.0]])
def test_the_mean_loss_goes_on_from_the_parts_that_some_processes_had(parts):
    """Saved by one process or more in the middle of an epoch, after losses of 3 in all on 4 samples."""
    batch, counts = {"input": torch.zeros(2, 2), "label": torch.tensor([0, 1])}, [4.0, 0.0, 0.0][: len(parts)]
    saved = {"train_loss.mean_value": torch.tensor(parts), "train_loss.weight": torch.tensor(counts)}
    module = _classifier(model=nn.Linear(2, 1, bias=False))
    checkpoint = {"state_dict": module.state_dict() | saved}
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    module.train_loss.update(module.loss.per_sample(module(batch["input"]), batch["label"]))
    assert module.train_loss.compute().item() == pytest.approx((3 + 2 * math.log(2)) / 6)


class Flattened(nn.Module):
    """What torch refuses for no rows: a shape with a -1."""

    def forward(self, inputs):
        return inputs.reshape(len(inputs), -1)


def test_plain_loaders_of_tuples_are_trained_on_and_evaluated_as_val_val2_and_test():
    inputs, labels = torch.randn(12, 2, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    whole, part = (DataLoader(TensorDataset(inputs[:n], labels[:n]), batch_size=5) for n in (12, 6))
    optimizer = partial(torch.optim.SGD, lr=0.1)
    module = Classifier(torch.nn.Linear(2, 3), CrossEntropy(), num_classes=3, optimizer=optimizer)
    trainer = make_trainer(LabelCorruption(Resample(p=0.5), num_classes=3), max_epochs=1)
    trainer.fit(module, whole, [whole, part])
    found = {key: float(value) for key, value in trainer.callback_metrics.items()}
    trainer.test(module, part, verbose=False)
    right = module.model(inputs).argmax(dim=1) == labels
    assert found["val/error"] == pytest.approx(1 - right.float().mean().item())
    assert found["val2/error"] == pytest.approx(1 - right[:6].float().mean().item())
    assert float(trainer.callback_metrics["test/error"]) == pytest.approx(found["val2/error"])


@pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")
def test_a_batch_of_another_form_is_refused_in_one_line():
    rows = [{"image": torch.zeros(2), "labels": 0} for _ in range(4)]
    module = Classifier(torch.nn.Linear(2, 3), CrossEntropy(), num_classes=3, optimizer=torch.optim.Adam)
    with pytest.raises(
        ValueError, match=r"^batches must be a dict with 'input' .*, got a dict with 'image', 'labels'$"
    ):
        make_trainer(max_epochs=1).fit(module, DataLoader(rows))


@pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")
@pytest.mark.parametrize("expected", [False, True])
def test_tokens_are_trained_on_and_scored_without_those_that_have_no_label(expected):
    inputs, labels = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30).view(6, 5) % 3
    labels[:, 3:] = -100
    labels[4:] = -100  # the last batch has none
    net = torch.nn.Linear(4, 3)
    start = torch.nn.functional.cross_entropy(net(inputs).flatten(0, 1), labels.flatten()).item()
    wrong = (net(inputs).argmax(2) != labels)[labels >= 0].float().mean().item()
    module = Classifier(net, CrossEntropy(), num_classes=3, optimizer=partial(torch.optim.SGD, lr=0.0))
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=2)
    noise = LabelCorruption(Resample(p=0.0, expected=expected), num_classes=3, ignore_index=-100)
    trainer = make_trainer(noise, max_epochs=1)
    trainer.fit(module, loader, loader)
    found = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert found["train/loss"] == pytest.approx(start, rel=1e-5)
    assert found["val/loss"] == pytest.approx(start, rel=1e-5)
    assert found["val/error"] == pytest.approx(wrong)
