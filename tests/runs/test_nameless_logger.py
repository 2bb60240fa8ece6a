from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from noisereg.runs.nameless_logger import NamelessLogger


class Remembering(NamelessLogger):
    def __init__(self):
        super().__init__()
        self.steps = []

    def log_metrics(self, metrics, step=None):
        self.steps.append((step, set(metrics)))


class Logging(BoringModel):
    def training_step(self, batch, batch_idx):
        self.log("loss", loss := self.step(batch))
        return loss


def test_a_trainer_takes_it_and_a_subclass_gets_the_values(tmp_path):
    loggers = [NamelessLogger(), Remembering()]
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_steps=2,
        limit_val_batches=0,
        log_every_n_steps=1,
        logger=loggers,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Logging())
    assert loggers[1].steps == [(0, {"loss", "epoch"}), (1, {"loss", "epoch"})]
    assert list(tmp_path.iterdir()) == []
