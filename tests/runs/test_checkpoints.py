import hashlib
import io
import os
import random
import zipfile
from collections import Counter

import pytest
import torch

from noisereg.errors import ConfigError
from noisereg.runs.checkpoints import AtomicCheckpointIO, find_checkpoint, has_checkpoint
from noisereg.runs.journal import COPIES, Journal


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    state = {"weights": torch.arange(4.0), "epoch": 3}
    AtomicCheckpointIO().save_checkpoint(state, tmp_path / "folder" / "last.ckpt")
    loaded = AtomicCheckpointIO().load_checkpoint(tmp_path / "folder" / "last.ckpt", weights_only=True)
    assert torch.equal(loaded["weights"], state["weights"])
    assert loaded["epoch"] == 3


def test_a_save_that_fails_leaves_the_checkpoint_before_it(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 3}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"epoch": lambda: 4}, path)
    assert AtomicCheckpointIO().load_checkpoint(path) == {"epoch": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_two_checkpoints_are_kept_and_the_last_whole_one_is_found(tmp_path, caplog):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    assert find_checkpoint(tmp_path) is None
    for epoch in (1, 2, 3):
        AtomicCheckpointIO().save_checkpoint({"epoch": epoch, "weights": torch.arange(1000.0)}, last)
    assert sorted(tmp_path.iterdir()) == [last, previous]
    assert find_checkpoint(tmp_path) == last
    assert AtomicCheckpointIO().load_checkpoint(previous)["epoch"] == 2
    whole = last.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], whole[:-30], damaged(whole)):
        last.write_bytes(broken)
        assert find_checkpoint(tmp_path) == previous
        assert f"{last} is broken" in caplog.text
        caplog.clear()
    previous.unlink()
    assert find_checkpoint(tmp_path) is None


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path):
    torch.save({"state_dict": Makes(tmp_path / "ran")}, tmp_path / "last.ckpt")
    with pytest.raises(ConfigError, match=r"last.ckpt holds more than tensors and plain values"):
        find_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


class Makes:
    """Make a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def damaged(whole):
    """Change one byte of the weights."""
    place = whole.index(torch.arange(1000.0)[500:].numpy().tobytes()[:400])
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


@pytest.mark.parametrize("place", ["checkpoints/last.ckpt", "replicas/p=0,seed=1/checkpoints/previous.ckpt"])
def test_a_folder_has_a_checkpoint_if_the_run_or_a_replica_has_left_one(place, tmp_path):
    (tmp_path / place).parent.mkdir(parents=True)
    assert not has_checkpoint(tmp_path)
    (tmp_path / place).touch()
    assert has_checkpoint(tmp_path)


def damage(data, *, flips, truncations, seed=0):
    """Yield a file with one flipped bit, in every other case one of the archive's structure, then without its end."""
    draws = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        structure = [
            place
            for entry in archive.infolist()
            for place in range(entry.header_offset, entry.header_offset + 30 + len(entry.filename))
        ]
        structure += range(archive.start_dir, len(data))
    for number in range(flips):
        place = draws.choice(structure) if number % 2 else draws.randrange(len(data))
        yield data[:place] + bytes([data[place] ^ 1 << draws.randrange(8)]) + data[place + 1 :]
    for _ in range(truncations):
        yield data[: draws.randrange(len(data))]


def training_state():
    """What a checkpoint of a small training holds: weights, momentum, counts and curves."""
    model = torch.nn.Sequential(torch.nn.Linear(12, 20), torch.nn.ReLU(), torch.nn.BatchNorm1d(20))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.arange(48.0).view(4, 12)).square().sum().backward()
    optimizer.step()
    loops = {"fit_loop": {"epoch_progress": {"total": {"ready": 3, "completed": 2}}}}
    return {
        "epoch": 2,
        "global_step": 240,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "loops": loops,
        "curves": {"step": torch.arange(5), "test/error": torch.full((5,), torch.nan, dtype=torch.float64)},
    }


