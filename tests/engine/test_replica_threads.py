import pytest
import torch
from lightning.pytorch import Callback
from replica_runs import Recipe, Replica, StackedTraining

REPLICAS = (Replica(p=0.25), Replica(p=0.25, seed=1))
SHORT = Recipe(num_epochs=2)


class Interrupted(Exception):
    """What ends a training in these tests."""


class Watch(Callback):
    """Note how many threads torch has once a chunk is made and once it is trained on, and fail there if asked to."""

    def __init__(self, *, fails=False):
        self.fails, self.seen = fails, []

    def on_train_batch_start(self, *_):
        self.seen.append(torch.get_num_threads())

    def on_train_batch_end(self, *_):
        self.seen.append(torch.get_num_threads())
        if self.fails:
            raise Interrupted


class FailsBeforeFit(Callback):
    def setup(self, trainer, pl_module, stage):
        raise Interrupted


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("engine", "within"), [("fused", 1), ("blocked", 2)])
def test_torch_has_one_thread_while_a_fused_engine_trains_and_its_own_after(engine, within):
    watch = Watch()
    StackedTraining(REPLICAS, SHORT, engine=engine, callbacks=[watch]).run()
    assert watch.seen == [within, within]
    assert torch.get_num_threads() == 2


def test_torch_has_its_threads_again_after_a_training_that_failed():
    watch = Watch(fails=True)
    with pytest.raises(Interrupted):
        StackedTraining(REPLICAS, SHORT, callbacks=[watch]).run()
    assert watch.seen == [1, 1]
    assert torch.get_num_threads() == 2


def test_torch_keeps_its_threads_where_a_training_fails_before_it_begins():
    with pytest.raises(Interrupted):
        StackedTraining(REPLICAS, SHORT, callbacks=[FailsBeforeFit()]).run()
    assert torch.get_num_threads() == 2
