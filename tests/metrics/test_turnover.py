import pytest
import torch
from foreign_project import Plain, make_data, make_net, make_trainer
from torch.utils.data import DataLoader

from noisereg.callbacks import SparsityMonitor
from noisereg.metrics import ActivationSparsity, Turnover

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
]

DEAD = {"0": [set(), {0, 1, 2}, {2, 3}, {2, 3}], "3": [{5}, {0}, {0}, set()]}  # units of each layer in each epoch
BY_HAND = [
    {"died/1": 0, "revived/1": 0, "died/4": 0, "revived/4": 0, "died": 0, "revived": 0},
    {"died/1": 3, "revived/1": 0, "died/4": 1, "revived/4": 1, "died": 4, "revived": 1},
    {"died/1": 1, "revived/1": 2, "died/4": 0, "revived/4": 0, "died": 1, "revived": 2},
    {"died/1": 0, "revived/1": 0, "died/4": 0, "revived/4": 1, "died": 0, "revived": 1},
]


class Scripted(Plain):
    """Learns nothing; its biases alone say who is alive."""

    def on_train_epoch_start(self):
        for name, epochs in DEAD.items():
            dead = epochs[self.current_epoch]
            biases = [-1e6 if unit in dead else 1e6 for unit in range(len(self.model[int(name)].bias))]
            self.model[int(name)].weight.data.zero_()
            self.model[int(name)].bias.data.copy_(torch.tensor(biases))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Noted(SparsityMonitor):
    """Keeps what was logged after each epoch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rows = []

    def on_train_epoch_end(self, trainer, pl_module):
        super().on_train_epoch_end(trainer, pl_module)
        logged = {key.removeprefix("train/"): value.item() for key, value in trainer.callback_metrics.items()}
        self.rows.append(
            {key.replace("_neurons", ""): logged[key] for key in logged if key.startswith(("died", "rev"))}
        )


def fit(monitor, *, max_epochs, **kwargs):
    trainer = make_trainer(monitor, max_epochs=max_epochs)
    trainer.fit(Scripted(make_net()), DataLoader(make_data(), batch_size=15), weights_only=True, **kwargs)
    return trainer


def test_each_measurement_tells_who_died_and_revived_since_the_one_before():
    monitor = Noted()
    fit(monitor, max_epochs=4)
    assert monitor.rows == BY_HAND


def test_epochs_that_are_not_measured_are_passed_over():
    monitor = Noted(every_n_epochs=2, layers=["1"])
    fit(monitor, max_epochs=4)
    # Dead were 0, 1 and 2 after the second epoch, and 2 and 3 after the fourth.
    assert monitor.rows[1::2] == [{"died": 0, "revived": 0}, {"died": 1, "revived": 2}]


def test_a_resumed_training_compares_with_the_measurement_before_it_was_stopped(tmp_path):
    fit(Noted(), max_epochs=2).save_checkpoint(tmp_path / "last.ckpt")
    resumed = Noted()
    fit(resumed, max_epochs=4, ckpt_path=tmp_path / "last.ckpt")
    assert resumed.rows == BY_HAND[2:]


def test_another_training_begins_anew():
    monitor = Noted()
    for _ in range(2):
        fit(monitor, max_epochs=2)
    assert monitor.rows == BY_HAND[:2] * 2


def test_a_layer_that_is_new_or_of_another_size_has_not_changed():
    layers = {"a": [[1.0, 0.0]], "b": [[0.0, 0.0, 1.0]]}
    changes = Turnover()
    for names, width in (("a", 2), ("ab", 1)):
        metrics = {name: ActivationSparsity() for name in names}
        for name, metric in metrics.items():
            metric.update(1 - torch.tensor(layers[name])[:, :width])
        values = changes.measure(metrics)
    assert {key: value.item() for key, value in values.items()} == {
        f"{key}_neurons{layer}": 0 for key in ("died", "revived") for layer in ("", "/a", "/b")
    }


def test_a_layer_of_which_a_unit_is_nan_has_no_changes_and_keeps_what_was_alive():
    changes, whole = Turnover(), ActivationSparsity()
    whole.update(torch.tensor([[1.0, 0.0]]))
    for outputs in ([[1.0, 0.0]], [[torch.nan, 0.0]], [[0.0, 1.0]]):
        broken = ActivationSparsity()
        broken.update(torch.tensor(outputs))
        values = changes.measure({"broken": broken, "whole": whole})
        is_nan = {name for name, value in values.items() if value.isnan()}
        if broken.is_known:
            assert is_nan == set()
        else:
            assert is_nan == {
                *("died_neurons", "revived_neurons", "died_neurons/broken", "revived_neurons/broken"),
            }
    assert (values["died_neurons/broken"], values["revived_neurons/broken"]) == (1, 1)  # since the first measurement
