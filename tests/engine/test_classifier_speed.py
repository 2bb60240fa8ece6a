"""What makes training quick, bfloat16, the layout in memory and torch.compile, changes nothing that is measured."""

import copy
import inspect
from functools import partial

import pytest
import torch
from foreign_project import make_trainer
from lightning.pytorch import Callback
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from noisereg import rng
from noisereg.callbacks import LabelCorruption, SparsityMonitor
from noisereg.datasets import InMemory, Split
from noisereg.datasets.images import IMAGENET, CropFlip, Normalize
from noisereg.engine.classifier import Classifier
from noisereg.losses import CrossEntropy
from noisereg.models import resnet
from noisereg.noise import Corruption, Resample

BF16, FLOAT32 = "bf16-mixed", "32-true"


class Tiles(InMemory):
    """Small images, brighter in the channel of their class."""

    num_classes, input_shape = 3, (3, 8, 8)

    def load(self):
        return self._draw(0, 20), self._draw(1, 9)

    def _draw(self, step, n):
        pixels = torch.arange(n * 192)
        images = rng.normal(self.seed, rng.Stream.TRAIN_DATA, step, pixels).view(n, 3, 8, 8).float()
        labels = torch.arange(n) % 3
        return Split(images + one_hot(labels, 3)[:, :, None, None], labels)


class Recorder(nn.ReLU):
    """Keeps its output."""

    def forward(self, inputs):
        self.output = super().forward(inputs)
        return self.output


class Reads(TorchDispatchMode):
    """Notes every operation that must wait for values before the program can go on."""

    def __init__(self):
        super().__init__()
        self.found, self.seen = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        waits = bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))
        if func is torch.ops.aten.index.Tensor:
            waits = any(index.dtype == torch.bool for index in args[1])
        self.found += [str(func)] if waits else []
        return func(*args, **(kwargs or {}))


class Begin(Callback):
    def __init__(self, mode):
        self.mode = mode

    def on_train_batch_start(self, *_):
        self.mode.__enter__()


class End(Begin):
    def on_train_batch_start(self, *_):
        pass

    def on_train_batch_end(self, *_):
        self.mode.__exit__(None, None, None)


class Reading(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        batch["label"].max().item()


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch):
    """Take the checks of shapes at run time away, which torch.compile cannot see through."""
    for owner, name in ((resnet.ResNet, "forward"), (resnet.BasicBlock, "forward"), (resnet, "shortcut")):
        monkeypatch.setattr(owner, name, inspect.unwrap(getattr(owner, name)))


