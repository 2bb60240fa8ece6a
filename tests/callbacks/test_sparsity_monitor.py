import copy

import pytest
import torch
import torchvision
from foreign_project import Plain, fit, make_data, make_net, make_trainer
from lightning.pytorch import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from noisereg.callbacks import SparsityMonitor

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Recorder(SparsityMonitor):
    """Notes the number of hooks in every training step."""

    hooks = -1

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.hooks = max(self.hooks, _num_hooks(pl_module))


class Splits(LightningDataModule):
    eval_splits = ("test", "train")
    num_classes = 3

    def train_dataloader(self):
        return DataLoader(make_data(), batch_size=8, shuffle=True)

    def val_dataloader(self):
        return [DataLoader(make_data(seed=1), batch_size=8), DataLoader(make_data(), batch_size=8)]


class Dicts(Dataset):
    def __len__(self):
        return 30

    def __getitem__(self, index):
        inputs, label = make_data()[index]
        return {"input": inputs, "label": label}


class DictModule(Plain):
    def training_step(self, batch):
        return nn.functional.cross_entropy(self(batch["input"]), batch["label"])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch["input"])


def _num_hooks(module):
    return sum(len(part._forward_hooks) for part in module.modules())


def _hidden(net, data):
    first = net[0](data.tensors[0]).relu()
    return first, net[3](first).relu()


@pytest.mark.parametrize("max_epochs", [1, 2])
def test_logged_values_are_those_of_the_net_at_the_end_of_the_epoch(max_epochs):
    trainer, module = fit(SparsityMonitor(), max_epochs=max_epochs)
    with torch.no_grad():
        for split, data in {"train": make_data(), "val": make_data(seed=1)}.items():
            first, second = ((hidden > 0).double() for hidden in _hidden(module.model, data))
            both = torch.cat([first, second], dim=1)
            expected = {
                "active_neurons": both.sum(1).mean(),
                "active_fraction": both.mean(),
                "dead_fraction": (both.sum(0) == 0).double().mean(),
                "always_on_fraction": both.all(0).double().mean(),
                "active_fraction/1": first.mean(),
                "active_fraction/4": second.mean(),
                "dead_fraction/1": (first.sum(0) == 0).double().mean(),
                "dead_fraction/4": (second.sum(0) == 0).double().mean(),
            }
            found = trainer.logged_metrics.items()
            logged = {key.removeprefix(f"{split}/"): value for key, value in found if key.startswith(f"{split}/")}
            assert {key for key in logged if "died" not in key and "revived" not in key} == expected.keys()
            for key, value in expected.items():
                assert logged[key].item() == pytest.approx(value.item(), rel=1e-6), key


def test_training_ends_with_the_same_bits_with_and_without_the_monitor():
    weights = []
    for callbacks in ([], [SparsityMonitor()], [SparsityMonitor(num_classes=3)]):
        module = Plain(make_net())
        torch.manual_seed(5)
        loaders = DataLoader(make_data(), batch_size=8, shuffle=True), DataLoader(make_data(seed=1), batch_size=8)
        make_trainer(*callbacks, max_epochs=2).fit(module, *loaders)
        weights.append(module.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][key], other[key]) for key in other)


def test_hooks_are_there_only_while_it_measures():
    monitor = Recorder()
    _, module = fit(monitor, max_epochs=2)
    assert monitor.hooks == 0
    assert _num_hooks(module) == 0


def test_hooks_are_gone_after_an_error_in_the_loop():
    class Failing(Plain):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self(batch[0])
            assert _num_hooks(self) > 0
            raise RuntimeError("no more")

    module = Failing(make_net())
    with pytest.raises(RuntimeError, match="no more"):
        make_trainer(SparsityMonitor()).validate(module, DataLoader(make_data(), batch_size=8), verbose=False)
    assert _num_hooks(module) == 0


def test_the_sanity_check_is_not_measured():
    class Stop(SparsityMonitor):
        def on_sanity_check_end(self, trainer, pl_module):
            assert self.metrics == {}
            assert _num_hooks(pl_module) == 0

    trainer, _ = fit(Stop(), num_sanity_val_steps=2)
    assert "val/active_fraction" in trainer.logged_metrics


