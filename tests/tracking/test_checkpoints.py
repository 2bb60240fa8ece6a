import pytest
import torch

from noisereg.tracking import AtomicCheckpointIO


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