@pytest.fixture
def compilations(monkeypatch):
    """Let torch.compile trace and count, and run what it traced as it is."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


def _classifier(*, lr=0.05, seed=0, fused=False, **options):
    net = resnet.ResNet((3, 8, 8), 3, depth=8, seed=seed)
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9, weight_decay=1e-4, fused=fused)
    return Classifier(net, CrossEntropy(), num_classes=3, optimizer=sgd, **options)


def _fit(module, *callbacks, epochs=1, precision=FLOAT32, seed=0, ckpt_path=None):
    """Train on batches of 8, 8 and 4."""
    quiet = {"inference_mode": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
    trainer = make_trainer(*callbacks, max_epochs=epochs, precision=precision, **quiet)
    trainer.fit(module, Tiles(batch_size=8, seed=seed), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def _weights(module):
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def _count_by_hand(net, split):
    """Count where the outputs of all ReLUs are > 0 in bfloat16, by layer, class and unit."""
    net = copy.deepcopy(net).eval()
    for name in [name for name, part in net.named_modules() if isinstance(part, nn.ReLU)]:
        net.set_submodule(name, Recorder())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        net(split.inputs.to(memory_format=torch.channels_last))
    outputs = {name: part.output for name, part in net.named_modules() if isinstance(part, Recorder)}
    assert {output.dtype for output in outputs.values()} == {torch.bfloat16}
    active = {name: (output > 0).flatten(1).double() for name, output in outputs.items()}
    return {name: one_hot(split.labels, 3).T.double() @ units for name, units in active.items()}


@pytest.mark.parametrize("compiled", [False, True])
def test_the_monitor_counts_what_a_network_without_hooks_gives(compiled, compilations):
    module, monitor = _classifier(channels_last=True, compile=compiled), SparsityMonitor()
    data = _fit(module, monitor, LabelCorruption(Resample(p=0.2)), epochs=2, precision=BF16).datamodule
    assert module.model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert compilations.frame_count == compiled
    for split in ("test", "train"):
        expected = _count_by_hand(module.model, data.splits[split])
        assert list(monitor.metrics[split]) == list(expected) and len(expected) == 7
        for layer, counts in expected.items():
            assert torch.equal(monitor.metrics[split][layer].fires.double(), counts), layer


def test_the_layout_in_memory_does_not_change_float32_training():
    contiguous, channels_last = _classifier(), _classifier(channels_last=True)
    for module in (contiguous, channels_last):
        before = _weights(module)
        _fit(module, epochs=2)
    assert (_weights(channels_last) - before).abs().max() > 0.01
    torch.testing.assert_close(_weights(channels_last), _weights(contiguous), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("compilations")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_goes_on_from_the_checkpoint_of_one_that_was_compiled_or_not(compiled, tmp_path):
    first, second, whole = _classifier(compile=compiled), _classifier(seed=1, compile=not compiled), _classifier()
    _fit(first, epochs=1).save_checkpoint(tmp_path / "one.ckpt")
    _fit(second, epochs=2, ckpt_path=tmp_path / "one.ckpt")
    _fit(whole, epochs=2)
    assert list(first.state_dict()) == list(whole.state_dict()) == list(second.state_dict())
    torch.testing.assert_close(_weights(second), _weights(whole), rtol=0, atol=1e-6)
    assert (_weights(second) - _weights(first)).abs().max() > 0.01


def test_neither_a_shorter_batch_nor_an_evaluation_is_compiled(compilations):
    module = _classifier(compile=True, channels_last=True)
    _fit(module, SparsityMonitor(every_n_epochs=2), epochs=3, precision=BF16)
    assert module.model.bn1.num_batches_tracked == 9  # of three sizes in each epoch, two of which are whole
    assert compilations.frame_count == 1  # in one piece


@pytest.mark.parametrize("expected", [False, True])
def test_no_training_step_waits_for_a_value(expected):
    reads, noise = Reads(), LabelCorruption(Resample(p=0.2, expected=expected))
    _fit(_classifier(fused=True, channels_last=True), Begin(reads), noise, End(reads), precision=BF16)
    assert reads.found == [] and reads.seen > 3 * 100


def test_a_callback_that_waits_for_a_value_is_seen():
    reads = Reads()
    _fit(_classifier(fused=True), Begin(reads), Reading(), End(reads))
    assert reads.found == 3 * ["aten._local_scalar_dense.default"]


@pytest.mark.parametrize("expected", [False, True])
def test_a_step_runs_on_a_device_that_has_no_values(expected):
    """There no value can be read at all, and random numbers are drawn as they are on a GPU."""
    with torch.device("meta"):
        images, labels, index = torch.zeros(8, 3, 8, 8).byte(), torch.zeros(8).long(), torch.zeros(8).long()
    augment = CropFlip(Normalize(IMAGENET, (3, 8, 8), device="meta"), seed=0)
    target = Corruption(Resample(p=0.2, expected=expected), num_classes=3, seed=0)(labels, index, index)
    module = _classifier().to("meta")
    optimizer = module.configure_optimizers()
    batch = {"input": augment(images, draw=index, index=index), "label": labels, "target": target}
    loss = module.training_step(batch, 0)
    loss.backward()
    optimizer.step()
    assert loss.is_meta


def test_bfloat16_moves_the_end_of_a_training_less_than_the_seed_does():
    ends = {}
    for precision in (FLOAT32, BF16):
        trainers = [
            _fit(_classifier(seed=seed, lr=0.02), epochs=4, precision=precision, seed=seed) for seed in range(3)
        ]
        losses = [[trainer.callback_metrics[f"{split}/loss"] for trainer in trainers] for split in ("train", "test")]
        ends[precision] = torch.tensor(losses)
    differences = (ends[BF16] - ends[FLOAT32]).abs()
    assert (differences > 0).all()
    assert (differences.amax(dim=1) < ends[FLOAT32].std(dim=1)).all()


@pytest.mark.slow
def test_the_real_compiler_trains_and_is_measured_as_without_it():
    eager, compiled = (_classifier(channels_last=True, compile=compiled) for compiled in (False, True))
    trainers = [_fit(module, SparsityMonitor(), epochs=2) for module in (eager, compiled)]
    torch.testing.assert_close(_weights(compiled), _weights(eager), rtol=0, atol=1e-5)
    metrics = [trainer.callback_metrics for trainer in trainers]
    assert metrics[0]["test/active_neurons"] == pytest.approx(metrics[1]["test/active_neurons"].item(), rel=1e-3)
