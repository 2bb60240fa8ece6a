import os

import pytest
import torch

from noisereg.errors import ConfigError
from noisereg.runs.checkpoints import AtomicCheckpointIO, find_checkpoint, has_checkpoint


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