def test_only_due_epochs_are_measured():
    epochs = []

    class Note(SparsityMonitor):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            epochs.append((trainer.current_epoch, sorted(self.metrics)))
            self.metrics.clear()

    fit(Note(every_n_epochs=2), max_epochs=4)
    assert epochs == [(0, []), (1, ["train", "val"]), (2, []), (3, ["train", "val"])]


def test_validate_and_test_are_always_due_and_the_metrics_stay_readable():
    monitor = SparsityMonitor(every_n_epochs=100, num_classes=3)
    module = Plain(make_net())
    trainer = make_trainer(monitor)
    trainer.validate(module, DataLoader(make_data(seed=1), batch_size=8), verbose=False)
    values = trainer.test(module, DataLoader(make_data(seed=2), batch_size=8), verbose=False)[0]
    assert sorted(monitor.metrics) == ["test", "val"]
    first, second = _hidden(module.model, make_data(seed=2))
    labels = make_data(seed=2).tensors[1]
    histogram = torch.stack([(first[labels == c] > 0).sum(0) for c in range(3)], dim=1)
    assert torch.equal(monitor.metrics["test"]["1"].histogram, histogram)
    assert values["test/active_neurons"] == pytest.approx(
        float((first > 0).sum(1).double().mean() + (second > 0).sum(1).double().mean()), rel=1e-6
    )
    layers = monitor.metrics["test"].values()
    assert values["test/associated_neurons"] == sum(int(metric.associated.sum()) for metric in layers)
    assert values["test/associated_by_rate_neurons"] == sum(int(metric.associated_by_rate.sum()) for metric in layers)
    entropies = torch.cat([metric.label_entropy for metric in layers])
    assert values["test/label_entropy"] == pytest.approx(entropies.nanmean().item(), rel=1e-6)


def test_loaders_take_their_names_and_classes_from_the_datamodule():
    monitor = SparsityMonitor()
    trainer = make_trainer(monitor)
    trainer.fit(Plain(make_net()), datamodule=Splits())
    assert sorted(monitor.metrics) == ["test", "train"]
    assert (
        monitor.metrics["train"]["1"].samples.tolist() == torch.bincount(make_data().tensors[1], minlength=3).tolist()
    )
    assert monitor.metrics["test"]["1"].samples.tolist() == torch.bincount(make_data(seed=1).tensors[1]).tolist()
    assert {"train/associated_neurons", "test/active_fraction/4"} <= trainer.logged_metrics.keys()
    assert not any("dataloader_idx" in key for key in trainer.logged_metrics if "active" in key)


def test_several_loaders_without_names_are_numbered():
    monitor = SparsityMonitor(max_train_samples=0)
    loaders = [DataLoader(make_data(seed=seed, num=10 + seed), batch_size=8) for seed in (1, 2)]
    make_trainer(monitor).fit(Plain(make_net()), DataLoader(make_data(), batch_size=8), loaders)
    assert {split: int(layers["1"].samples) for split, layers in monitor.metrics.items()} == {"val": 11, "val2": 12}


def test_dict_batches_are_understood():
    monitor = SparsityMonitor(num_classes=3)
    make_trainer(monitor).fit(
        DictModule(make_net()), DataLoader(Dicts(), batch_size=8), DataLoader(Dicts(), batch_size=8)
    )
    counts = torch.bincount(make_data().tensors[1]).tolist()
    assert [monitor.metrics[split]["1"].samples.tolist() for split in ("train", "val")] == [counts, counts]


def test_bfloat16_autocast_counts_exactly():
    monitor = SparsityMonitor()
    trainer = make_trainer(monitor, precision="bf16-mixed")
    net = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 3))
    nn.init.constant_(net[0].bias, 50.0)
    trainer.validate(Plain(net), DataLoader(make_data(num=1027), batch_size=1027), verbose=False)
    assert monitor.metrics["val"]["1"].fires.tolist() == [[1027, 1027]]


