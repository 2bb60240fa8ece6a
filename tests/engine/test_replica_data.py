import tempfile
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import pad

from noisereg.datasets import Gaussian, Hypercube, InMemory, Split, StandardBasis
from noisereg.datasets.images import Images, Statistics
from noisereg.engine import chunks
from noisereg.engine import replica_data as replicas
from noisereg.engine.chunks import Timeline
from noisereg.engine.replica_data import ReplicaData

N = 7  # draws of an epoch
PLAN = Timeline(num_epochs=5, every_n_epochs=2, n=N)
SEEDS = [3, 8, 3]


class Noise(Images):
    num_classes = 2
    input_shape = (3, 6, 5)
    statistics = Statistics((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def load(self):
        pixels = torch.randint(0, 256, (18, 6, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        images, labels = pixels.permute(0, 3, 1, 2), torch.arange(18) % 2
        return Split(images[:N], labels[:N]), Split(images[N:], labels[N:])


class Kept(Noise):
    """Seven of eleven training samples, others for each seed."""

    def load(self):
        train, test = super().load()
        return test, train


class _Moves(InMemory):
    """Moves each draw by an amount of its own in training, and all by the same one in evaluation."""

    def setup(self, stage="fit"):
        super().setup(stage)
        self.train_transform = move_by_draw(self.seed)
        self.eval_transform = lambda inputs, *, draw, index: inputs + 0.5


class Moved(_Moves, Hypercube):
    pass


class MovedStream(_Moves, Gaussian):
    pass


class MovedAlike(Moved):
    depends_on_seed = False


def move_by_draw(seed):
    return lambda inputs, *, draw, index: inputs + (1000 * seed + 10 * draw + index / N)[:, None]


def maker(kind, **options):
    """A function from a seed to its data, set up, and the list of the seeds for which it was called."""
    calls = []

    def make(seed):
        calls.append(seed)
        data = kind(seed=seed, **options)
        data.setup()
        return data

    return make, calls


IMAGES = {"root": "data", "normalize": "standard"}
KINDS = {
    "hypercube, shuffle": (Hypercube, {"d": 4, "train_size": N, "test_size": 5}),
    "hypercube, replacement": (Hypercube, {"d": 4, "train_size": N, "test_size": 5, "order": "replacement"}),
    "validation": (Hypercube, {"d": 4, "train_size": N + 2, "val_size": 2, "test_size": 5, "train_eval_size": 3}),
    "gaussian": (Gaussian, {"d": 4, "train_size": N, "test_size": 5}),
    "standard basis": (StandardBasis, {"d": 4, "train_size": N}),
    "transform of its own": (Moved, {"d": 4, "train_size": N, "test_size": 5}),
    "transform of its own, fresh samples": (MovedStream, {"d": 4, "train_size": N}),
    "images": (Noise, {**IMAGES, "augment": False}),
    "augmented images": (Noise, {**IMAGES, "augment": True}),
    "augmented images, replacement": (Noise, {**IMAGES, "augment": True, "order": "replacement"}),
    "augmented subset of images": (Kept, {**IMAGES, "augment": True, "train_size": N}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def features(inputs):
    """What a stack of networks with biases does to its inputs."""
    return pad(inputs.flatten(1).double(), (0, 1), value=1.0)


def replica_data(kind, seeds=SEEDS, plan=PLAN):
    make, calls = maker(KINDS[kind][0], **KINDS[kind][1])
    return ReplicaData(make, seeds, plan, prepare=features), calls


def plain_draws(kind, seed, batch_size=3):
    """All draws of a training on the data of one seed alone, one epoch after the other."""
    data = maker(KINDS[kind][0], batch_size=batch_size, **KINDS[kind][1])[0](seed)
    loader, batches = data.train_dataloader(), []
    for epoch in range(PLAN.num_epochs):
        loader.set_epoch(epoch)
        batches += [{**batch, "epoch": torch.full_like(batch["index"], epoch)} for batch in loader]
    whole = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    return {**whole, "input": features(whole["input"])}


def replica_draws(chunks, replica):
    """All draws of one replica in some chunks."""
    parts = [
        {
            "input": chunk["input"][chunk["row"][replica]],
            "label": chunk["label"][replica],
            "index": chunk["index"][replica],
            "draw": chunk["draw"],
            "epoch": chunk["epoch"],
        }
        for chunk in chunks
    ]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def assert_same(ours, expected):
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(ours[key], value), key


@every_kind
@pytest.mark.parametrize("cuts", [range(N * 5 + 1), [0, 4, 5, 13, 35], [0, N, 2 * N, 5 * N], [0, 35]])
def test_each_replica_draws_what_the_data_of_its_seed_draw_alone(kind, cuts):
    data, _ = replica_data(kind)
    chunks = [data.chunk(first, stop) for first, stop in pairwise(cuts)]
    for replica, seed in enumerate(SEEDS):
        assert_same(replica_draws(chunks, replica), plain_draws(kind, seed))


@every_kind
def test_the_loader_goes_through_the_whole_training_leg_by_leg(kind):
    data, _ = replica_data(kind)
    loader, chunks = data.train_dataloader(), []
    for leg in range(PLAN.num_legs):
        loader.set_epoch(leg)
        chunks += list(loader)
    assert_same(replica_draws(chunks, 1), plain_draws(kind, SEEDS[1]))


@every_kind
def test_replicas_of_one_seed_share_their_rows(kind):
    data, _ = replica_data(kind)
    chunk = data.chunk(2, 2 * N)
    assert torch.equal(chunk["row"][0], chunk["row"][2])
    alone, _ = replica_data(kind, [3, 8])
    assert len(chunk["input"]) == len(alone.chunk(2, 2 * N)["input"])


@every_kind
def test_groups_hold_each_replica_once_with_what_its_seed_is_evaluated_on(kind):
    data, _ = replica_data(kind)
    found = []
    for members, splits in data.groups():
        found += members
        for replica in members:
            alone = maker(KINDS[kind][0], **KINDS[kind][1])[0](SEEDS[replica])
            assert list(splits) == list(alone.eval_splits)
            for name, loader in zip(alone.eval_splits, alone.val_dataloader(), strict=True):
                batches = list(loader)
                inputs, labels = (torch.cat([batch[key] for batch in batches]) for key in ("input", "label"))
                assert torch.equal(splits[name].inputs, features(inputs))
                assert torch.equal(splits[name].labels, labels)
    assert sorted(found) == [0, 1, 2]


def test_many_samples_are_evaluated_in_their_order(monkeypatch):
    _, expected = next(replica_data("images")[0].groups())
    monkeypatch.setattr(replicas, "_ROWS_AT_ONCE", 2)
    ((_, splits),) = replica_data("images")[0].groups()
    for name, split in expected.items():
        assert torch.equal(splits[name].inputs, split.inputs)


@pytest.mark.parametrize(("kind", "is_part"), [("gaussian", True), ("images", False), ("transform of its own", False)])
def test_inputs_that_the_prepared_ones_begin_with_are_kept_once(kind, is_part):
    make, _ = maker(KINDS[kind][0], **KINDS[kind][1])
    data = ReplicaData(make, SEEDS, PLAN, prepare=lambda inputs: pad(inputs.flatten(1).float(), (0, 1), value=1.0))
    (_, splits), *_ = data.groups()
    ours, alone = data.data_of(0), make(SEEDS[0])
    kept, prepared = (split.inputs.untyped_storage().data_ptr() for split in (ours.splits["test"], splits["test"]))
    assert (kept == prepared) == is_part
    for (label, inputs), (label_alone, inputs_alone) in zip(
        *([(batch["label"], batch["input"]) for batch in one.eval_loader("test")] for one in (ours, alone)), strict=True
    ):
        assert torch.equal(label, label_alone)
        assert torch.equal(inputs, inputs_alone)


@pytest.mark.parametrize("kind", ["images", "augmented images"])
def test_data_that_are_the_same_for_every_seed_are_kept_once(kind):
    data, calls = replica_data(kind, [5, 6, 7, 6])
    ((members, _),) = data.groups()
    data.chunk(0, N)
    before = list(calls)
    data.chunk(N, 3 * N)
    list(data.groups())
    assert members == [0, 1, 2, 3]
    assert set(calls) == {5}
    assert calls == before
    if kind == "images":
        assert len(data.chunk(0, 3)["input"]) == N


def test_data_of_several_seeds_are_made_once_where_there_is_room():
    data, calls = replica_data("gaussian", [5, 6, 7])
    for first in range(3):
        data.chunk(first, first + 1)
        list(data.groups())
    assert calls[1:] == [5, 6, 7]


def assert_same_data(tight, roomy):
    for _ in range(2):
        for (members, splits), (same, expected) in zip(tight.groups(), roomy.groups(), strict=True):
            assert members == same
            assert list(splits) == list(expected)
            for name, split in expected.items():
                assert torch.equal(splits[name].inputs, split.inputs)
                assert torch.equal(splits[name].labels, split.labels)
        assert_same(tight.chunk(3, 12), roomy.chunk(3, 12))
        if roomy.has_given_labels:
            for replica in range(len(SEEDS)):
                for ours, expected in zip(
                    tight.evaluated_training(replica), roomy.evaluated_training(replica), strict=True
                ):
                    assert torch.equal(ours, expected)


@every_kind
def test_data_that_there_is_no_room_for_in_memory_have_the_same_values(kind, monkeypatch):
    roomy, _ = replica_data(kind)
    monkeypatch.setattr(replicas, "_KEPT_BYTES", 1)
    assert_same_data(replica_data(kind)[0], roomy)


@every_kind
def test_data_that_there_is_no_room_for_on_the_disk_either_are_made_anew(kind, monkeypatch):
    roomy, _ = replica_data(kind)
    monkeypatch.setattr(replicas, "_KEPT_BYTES", 1)
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    tight, calls = replica_data(kind)
    assert_same_data(tight, roomy)
    assert len(calls) > 3 or set(calls) == {3}


@pytest.mark.parametrize("kind", ["hypercube, shuffle", "validation"])
def test_samples_that_do_not_fit_into_memory_are_made_once(kind, monkeypatch):
    monkeypatch.setattr(replicas, "_KEPT_BYTES", 1)
    data, calls = replica_data(kind, [5, 6, 7])
    for first in range(3):
        data.chunk(first, first + 1)
        list(data.groups())
    assert calls[1:] == [5, 6, 7]


@pytest.mark.parametrize("kind", ["hypercube, shuffle", "augmented images"])
def test_the_chunks_of_a_part_are_those_of_the_whole_run(kind, monkeypatch):
    make, _ = maker(KINDS[kind][0], **KINDS[kind][1])
    monkeypatch.setattr(chunks, "_REPLICA_DRAWS", 4 * 6)
    monkeypatch.setattr(replicas, "_CHUNK_BYTES", 2**14)
    plan = Timeline(num_epochs=2, every_n_epochs=1, n=N, batch_size=2)

    def lengths(seeds, chunked_as=None):
        data = ReplicaData(make, seeds, plan, prepare=features, chunked_as=chunked_as)
        return [len(chunk["draw"]) for chunk in data.train_dataloader()]

    whole = [3, 8, 3, 8, 5, 5]
    assert lengths([3, 3], chunked_as=whole) == lengths(whole) != lengths([3, 3])


def test_it_says_of_the_data_what_lightning_and_the_run_ask_for():
    data, _ = replica_data("gaussian")
    assert data.num_classes == 2
    assert data.source == "Gaussian inputs, fresh in every epoch"


def test_a_transform_of_one_seed_is_not_taken_for_that_of_another():
    make, _ = maker(MovedAlike, d=4, train_size=N, test_size=5)
    chunks = iter(ReplicaData(make, SEEDS, PLAN, prepare=features).train_dataloader())
    with pytest.raises(ValueError, match=r"^MovedAlike must define drawn_samples, as its transform"):
        next(chunks)
