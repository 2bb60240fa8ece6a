"""What the processes of test_ddp.py run: small images, a witness of a training, and evaluations of a checkpoint."""

import os
from functools import partial
from pathlib import Path

import torch
from foreign_project import make_trainer
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn

from noisereg import Classifier, LabelCorruption, SparsityMonitor, rng
from noisereg.datasets import Split
from noisereg.datasets.images import Images
from noisereg.losses import CrossEntropy
from noisereg.models import ResNet
from noisereg.noise import Resample
from noisereg.rng import Stream

SIZE = 8
EVAL_BATCH = 8  # 4 for each of two processes
TEST_SIZES = (1, 9, 21, 2 * EVAL_BATCH + 1)


class Squares(Images):
    """Noise, with one of the four quarters brighter: which one is the class."""

    num_classes = 4
    input_shape = (3, SIZE, SIZE)

    def load(self):
        return self._draw(self.train_size, Stream.TRAIN_DATA), self._draw(self.test_size, Stream.TEST_DATA)

    def _draw(self, n, stream):
        labels = torch.arange(n) % self.num_classes
        values = rng.uniform(0, stream, 0, torch.arange(n * 3 * SIZE**2)).view(n, 3, SIZE, SIZE)
        half = SIZE // 2
        for image, label in zip(values, labels.tolist(), strict=True):
            down, right = half * (label // 2), half * (label % 2)
            image[:, down : down + half, right : right + half] += 0.5
        return Split((values * 170).byte(), labels)


class Witness(Callback):
    """Leave what this process saw in the run's folder, and die without a word after step $DIES_AT."""

    def __init__(self) -> None:
        self.batches, self.losses = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append({name: values.clone() for name, values in batch.items()})
        if trainer.global_step == int(os.environ.get("DIES_AT", "-1")):
            os._exit(9)

    def on_validation_start(self, trainer, pl_module):
        if trainer.state.fn == TrainerFn.FITTING:
            self.losses.append(pl_module.train_loss.compute())  # of an epoch, before it is rounded

    def teardown(self, trainer, pl_module, stage):
        seen = {
            "batches": self.batches,
            "losses": self.losses,
            "state": pl_module.state_dict(),
            "rows": [_known(row) for row in trainer.loggers[0].curves.frame().to_dict("records")],
        }
        torch.save(seen, Path(trainer.default_root_dir) / f"witness{trainer.global_rank}.pt")


def _known(row):
    return {key: value for key, value in row.items() if value == value}  # noqa: PLR0124 - all but nan


def make_module():
    return Classifier(
        ResNet(Squares.input_shape, Squares.num_classes, depth=8),
        CrossEntropy(),
        num_classes=Squares.num_classes,
        optimizer=partial(torch.optim.SGD, lr=0.05),
        channels_last=True,
    )


def make_data(test_size, **options):
    options = {"root": "", "train_size": 41, "batch_size": EVAL_BATCH, "eval_batch_size": EVAL_BATCH} | options
    return Squares(test_size=test_size, **{"normalize": "unit", "augment": False} | options)


def evaluate(checkpoint, data, **options):
    """Return what is logged of a checkpoint under labels that stay wrong, and the counts of every layer by split."""
    monitor = SparsityMonitor()
    trainer = make_trainer(LabelCorruption(Resample(p=0.5, frozen=True)), monitor, inference_mode=False, **options)
    trainer.validate(make_module(), data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    counts = {
        f"{split}/{layer}": torch.cat([metric.fires, metric.samples[:, None]], dim=1)
        for split, metrics in monitor.metrics.items()
        for layer, metric in metrics.items()
    }
    return {"values": dict(trainer.callback_metrics), "counts": counts}


def evaluate_in_process(rank, port, folder):
    """Be one of two processes that evaluate folder/trained.ckpt, and leave in the folder what came out."""
    place = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    os.environ.update(place, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    checkpoint = f"{folder}/trained.ckpt"
    found = {n: evaluate(checkpoint, make_data(n), devices=2, strategy="ddp") for n in TEST_SIZES}
    torch.save(found, f"{folder}/process{rank}.pt")