def test_torchvision_resnets_have_a_layer_for_each_call_of_a_relu():
    torch.manual_seed(0)
    module = Plain(torchvision.models.resnet18(num_classes=3))
    data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]))
    monitor = SparsityMonitor(layers=["relu", "layer4.*"], num_classes=3)
    trainer = make_trainer(monitor)
    trainer.test(module, DataLoader(data, batch_size=2), verbose=False)
    layers = monitor.metrics["test"]
    assert list(layers) == ["relu", *(f"layer4.{block}.relu{call}" for block in (0, 1) for call in ("", ":2"))]
    assert layers["relu"].num_units == 64 * 16 * 16
    body = nn.Sequential(*list(module.model.eval().children())[:-2])
    with torch.no_grad():
        last = body(data.tensors[0]).flatten(1) > 0
    assert torch.equal(layers["layer4.1.relu:2"].fires.sum(0), last.sum(0))
    assert layers["layer4.1.relu:2"].samples.tolist() == [2, 1, 1]


def test_one_layer_gives_no_values_by_layer():
    trainer, _ = fit(SparsityMonitor(layers=["4"]))
    assert "val/active_fraction" in trainer.logged_metrics
    assert not any(key.count("/") > 1 for key in trainer.logged_metrics)


def test_a_net_without_activations_is_an_error_or_is_trained_and_said_to_have_none():
    nothing = "SparsityMonitor measures nothing: Plain has called no activation that is known"
    for sanity_steps, epochs in ((2, 0), (0, 1)):
        module = Plain(nn.Linear(6, 3))
        with pytest.raises(ValueError, match=nothing + ".*; or set required=False"):
            fit(SparsityMonitor(), module, max_epochs=2, num_sanity_val_steps=sanity_steps)
        assert module.trainer.global_step == epochs * 4
    with pytest.warns(UserWarning, match=nothing) as caught:
        trainer, _ = fit(SparsityMonitor(required=False), Plain(nn.Linear(6, 3)), max_epochs=2)
    assert sum("measures nothing" in str(warning.message) for warning in caught) == 1
    assert list(trainer.logged_metrics) == ["val_loss"]


def test_activations_that_are_not_measured_beside_the_relus_are_told_once():
    kinds = [nn.Linear(6, 4), nn.ReLU(), nn.Hardswish(), nn.ReLU6(), nn.Hardswish(), nn.GELU(), nn.Sigmoid()]
    told = r"measures 2 ReLUs; 3 other activations \(Hardswish, GELU\) are not measured: .* layers=\[...\]"
    with pytest.warns(UserWarning, match=told) as caught:
        trainer, _ = fit(SparsityMonitor(), Plain(nn.Sequential(*kinds, nn.Linear(4, 3))), max_epochs=2)
    assert sum("other activations" in str(warning.message) for warning in caught) == 1
    assert {"val/active_fraction/1", "val/active_fraction/3"} <= set(trainer.logged_metrics)
    fit(SparsityMonitor(layers=["1", "2"]), Plain(nn.Sequential(*kinds, nn.Linear(4, 3))))  # a choice is no oversight


class TokensFirst(nn.Module):
    """Joins tokens to rows behind a layer that has them first, where nothing tells which axis is the batch."""

    def __init__(self):
        super().__init__()
        self.parts, self.head = nn.ModuleList([nn.LSTM(4, 4)]), nn.Sequential(nn.Linear(4, 5), nn.ReLU())

    def forward(self, inputs):
        return self.head(self.parts[0](inputs.transpose(0, 1))[0].flatten(0, 1))


def test_rows_of_either_layout_are_refused_before_the_training_where_samples_have_labels():
    net, inputs = TokensFirst(), torch.randn(2, 7, 4)
    with pytest.raises(ValueError, match=r"fit activations .* in two ways"):
        SparsityMonitor().check(net, inputs, num_classes=3)
    SparsityMonitor().check(net, inputs)
    SparsityMonitor().check(net, inputs, num_classes=101)  # which are not counted apart
    SparsityMonitor(batch_first=False).check(net, inputs, num_classes=3)


