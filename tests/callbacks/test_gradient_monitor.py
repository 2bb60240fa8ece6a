import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from noisereg.callbacks import GradientMonitor
from noisereg.datasets import Hypercube
from noisereg.engine.classifier import Classifier
from noisereg.losses import Logistic
from noisereg.metrics import gradient_norms
from noisereg.models import TwoLayer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*smaller than the logging")
INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


class Plain(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, inputs):
        return self.model(inputs)

    def training_step(self, batch):
        return self(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, monitor, data, **settings):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[monitor],
        **{"max_epochs": 1, **settings},
    )
    trainer.fit(module, data)
    return {key: value for key, value in trainer.logged_metrics.items() if "gradient" in key}


def test_the_gradients_of_evenly_spread_samples_are_logged():
    module = Plain()
    logged = fit(module, GradientMonitor(max_samples=4), DataLoader(TensorDataset(INPUTS), batch_size=3))
    expected = gradient_norms(module.model, INPUTS[::2])
    assert logged.keys() == {"train/gradient_norm_squared" + end for end in ("", "/0", "/2")}
    for layer, values in expected.items():
        torch.testing.assert_close(logged[f"train/gradient_norm_squared/{layer}"], values.mean())
    assert logged["train/gradient_norm_squared"].item() == pytest.approx(float(sum(expected.values()).mean()))


def test_a_data_set_of_ours_is_measured_on_the_evaluated_samples():
    data = Hypercube(d=6, train_size=12, test_size=4, train_eval_size=6, batch_size=4, seed=0)
    network = TwoLayer((6,), 1, hidden=5)
    module = Classifier(network, Logistic(), num_classes=2, optimizer=lambda w: torch.optim.SGD(w, lr=0.1))
    logged = fit(module, GradientMonitor(max_samples=100), data)
    expected = gradient_norms(network, data.splits["train"].inputs[::2])
    assert logged["train/gradient_norm_squared"].item() == pytest.approx(float(sum(expected.values()).mean()), rel=1e-5)


def test_no_samples_log_nothing_and_other_epochs_wait():
    loader = DataLoader(TensorDataset(INPUTS), batch_size=4)
    assert fit(Plain(), GradientMonitor(), loader) == {}
    assert fit(Plain(), GradientMonitor(4, every_n_epochs=2), loader) == {}
    assert len(fit(Plain(), GradientMonitor(4, every_n_epochs=2), loader, max_epochs=2)) == 3


def test_numbers_out_of_range_are_errors():
    with pytest.raises(ValueError, match="max_samples must be a whole number, at least 0, got -1"):
        GradientMonitor(max_samples=-1)
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, got 0"):
        GradientMonitor(max_samples=1, every_n_epochs=0)


def test_what_cannot_be_measured_is_an_error():
    class Stream(IterableDataset):
        def __iter__(self):
            yield (INPUTS[0],)

    with pytest.raises(ValueError, match="GradientMonitor needs a training loader that is a DataLoader over a dataset"):
        fit(Plain(), GradientMonitor(4), DataLoader(Stream(), batch_size=1), limit_train_batches=1)
    with pytest.raises(ValueError, match=r"outputs must be \(batch, classes\)"):
        GradientMonitor(4).check(nn.Linear(4, 3), torch.ones(2, 5, 4))
    GradientMonitor(0).check(nn.Linear(4, 3), torch.ones(2, 5, 4))
