import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from noisereg.callbacks.norm_monitor import NormMonitor

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Plain(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2, bias=False))

    def training_step(self, batch):
        return self.model(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Validated(Plain):
    def validation_step(self, batch, batch_idx):
        self.log("seen", 1.0)


class Note(NormMonitor):
    """Notes what was logged at the end of each epoch, before the next one."""

    def __init__(self, every_n_epochs=1):
        super().__init__(every_n_epochs)
        self.epochs = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append(trainer.logged_metrics.get("norm/0"))
        trainer.logged_metrics.clear()


def _loader():
    return DataLoader(TensorDataset(torch.randn(8, 4, generator=torch.Generator().manual_seed(0))), batch_size=4)


def _fit(module, *callbacks, **kwargs):
    settings = {"max_epochs": 1, "enable_model_summary": False, **kwargs}
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        callbacks=list(callbacks),
        **settings,
    )
    trainer.fit(module, _loader(), _loader() if isinstance(module, Validated) else None)
    return trainer


def test_the_last_two_layers_with_weights_are_logged_if_no_more_are_asked_for():
    module = Plain()
    module.model.insert(0, nn.Linear(4, 4))
    logged = set(_fit(module, NormMonitor()).logged_metrics)
    statistics = ("mean", "min", "q10", "q50", "q90", "max")
    assert logged == {"norm/1", "norm/4", *(f"bias_{name}/1" for name in statistics)}


@pytest.mark.parametrize("kind", [Plain, Validated])
def test_norms_and_biases_at_the_end_of_training_are_logged(kind):
    module = kind()
    logged = _fit(module, NormMonitor(by_layer="all")).logged_metrics
    bias = module.model[0].bias.detach()
    expected = {
        "norm/0": module.model[0].weight.norm().item(),
        "norm/3": module.model[3].weight.norm().item(),
        "bias_mean/0": bias.mean().item(),
        "bias_min/0": bias.min().item(),
        "bias_q50/0": bias.median().item(),
        "bias_max/0": bias.max().item(),
    }
    for key, value in expected.items():
        assert logged[key].item() == pytest.approx(value, rel=1e-5), key
    names = {f"bias_{name}/{layer}" for name in ("mean", "min", "q10", "q50", "q90", "max") for layer in (0, 1)}
    assert logged.keys() - {"seen"} == {"norm/0", "norm/3", *names}


@pytest.mark.parametrize("kind", [Plain, Validated])
def test_only_due_epochs_are_logged(kind):
    monitor = Note(every_n_epochs=2)
    _fit(kind(), monitor, max_epochs=5)
    assert [value is not None for value in monitor.epochs] == [False, False, True, False, True]


def test_the_sanity_check_logs_nothing():
    monitor = Note(every_n_epochs=1)
    _fit(Validated(), monitor, num_sanity_val_steps=1)
    assert monitor.epochs == [None]


def test_a_module_without_parameters_that_count_is_no_error():
    class Scale(Plain):
        def __init__(self):
            super().__init__()
            self.model = None
            self.scale = nn.Parameter(torch.ones(1))

        def training_step(self, batch):
            return (self.scale * batch[0]).square().mean()

    assert _fit(Scale(), NormMonitor()).logged_metrics == {}


def test_every_n_epochs_below_one_is_an_error():
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, got 0"):
        NormMonitor(every_n_epochs=0)


def test_two_monitors_in_one_trainer_log_the_same_values():
    module = Plain()
    logged = _fit(module, NormMonitor(), NormMonitor(every_n_epochs=2), max_epochs=4).logged_metrics
    assert logged["norm/0"].item() == pytest.approx(module.model[0].weight.norm().item(), rel=1e-6)