def test_relus_that_are_never_called_do_not_make_others_unmeasured(recwarn):
    class Unused(Plain):
        def __init__(self):
            super().__init__(nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Linear(4, 3)))
            self.unused = nn.ReLU()

    trainer, _ = fit(SparsityMonitor(), Unused())
    assert "val/active_fraction" in trainer.logged_metrics
    assert not any("other activations" in str(warning.message) for warning in recwarn)


def test_a_pattern_without_a_match_stops_the_run_before_it_begins():
    module = Plain(make_net())
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match=r"layers must match names of ReLUs, got 'layer\*'; there are: 1, 4"):
        fit(SparsityMonitor(layers=["layer*"]), module)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_classes_that_were_asked_for_need_labels():
    class Unlabelled(Plain):
        def test_step(self, batch, batch_idx):
            self(batch["x"])

    data = [{"x": torch.randn(6), "y": 0}]
    with pytest.raises(ValueError, match=r"num_classes needs batches with int64 labels.* got a dict with 'x', 'y'"):
        make_trainer(SparsityMonitor(num_classes=3)).test(Unlabelled(make_net()), DataLoader(data), verbose=False)


def test_without_labels_the_classes_of_the_datamodule_are_left_out():
    class Unlabelled(Plain):
        def test_step(self, batch, batch_idx):
            self(batch)

    class Inputs(LightningDataModule):
        num_classes = 3

        def test_dataloader(self):
            return DataLoader(torch.randn(4, 6), batch_size=2)

    monitor = SparsityMonitor()
    make_trainer(monitor).test(Unlabelled(make_net()), datamodule=Inputs(), verbose=False)
    assert monitor.metrics["test"]["1"].samples.tolist() == [4]


class Calls(LightningModule):
    """Calls functions, in its network and in the loss of a step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, inputs):
        return self.second(torch.relu(self.first(inputs)))

    def validation_step(self, batch, batch_idx):
        nn.functional.relu(1 - self.second(self.first(batch[0]).relu())).mean()
        nn.functional.relu(1 - self(batch[0])).mean()


def test_calls_of_functions_are_counted_but_not_those_of_a_loss():
    monitor, data = SparsityMonitor(), make_data()
    module = Calls()
    make_trainer(monitor).validate(module, DataLoader(data, batch_size=8), verbose=False)
    assert list(monitor.metrics["val"]) == ["relu"]
    assert monitor.metrics["val"]["relu"].fires.tolist() == [(module.first(data.tensors[0]) > 0).sum(0).tolist()]


class Tokens(Dataset):
    """Sentences of several lengths, in bags of one length each, with labels by token and padding."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        length = 3 + index
        tokens = torch.randn(2, length, 6, generator=torch.Generator().manual_seed(index))
        mask = torch.ones(2, length, dtype=torch.int64)
        mask[1, 2:] = 0
        labels = (torch.arange(2 * length).view(2, length) % 3).masked_fill(mask == 0, -100)
        return {"input": tokens, "label": labels, "attention_mask": mask}


