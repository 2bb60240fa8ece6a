import pytest
import torch
from foreign_project import make_trainer
from lightning.pytorch import Callback, LightningModule
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from noisereg import LabelCorruption
from noisereg.noise import Corruption, Flip, Linear, Resample

pytestmark = pytest.mark.filterwarnings("ignore:.*(does not have many workers|smaller than the logging)")
N = 40


class Plain(LightningModule):
    """A module of somebody else's: list batches, its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 4)
        self.seen: list[torch.Tensor] = []

    def training_step(self, batch, batch_idx):
        target = batch["target"] if isinstance(batch, dict) else batch[1]
        self.seen.append(target.clone())
        return nn.functional.cross_entropy(self.net(batch["input"] if isinstance(batch, dict) else batch[0]), target)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Validated(Plain):
    """The same with an evaluation that must find its batches as they were made."""

    def validation_step(self, batch, batch_idx):
        assert set(batch) == {"input", "label", "index"}


class DictData(Dataset):
    classes = ("a", "b", "c", "d")

    def __len__(self):
        return N

    def __getitem__(self, i):
        return {"input": torch.full((3,), float(i)), "label": torch.tensor(i % 4), "index": torch.tensor(i)}


class Batches(Callback):
    """Keep what the callbacks after LabelCorruption see once the step is over."""

    def __init__(self) -> None:
        self.after: list = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(batch)


def _fit(loader, callback, *, max_epochs=1, module=None, validate=None, **options):
    module = module or Plain()
    trainer = make_trainer(callback, *options.pop("callbacks", []), max_epochs=max_epochs, **options)
    trainer.fit(module, loader, validate)
    return module, trainer


def _lists(*columns, **options) -> DataLoader:
    return DataLoader(TensorDataset(torch.zeros(N, 3), torch.arange(N) % 4, *columns), **options)


@pytest.mark.parametrize(
    ("batch_size", "num_workers", "shuffle"), [(1, 0, False), (7, 0, True), (40, 0, False), (8, 2, True)]
)
def test_the_target_in_an_epoch_is_the_same_for_every_way_of_loading(batch_size, num_workers, shuffle):
    rule = Resample(p=0.7)
    collected = Batches()
    loader = DataLoader(DictData(), batch_size=batch_size, num_workers=num_workers, shuffle=shuffle)
    _fit(loader, LabelCorruption(rule, seed=5), max_epochs=2, callbacks=[collected])
    index = torch.cat([batch["index"] for batch in collected.after])
    target = torch.cat([batch["target"] for batch in collected.after])
    corruption = Corruption(rule, num_classes=4, seed=5)
    for epoch, part in enumerate(range(0, 2 * N, N)):
        of_epoch = index[part : part + N]
        assert torch.equal(target[part : part + N], corruption(of_epoch % 4, draw=epoch, index=of_epoch))


def test_a_dict_batch_keeps_its_clean_label_and_an_evaluation_gets_no_target():
    collected = Batches()
    loader = DataLoader(DictData(), batch_size=8)
    _fit(loader, LabelCorruption(Flip(p=1.0)), callbacks=[collected], module=Validated(), validate=loader)
    for batch in collected.after:
        assert torch.equal(batch["label"], batch["index"] % 4)
        assert (batch["target"] != batch["label"]).all()


def test_a_list_batch_has_its_target_in_the_step_and_its_clean_label_after_it():
    labels = torch.arange(N) % 4
    collected = Batches()
    loader = DataLoader(TensorDataset(torch.zeros(N, 3), labels), batch_size=8)
    module, _ = _fit(loader, LabelCorruption(Flip(p=1.0), num_classes=4), callbacks=[collected])
    assert (torch.cat(module.seen) != torch.arange(N) % 4).all()
    assert torch.equal(torch.cat([batch[1] for batch in collected.after]), torch.arange(N) % 4)
    assert torch.equal(labels, torch.arange(N) % 4)


def test_a_list_batch_with_an_index_has_exact_noise():
    module, _ = _fit(_lists(torch.arange(N), batch_size=16), LabelCorruption(Resample(p=0.5), seed=2, num_classes=4))
    expected = Corruption(Resample(p=0.5), num_classes=4, seed=2)(torch.arange(N) % 4, draw=0, index=torch.arange(N))
    assert torch.equal(torch.cat(module.seen), expected)


def test_expected_mode_gives_distributions_that_torch_losses_take():
    module, _ = _fit(_lists(batch_size=8), LabelCorruption(Resample(p=0.4, expected=True), num_classes=4))
    targets = torch.cat(module.seen)
    assert targets.dtype == torch.float32
    assert torch.equal(targets, Resample(p=0.4).transition(4).float()[torch.arange(N) % 4])


def test_measured_and_effective_rate_are_logged():
    _, trainer = _fit(_lists(batch_size=8), LabelCorruption(Flip(p=1.0), num_classes=4))
    assert trainer.callback_metrics["noise/effective_rate"] == 1
    assert trainer.callback_metrics["noise/measured_rate"] == 1
    _, trainer = _fit(_lists(batch_size=8), LabelCorruption(Resample(p=0.4, expected=True), num_classes=4))
    assert trainer.callback_metrics["noise/measured_rate"].item() == pytest.approx(0.3)


class Counts(Callback):
    """Begin a training with what some processes had counted when it was saved: labels changed, labels seen."""

    def __init__(self, noise, parts) -> None:
        self.noise, self.parts = noise, parts

    def on_train_start(self, trainer, pl_module):
        counts = torch.tensor([[[0, seen, seen]] for seen in self.parts]).double()
        saved = {"callbacks": {self.noise.state_key: {"counts": counts, "num_batches": 0}}}
        self.noise.on_load_checkpoint(trainer, pl_module, saved)


@pytest.mark.parametrize("parts", [[24], [20, 4], [8, 8, 8]])
def test_the_measured_rate_goes_on_from_the_counts_that_some_processes_had(parts):
    noise = LabelCorruption(Flip(p=1.0), num_classes=4)
    _, trainer = _fit(_lists(batch_size=8), noise, callbacks=[Counts(noise, parts)])
    assert trainer.callback_metrics["noise/measured_rate"].item() == pytest.approx(N / (N + 24))


def test_a_checkpoint_of_a_training_without_noise_leaves_the_counts_at_zero():
    noise = LabelCorruption(Flip(p=1.0), num_classes=4)
    trainer = make_trainer(noise)
    noise.on_load_checkpoint(trainer, Plain(), {"callbacks": {}})
    checkpoint = {"callbacks": {}}
    noise.on_save_checkpoint(trainer, Plain(), checkpoint)
    assert checkpoint["callbacks"][noise.state_key]["counts"].tolist() == [[[0, 0, 0]]]


def test_a_schedule_scales_the_strength_epoch_by_epoch():
    schedule = LabelCorruption(Flip(p=1.0), num_classes=4, schedule=Linear(start=0, end=1))
    module, trainer = _fit(_lists(batch_size=N), schedule, max_epochs=3)
    changed = [int((target != torch.arange(N) % 4).sum()) for target in module.seen]
    assert changed[0] == 0
    assert 0 < changed[1] < N
    assert changed[2] == N
    assert trainer.callback_metrics["noise/effective_rate"] == 1


def test_frozen_noise_is_the_same_in_every_epoch():
    module, _ = _fit(
        _lists(torch.arange(N), batch_size=N), LabelCorruption(Flip(p=0.5, frozen=True), num_classes=4), max_epochs=3
    )
    assert torch.equal(module.seen[0], module.seen[1])
    assert torch.equal(module.seen[0], module.seen[2])


def test_the_number_of_classes_is_found_in_the_data_set():
    callback = LabelCorruption(Resample(p=0.1))
    _fit(DataLoader(DictData(), batch_size=8), callback)
    assert callback.num_classes == 4


@pytest.mark.parametrize("classes", [10, "abcd", None])
def test_classes_that_are_no_list_are_not_counted(classes):
    module = Plain()
    module.classes = classes
    with pytest.raises(ValueError, match=r"no list of classes is found .* give LabelCorruption\(..., num_classes=C\)"):
        _fit(_lists(), LabelCorruption(Resample(p=0.1)), module=module)


def test_an_unknown_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"give LabelCorruption\(..., num_classes=C\)"):
        _fit(_lists(batch_size=8), LabelCorruption(Resample(p=0.1)))


def test_a_schedule_without_an_end_is_refused():
    callback = LabelCorruption(Resample(p=0.1), num_classes=4, schedule=Linear())
    with pytest.raises(ValueError, match=r"Linear needs the length of the training: give trainer.max_epochs"):
        _fit(_lists(batch_size=8), callback, max_epochs=-1, max_steps=5)


def test_frozen_noise_without_an_index_is_refused():
    callback = LabelCorruption(Resample(p=0.1, frozen=True), num_classes=4)
    with pytest.raises(TypeError, match="frozen noise needs the index of each sample"):
        _fit(_lists(batch_size=8), callback)


@pytest.mark.parametrize(
    ("collate", "got"),
    [
        (tuple, "got a tuple batch"),
        (lambda batch: {"input": batch[0]}, "got a dict batch with NoneType as label"),
        (lambda batch: [batch[0], batch[1].float()], r"got a list batch with torch.float32 of shape \(8,\) as label"),
    ],
)
def test_a_batch_of_another_form_is_refused_with_what_is_needed(collate, got):
    def collate_fn(samples):
        return collate(torch.utils.data.default_collate(samples))

    with pytest.raises(TypeError, match=rf"needs a dict batch with an int64 'label'.*{got}"):
        _fit(_lists(batch_size=8, collate_fn=collate_fn), LabelCorruption(Resample(p=0.1), num_classes=4))


@pytest.mark.parametrize("accumulated", [1, 4])
def test_batches_without_an_index_have_draws_of_their_own_within_an_accumulated_step_too(accumulated):
    data = DataLoader(TensorDataset(torch.zeros(160, 3), torch.zeros(160, dtype=torch.int64)), batch_size=16)
    noise = LabelCorruption(Resample(p=0.5), num_classes=4)
    module, _ = _fit(data, noise, accumulate_grad_batches=accumulated)
    assert len({tuple(target.tolist()) for target in module.seen}) == 10


def test_the_number_of_the_batch_goes_on_where_a_checkpoint_ends():
    def fit(batches, checkpoint=None):
        noise, module = LabelCorruption(Resample(p=0.5), num_classes=4), Plain()
        trainer = make_trainer(noise)
        if checkpoint:
            noise.on_load_checkpoint(trainer, module, checkpoint)
        trainer.fit(module, DataLoader(TensorDataset(torch.zeros(8 * batches, 3), torch.arange(8 * batches) % 4), 8))
        saved = {"callbacks": {}}
        noise.on_save_checkpoint(trainer, module, saved)
        return module.seen, saved

    whole, _ = fit(6)
    first, saved = fit(3)
    second, _ = fit(3, saved)
    assert [target.tolist() for target in whole] == [target.tolist() for target in first + second]


class Triples(Dataset):
    """Samples with a third entry."""

    def __init__(self, third):
        self.third = third

    def __len__(self):
        return 400

    def __getitem__(self, i):
        return torch.zeros(3), i % 4, self.third(i)


@pytest.mark.parametrize(
    "third", [lambda i: 1.0, lambda i: f"{i}.png", lambda i: torch.zeros(2, dtype=torch.int64), lambda i: i % 2 == 0]
)
def test_a_third_entry_that_is_no_index_is_left_alone(third):
    module, trainer = _fit(DataLoader(Triples(third), batch_size=40), LabelCorruption(Resample(p=0.5), num_classes=4))
    assert len({tuple(target.tolist()) for target in module.seen}) == 10
    rate, sigma = 0.5 * 3 / 4, (0.375 * 0.625 / 400) ** 0.5
    assert trainer.callback_metrics["noise/measured_rate"] == pytest.approx(rate, abs=5 * sigma)


def test_one_index_for_all_samples_is_refused_and_one_that_comes_twice_is_told():
    noise = LabelCorruption(Resample(p=0.5), num_classes=4)
    with pytest.raises(ValueError, match="the index of every sample in the batch is 1, so all would share one draw"):
        _fit(DataLoader(Triples(lambda i: 1), batch_size=40), noise)
    with pytest.warns(UserWarning, match="an index comes twice in a batch"):
        _fit(DataLoader(Triples(lambda i: i // 2), batch_size=40), LabelCorruption(Resample(p=0.5), num_classes=4))


@pytest.mark.parametrize("label", [-1, 4, -100])
def test_a_label_outside_the_classes_is_refused(label):
    labels = torch.arange(N) % 4
    labels[17] = label
    data = DataLoader(TensorDataset(torch.zeros(N, 3), labels), batch_size=8)
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 4\), got {label}; ignore_index={label} leaves"):
        _fit(data, LabelCorruption(Resample(p=0.5), num_classes=4))


@pytest.mark.parametrize("expected", [False, True])
def test_samples_that_are_to_be_ignored_keep_their_label_and_do_not_count(expected):
    labels = torch.arange(N) % 4
    labels[::2] = -100
    noise = LabelCorruption(
        Flip(p=1.0) if not expected else Resample(p=0.4, expected=True), num_classes=4, ignore_index=-100
    )
    trainer = make_trainer(noise)
    module = Plain()
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros(N, 3), labels), batch_size=N))
    (target,) = module.seen
    if expected:
        assert (target[::2] == 0).all() and target[1::2].sum(dim=1).allclose(torch.ones(N // 2))
        assert trainer.callback_metrics["noise/measured_rate"] == pytest.approx(0.3)
    else:
        assert (target[::2] == -100).all() and (target[1::2] != labels[1::2]).all()
        assert trainer.callback_metrics["noise/measured_rate"] == 1


@pytest.mark.parametrize(("limit", "num_steps"), [(3, 3), (1, 1), (0.6, 3), (1.0, 5)])
@pytest.mark.parametrize("limit_val", [0, 1, 1.0])
def test_the_measured_rate_of_epochs_that_are_cut_short_is_that_of_the_labels_that_were_trained_on(
    limit, num_steps, limit_val
):
    limits = {"limit_train_batches": limit, "limit_val_batches": limit_val, "num_sanity_val_steps": 0}
    noise = LabelCorruption(Resample(p=0.8), seed=0)
    data = DataLoader(DictData(), batch_size=8)
    module, trainer = _fit(data, noise, validate=data, module=Validated(), max_epochs=2, **limits)
    assert len(module.seen) == 2 * num_steps
    labels = torch.arange(N)[: 8 * num_steps] % 4
    changed = (torch.cat(module.seen[num_steps:]) != labels).double().mean()
    assert trainer.callback_metrics["noise/measured_rate"].item() == pytest.approx(changed.item())


def test_two_in_one_trainer_are_refused():
    with pytest.raises(ValueError, match="a trainer must have one LabelCorruption, got 2: give both rules as one"):
        _fit(_lists(), LabelCorruption(Flip(p=0.1)), callbacks=[LabelCorruption(Flip(p=0.2), seed=1)])


class Sentences(Dataset):
    """Labels by token; what is beyond a sentence is padding."""

    classes = ("a", "b", "c", "d")

    def __len__(self):
        return 6

    def __getitem__(self, i):
        labels = (torch.arange(5) + i) % 4
        labels[2 + i % 4 :] = -100
        return {"input": torch.randn(5, 3), "label": labels, "index": torch.tensor(i)}


def _cut(samples):
    """Pad to the longest sentence of the batch only."""
    batch = torch.utils.data.default_collate(samples)
    length = int((batch["label"] >= 0).sum(1).max())
    return {**batch, "input": batch["input"][:, :length], "label": batch["label"][:, :length]}


class Tagger(Plain):
    def training_step(self, batch, batch_idx):
        self.seen.append((batch["index"], batch["target"].clone(), batch["label"]))
        logits = self.net(batch["input"])
        target = batch["target"]
        return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(0, 1), ignore_index=-100)


def _tags(module):
    """What became of each token, by sample and place."""
    return {
        (int(i), place): target[row, place].tolist()
        for index, target, labels in module.seen
        for row, i in enumerate(index)
        for place in (labels[row] >= 0).nonzero().flatten().tolist()
    }


@pytest.mark.parametrize("expected", [False, True])
def test_the_noise_of_a_token_depends_on_the_sample_and_the_place_alone(expected):
    found = []
    for batch_size, collate in ((6, None), (2, _cut), (1, _cut)):
        noise = LabelCorruption(Resample(p=0.6, expected=expected), seed=3, ignore_index=-100)
        loader = DataLoader(Sentences(), batch_size=batch_size, shuffle=True, collate_fn=collate)
        module, trainer = _fit(loader, noise, module=Tagger())
        found.append(_tags(module))
        ignored = torch.cat([target[labels < 0].flatten() for _, target, labels in module.seen])
        assert set(ignored.tolist()) <= ({0.0} if expected else {-100})
        measured = trainer.logged_metrics["noise/measured_rate"].item()
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == sum(2 + i % 4 for i in range(6))
    # by hand: one draw of the number that a token has
    corrupt = Corruption(Resample(p=0.6, expected=expected), num_classes=4, seed=3)
    for (i, place), target in found[0].items():
        label, number = torch.tensor([(place + i) % 4]), torch.tensor([i * 2**20 + place])
        assert corrupt(label, 0, number)[0].tolist() == pytest.approx(target)
    if not expected:
        changed = [target != (place + i) % 4 for (i, place), target in found[0].items()]
        assert measured == pytest.approx(sum(changed) / len(changed))


def test_labels_by_token_may_have_the_tokens_first():
    def swap(samples):
        batch = torch.utils.data.default_collate(samples)
        return {**batch, "input": batch["input"].transpose(0, 1), "label": batch["label"].T}

    found = []
    for collate, batch_first in ((None, True), (swap, False)):
        noise = LabelCorruption(Resample(p=0.6), seed=3, ignore_index=-100, batch_first=batch_first)
        loader = DataLoader(Sentences(), batch_size=3, collate_fn=collate)
        module, _ = _fit(loader, noise, module=Tagger())
        found.append([target if batch_first else target.T for _, target, _ in module.seen])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_as_many_seeds_as_rules_are_needed():
    with pytest.raises(ValueError, match="seed must be one a rule, got 2 seeds for 1 rules"):
        LabelCorruption(Resample(p=0.6), seed=[0, 1])


def test_a_label_of_padding_is_refused_with_the_mend():
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\), got -100; ignore_index=-100 leaves"):
        _fit(DataLoader(Sentences(), batch_size=3), LabelCorruption(Resample(p=0.6)), module=Tagger())