@pytest.mark.parametrize(
    ("flips", "truncations"), [(300, 60), pytest.param(5000, 500, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_wrong_bit_and_no_cut_of_a_checkpoint_is_believed(flips, truncations, tmp_path):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for _ in range(2):
        AtomicCheckpointIO().save_checkpoint(training_state(), last)
    whole, found = last.read_bytes(), Counter()
    for broken in damage(whole, flips=flips, truncations=truncations):
        last.write_bytes(broken)
        found[find_checkpoint(tmp_path)] += 1
    assert found == {previous: flips + truncations}


def test_a_wrong_bit_of_a_checkpoint_without_a_seal_is_never_loaded_as_something_else(tmp_path):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    state = training_state()
    for path in (last, previous):
        torch.save(state, path)  # as older versions did
    assert find_checkpoint(tmp_path) == last
    left_aside = 0
    for broken in damage(last.read_bytes(), flips=400, truncations=60, seed=1):
        last.write_bytes(broken)
        if find_checkpoint(tmp_path) == previous:
            left_aside += 1
        else:
            torch.testing.assert_close(torch.load(last, weights_only=True), state, rtol=0, atol=0, equal_nan=True)
    assert left_aside > 200


def test_a_sealed_checkpoint_is_read_by_torch_alone(tmp_path):
    path, state = tmp_path / "last.ckpt", training_state()
    AtomicCheckpointIO().save_checkpoint(state, path)
    for mmap in (False, True):
        loaded = torch.load(path, weights_only=True, mmap=mmap)
        torch.testing.assert_close(loaded, state, rtol=0, atol=0, equal_nan=True)
    data = path.read_bytes()
    assert data[-73:] == b"\nsha256 %s\n" % hashlib.sha256(data[:-73]).hexdigest().encode()


def test_the_lines_on_broken_checkpoints_name_the_one_that_is_used(tmp_path, caplog):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for _ in range(2):
        AtomicCheckpointIO().save_checkpoint({"epoch": 1}, last)
    last.write_bytes(last.read_bytes()[:-1])
    assert find_checkpoint(tmp_path) == previous
    assert caplog.messages == [
        f"{last} is broken (it is cut off); it is left aside",
        f"{previous}, the one before it, is used in its place",
    ]
    caplog.clear()
    previous.unlink()
    previous.mkdir()
    assert find_checkpoint(tmp_path) is None
    assert caplog.messages[1:] == [
        f"{previous} is broken (it is no file); it is left aside",
        f"{tmp_path} has no whole checkpoint: a training there starts again at epoch 0",
    ]


def test_a_broken_checkpoint_never_takes_the_place_of_the_whole_one_before_it(tmp_path):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for epoch in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"epoch": epoch}, last)
    last.write_bytes(last.read_bytes()[:100])
    resumed = AtomicCheckpointIO()
    resumed.save_checkpoint({"epoch": 2}, last)
    assert [resumed.load_checkpoint(path)["epoch"] for path in (previous, last)] == [1, 2]
    resumed.save_checkpoint({"epoch": 3}, last)
    assert [resumed.load_checkpoint(path)["epoch"] for path in (previous, last)] == [2, 3]


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_while_a_checkpoint_is_written_leaves_one_whole(moment, tmp_path, monkeypatch):
    last, calls = tmp_path / "last.ckpt", []
    for epoch in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"epoch": epoch}, last)
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, killed_at(moment, getattr(os, name), calls))
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"epoch": 3}, last)
    monkeypatch.undo()
    found = find_checkpoint(tmp_path)
    assert found is not None
    assert torch.load(found, weights_only=True)["epoch"] == 2


def killed_at(moment, function, calls):
    """Return a function that is the death of its process the n-th time that one of several is called."""

    def call(*arguments, **keywords):
        calls.append(function)
        if len(calls) > moment:
            raise KeyboardInterrupt
        return function(*arguments, **keywords)

    return call


def test_a_checkpoint_whose_curves_are_lost_is_left_aside_for_one_whose_curves_are_there(tmp_path, caplog):
    last, previous, journal = tmp_path / "last.ckpt", tmp_path / "previous.ckpt", Journal(tmp_path)
    for line in ("first", "second"):
        journal.append([line])
        AtomicCheckpointIO().save_checkpoint({"curves": {**journal.mark()._asdict(), "lines": []}}, last)
    assert find_checkpoint(tmp_path) == last
    for name in COPIES:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    assert find_checkpoint(tmp_path) == previous
    assert "last.ckpt is broken (neither curves-1.jsonl nor curves-2.jsonl beside it has its curves)" in caplog.text
    for name in COPIES:
        (tmp_path / name).unlink()
    assert find_checkpoint(tmp_path) is None


ORIGIN = {"settings": {"seed": 0, "noise.p": [0, 0.1]}, "fingerprint": {"images": 9, "classes": {"ant": 9}}}


def saved(folder, origin):
    AtomicCheckpointIO().save_checkpoint({"epoch": 1, "origin": origin}, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_a_checkpoint_names_the_run_that_it_is_of_and_is_found_for_that(tmp_path):
    AtomicCheckpointIO(ORIGIN).save_checkpoint({"epoch": 1}, tmp_path / "last.ckpt")
    assert find_checkpoint(tmp_path, ORIGIN) == tmp_path / "last.ckpt"
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt") == {"epoch": 1, "origin": ORIGIN}


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (
            {**ORIGIN, "settings": {"seed": 1, "noise.p": [0, 0.1]}},
            r"a run of another configuration \(seed was 1 and is 0\)",
        ),
        ({**ORIGIN, "settings": {"seed": 0}}, r"a run of another configuration \(noise.p is new\)"),
        ({**ORIGIN, "fingerprint": {"images": 9, "classes": {"bee": 9}}}, r"a run on other data \(classes.bee is gone"),
    ],
    ids=["another seed", "a key less", "another class"],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(origin, told, tmp_path):
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/last.ckpt is of {told}.*; put its own there, or delete "):
        find_checkpoint(saved(tmp_path, origin).parent, ORIGIN)


@pytest.mark.parametrize("origin", [None, {}, {"settings": 3}, "seed=0"], ids=["none", "empty", "part", "text"])
def test_a_checkpoint_that_names_no_run_is_refused(origin, tmp_path):
    with pytest.raises(ConfigError, match=r"last.ckpt does not say of which run it is, as those of older versions; "):
        find_checkpoint(saved(tmp_path, origin).parent, ORIGIN)


def test_the_one_before_a_broken_checkpoint_is_refused_too_if_it_is_of_another_run(tmp_path):
    saved(tmp_path, {**ORIGIN, "settings": {"seed": 1}}).rename(tmp_path / "previous.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"previous.ckpt is of .* \(seed was 1 and is 0, noise.p is new\)"):
        find_checkpoint(tmp_path, ORIGIN)