class Tagger(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, activation="gelu")
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(6, 3)

    def forward(self, tokens):
        return self.head(self.encoder(tokens))

    def training_step(self, batch):
        logits = self(batch["input"])
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch["label"].flatten())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_a_transformer_on_tokens_of_several_lengths_is_counted_by_class_without_its_padding():
    monitor = SparsityMonitor(num_classes=3, threshold="0.1 of rms")
    module = Tagger()
    trainer = make_trainer(monitor)
    trainer.fit(module, DataLoader(Tokens(), batch_size=None))
    outputs, labels = [], []
    with torch.no_grad():
        for batch in (Tokens()[index] for index in range(4)):
            layer, tokens, kept = module.encoder.layers[0].eval(), batch["input"], batch["attention_mask"].bool()
            seen = layer.norm1(tokens + layer.self_attn(tokens, tokens, tokens, need_weights=False)[0])
            outputs.append(nn.functional.gelu(layer.linear1(seen))[kept])
            labels.append(batch["label"][kept])
    outputs, labels = torch.cat(outputs), torch.cat(labels)
    active = outputs > 0.1 * outputs.square().mean(1, keepdim=True).sqrt()
    (metric,) = monitor.metrics["train"].values()
    assert metric.fires.tolist() == [active[labels == label].sum(0).tolist() for label in range(3)]
    logged = trainer.logged_metrics["train/active_fraction_above_0.1_of_rms"]
    assert logged.item() == pytest.approx(active.float().mean().item())
    assert "train/died_neurons_above_0.1_of_rms" in trainer.logged_metrics


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1, got 0"),
        ({"num_classes": 1}, "num_classes must be at least 2 or None, got 1"),
        ({"max_train_samples": -1}, "max_train_samples must be at least 0 or None, got -1"),
        ({"threshold": -1.0}, "threshold must be finite and at least 0, got -1.0"),
        ({"dormant": -1.0}, "dormant must be a number, at least 0, or None, got -1.0"),
        ({"units": "tokens"}, "units must be one of features, positions, or None, got 'tokens'"),
        ({"layers": "relu"}, "layers must be a list of patterns, got the string 'relu'"),
        ({"layers": []}, "layers must name something to measure, or be None for all activations, got an empty list"),
    ],
)
def test_settings_out_of_range_are_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SparsityMonitor(**kwargs)


def test_two_monitors_of_different_names_measure_each_its_own_layers_and_keep_their_own_state(tmp_path):
    monitors = [SparsityMonitor(layers=["1"]), SparsityMonitor(layers=["4"], every_n_epochs=2, name="second")]
    trainer = make_trainer(*monitors, max_epochs=2)
    module = Plain(make_net())
    trainer.fit(module, DataLoader(make_data(), batch_size=8), DataLoader(make_data(seed=1), batch_size=8))
    with torch.no_grad():
        layers = _hidden(module.model, make_data())
    for key, hidden in zip(("train/active_neurons", "second/train/active_neurons"), layers, strict=True):
        assert trainer.logged_metrics[key].item() == pytest.approx((hidden > 0).sum(1).double().mean().item())
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)["callbacks"]
    assert {key: [len(live) for live in state["live"].values()] for key, state in saved.items()} == {
        "SparsityMonitor": [10],
        "SparsityMonitor(second)": [8],
    }


def test_two_monitors_of_one_name_are_refused():
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `SparsityMonitor`"):
        make_trainer(SparsityMonitor(layers=["1"]), SparsityMonitor(layers=["4"]))


@pytest.mark.parametrize("name", ["a/b", "a b", "a."])
def test_a_name_with_other_signs_is_refused(name):
    with pytest.raises(ValueError, match="name must hold letters, digits, _ and - only"):
        SparsityMonitor(name=name)


@pytest.mark.parametrize(("limit", "num_seen"), [(2, 16), (0.5, 16), (1, 8), (1.0, 30)])
def test_a_loop_that_is_cut_short_is_counted_as_far_as_it_went(limit, num_seen):
    trainer, module = fit(SparsityMonitor(), limit_val_batches=limit, limit_train_batches=limit)
    for split, num, data in (("val", num_seen, make_data(seed=1)), ("train", 30, make_data())):
        with torch.no_grad():
            hidden = torch.cat(_hidden(module.model, data), dim=1)[:num]
        mean = (hidden > 0).sum(1).double().mean().item()
        assert trainer.logged_metrics[f"{split}/active_neurons"].item() == pytest.approx(mean)


def test_a_chosen_module_that_is_no_activation_is_named_with_the_relus_inside():
    net = nn.Sequential()
    net.layer3, net.out = nn.Sequential(nn.Linear(6, 10), nn.ReLU()), nn.Linear(10, 3)
    with pytest.warns(UserWarning, match=r"outputs of layer3 \(Sequential\) are > 0.*; for the ReLUs inside: layers="):
        fit(SparsityMonitor(layers=["layer3"]), Plain(net))
    with pytest.warns(UserWarning, match=r"outputs of out \(Linear\) are > 0, which is no activation$"):
        fit(SparsityMonitor(layers=["out", "layer3.1"]), Plain(net))
